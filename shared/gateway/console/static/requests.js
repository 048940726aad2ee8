// The log of one day: rows, their latency over the day, the share that failed.

import { call } from "./api.js";
import { Chart } from "./chart.js";
import { at, cards, choices, el, fill } from "./dom.js";
import { count, money, nano } from "./money.js";
import { iso, labels } from "./usage.js";

const PAGE = 500;
const SHOWN = 500; // rows of the table; the figures count every row that was read
const BUSIEST = 8; // keys that the log of every key reads
const BUCKET_S = 1_800;

// `failed(error)` hears of what goes wrong.
export class Requests {
  constructor({ failed }) {
    this.failed = failed;
    this.accounts = null; // null: the signed-in key reads its own
    this.names = new Map();
    this.sources = [];
    this.left = 0; // keys of the day beyond the busiest
    this.rows = [];
    this.form = at("request-filters");
    this.body = at("request-table").tBodies[0];
    this.chart = new Chart(at("latency-chart"), at("latency-legend"));
    this.form.elements.day.value = iso(new Date());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.load().catch(this.failed);
    });
    for (const name of ["day", "kid"]) this.form.elements[name].addEventListener("change", () => this.load().catch(this.failed));
    for (const name of ["model", "endpoint", "status"]) this.form.elements[name].addEventListener("input", () => this.#show());
    at("request-more").addEventListener("click", () => this.#more().catch(this.failed));
  }

  // What an overview tells about whose requests there are.
  know(overview) {
    this.accounts = overview.role === "admin" ? overview.accounts : null;
    if (this.accounts === null) return;
    const names = labels(this.accounts);
    choices(this.form.elements.kid, [...names]);
    for (const account of this.accounts) for (const kid of account.kids) this.names.set(kid, names.get(account.kid));
  }

  async load() {
    const token = {};
    this.token = token;
    const { day, kid } = this.form.elements;
    if (!day.value) return;
    this.left = 0;
    const kids = await this.#kids(day.value, kid.value);
    const sources = kids.map((one) => ({ kid: one, cursor: null, done: false }));
    const rows = await this.#pages(sources, day.value);
    if (this.token !== token) return; // a later choice was faster
    this.sources = sources;
    this.rows = sorted(rows);
    choices(this.form.elements.endpoint, [...new Set(this.rows.map((row) => row.endpoint))].sort().map((name) => [name, name]));
    this.#show();
  }

  async #more() {
    const token = this.token;
    const rows = await this.#pages(this.sources, this.form.elements.day.value);
    if (this.token !== token) return;
    this.rows = sorted([...this.rows, ...rows]);
    this.#show();
  }

  // Whose rows to read: those of the chosen account, or of the accounts that were asked most that day.
  async #kids(day, chosen) {
    if (this.accounts === null) return [""];
    const of = (kid) => this.accounts.find((account) => account.kid === kid)?.kids ?? [kid];
    if (chosen) return of(chosen);
    const used = await call("/admin/usage", { query: { from: day, to: day, group_by: "key" } });
    this.left = Math.max(0, used.data.length - BUSIEST);
    return used.data.sort((a, b) => b.requests - a.requests).slice(0, BUSIEST).flatMap((line) => of(line.kid));
  }

  async #pages(sources, day) {
    const open = sources.filter((source) => !source.done);
    const pages = await Promise.all(open.map((source) => this.#page(source, day)));
    return pages.flat();
  }

  async #page(source, day) {
    const path = source.kid ? "/admin/usage/requests" : "/v1/usage/requests";
    const page = await call(path, { query: { kid: source.kid, day, order: "desc", cursor: source.cursor, limit: PAGE } });
    source.cursor = page.next_cursor;
    source.done = !page.next_cursor;
    return page.data;
  }

  #show() {
    const { model, endpoint, status, day } = this.form.elements;
    const text = model.value.trim().toLowerCase();
    const shown = this.rows.filter(
      (row) =>
        `${row.model} ${row.model_version}`.toLowerCase().includes(text) &&
        (!endpoint.value || row.endpoint === endpoint.value) &&
        (!status.value || failed(row) === (status.value === "failed")),
    );
    this.#figures(shown);
    this.#latency(shown, day.value);
    fill(this.body, ...(shown.length ? shown.slice(0, SHOWN).map((row) => this.#row(row)) : [el("tr", {}, el("td", { colspan: 12 }, "No requests."))]));
    const open = this.sources.some((source) => !source.done);
    at("request-more").hidden = !open;
    const parts = [`${count(shown.length)} of ${count(this.rows.length)} requests read match`];
    if (open) parts.push("earlier ones of the day are not read yet");
    if (shown.length > SHOWN) parts.push(`the table holds the latest ${SHOWN}`);
    if (this.left) parts.push(`${this.left} keys with fewer requests are left out: choose one to see it`);
    at("request-note").textContent = `${parts.join("; ")}.`;
  }

  #figures(rows) {
    const errors = rows.filter(failed).length;
    const cost = rows.reduce((sum, row) => sum + nano(row.cost_nano_usd), 0n);
    cards(at("latency-cards"), [
      ["First byte, median", duration(quantile(values(rows, "ttft_ms"), 0.5))],
      ["First byte, 95th percentile", duration(quantile(values(rows, "ttft_ms"), 0.95))],
      ["Duration, median", duration(quantile(values(rows, "duration_ms"), 0.5))],
      ["Duration, 95th percentile", duration(quantile(values(rows, "duration_ms"), 0.95))],
      ["Failed", rows.length ? `${((100 * errors) / rows.length).toFixed(1)} %` : "none"],
      ["Cost", money(cost)],
    ]);
  }

  #latency(rows, day) {
    const start = Date.parse(`${day}T00:00:00Z`) / 1000;
    const buckets = Array.from({ length: 86_400 / BUCKET_S }, () => []);
    for (const row of rows) buckets[Math.min(buckets.length - 1, Math.max(0, Math.floor((row.ts / 1000 - start) / BUCKET_S)))].push(row);
    const x = buckets.map((_, index) => start + (index + 0.5) * BUCKET_S);
    const line = (name, member, share) => {
      const found = buckets.map((bucket) => quantile(values(bucket, member), share));
      return { name, values: found, read: (at) => duration(found[at]) };
    };
    const errors = buckets.map((bucket) => bucket.filter(failed).length);
    const rates = buckets.map((bucket, at) => (errors[at] ? (100 * errors[at]) / bucket.length : null));
    const rate = (at) => (buckets[at].length ? `${count(errors[at])} of ${count(buckets[at].length)}, ${(rates[at] ?? 0).toFixed(1)} %` : "none");
    this.chart.lines(
      start,
      x,
      [
        line("first byte, median", "ttft_ms", 0.5),
        line("first byte, 95th", "ttft_ms", 0.95),
        line("duration, median", "duration_ms", 0.5),
        line("duration, 95th", "duration_ms", 0.95),
        { name: "failed", values: rates, bars: true, read: rate },
      ],
      (value) => duration(value),
    );
  }

  #row(row) {
    const time = new Date(row.ts).toISOString();
    const bad = failed(row);
    const number = (value) => el("td", { class: "number" }, value);
    return el(
      "tr",
      { class: bad ? "failed" : null, "data-request": row.request_id },
      el("th", { scope: "row" }, el("time", { datetime: time }, time.slice(11, 19))),
      this.accounts === null ? null : el("td", {}, this.names.get(row.kid) ?? row.kid),
      el("td", { title: row.model_version }, row.model),
      el("td", {}, row.stream ? `${row.endpoint}, streamed` : row.endpoint),
      el("td", {}, el("span", { class: `badge ${bad ? "revoked" : "active"}` }, String(row.status))),
      el("td", {}, row.finish_reason ?? ""),
      number(count(row.input_tokens ?? 0)),
      number(count(row.output_tokens ?? 0)),
      number(`${money(nano(row.cost_nano_usd))}${row.estimated ? " est." : ""}`),
      number(duration(row.ttft_ms)),
      number(duration(row.duration_ms)),
      el("td", {}, el("code", {}, row.request_id)),
    );
  }
}

function failed(row) {
  return row.status >= 400;
}

// Newest first.
function sorted(rows) {
  return rows.sort((a, b) => b.ts - a.ts || (a.request_id < b.request_id ? 1 : -1));
}

function values(rows, member) {
  return rows.map((row) => row[member]).filter((value) => value !== null && value !== undefined).sort((a, b) => a - b);
}

// Nearest rank; null for nothing.
function quantile(ordered, part) {
  return ordered.length ? ordered[Math.max(0, Math.ceil(part * ordered.length) - 1)] : null;
}

function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "none";
  return milliseconds < 1_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1_000).toFixed(2)} s`;
}
