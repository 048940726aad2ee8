// Spend and tokens over time, totals and budgets: from one answer of /console/overview.

import { call } from "./api.js";
import { Chart, SERIES } from "./chart.js";
import { at, cards, choices, el, fill } from "./dom.js";
import { count, drawn, money, nano, share } from "./money.js";

const LIVE_MS = 15_000;
const DAY_MS = 86_400_000;
const NUMBERS = ["requests", "errors", "input_tokens", "output_tokens"];

// `failed(error)` hears of what goes wrong, `loaded(overview)` of every answer. Nothing is drawn before `show()`: a chart
// takes its width from the page.
export class Usage {
  constructor({ failed, loaded }) {
    this.failed = failed;
    this.loaded = loaded;
    this.shown = false;
    this.filters = at("overview-filters");
    this.choice = at("chart-choice");
    this.chart = new Chart(at("usage-chart"), at("usage-legend"));
    this.overview = null;
    this.filters.addEventListener("change", () => this.load().catch(this.failed));
    this.choice.addEventListener("change", () => this.#show());
    for (const form of [this.filters, this.choice]) form.addEventListener("submit", (event) => event.preventDefault());
    setInterval(() => this.#beat(), LIVE_MS);
    document.addEventListener("visibilitychange", () => this.#beat());
  }

  async load() {
    const to = new Date();
    const from = new Date(to.getTime() - (Number(this.filters.elements.days.value) - 1) * DAY_MS);
    const turn = {};
    this.turn = turn;
    const overview = await call("/console/overview", { query: { from: iso(from), to: iso(to) } });
    if (this.turn !== turn) return this.overview; // a later choice was faster
    this.overview = overview;
    choices(this.filters.elements.kid, [...labels(this.overview.accounts)]);
    this.loaded(this.overview);
    if (this.shown) this.#show();
    return this.overview;
  }

  show() {
    this.shown = true;
    this.#show();
  }

  #beat() {
    if (!document.hidden && this.shown && this.filters.elements.live.checked) this.load().catch(this.failed);
  }

  #show() {
    const kid = this.filters.elements.kid.value;
    const lines = this.overview.data.filter((line) => !kid || line.kid === kid);
    this.#cards(lines);
    this.#chart(lines);
    this.#budgets(this.overview.accounts.filter((account) => !kid || account.kid === kid));
  }

  #cards(lines) {
    const sum = total(lines);
    const rate = sum.requests ? `${((100 * sum.errors) / sum.requests).toFixed(1)} %` : "none";
    cards(at("cards"), [
      ["Spend", money(sum.cost)],
      ["Requests", count(sum.requests)],
      ["Input tokens", count(sum.input_tokens)],
      ["Output tokens", count(sum.output_tokens)],
      ["Errors", rate],
    ]);
  }

  #chart(lines) {
    const metric = this.choice.elements.metric;
    const group = this.choice.elements.group.value;
    const names = labels(this.overview.accounts);
    const days = range(this.overview.from, this.overview.to);
    const isMoney = metric.value === "cost_nano_usd";
    const series = grouped(lines, days, metric.value, group, names);
    const text = (value) => (isMoney ? money(value) : count(value));
    const inAll = (values) => values.reduce((sum, value) => sum + value, 0n);
    at("usage-chart-title").textContent = `${metric.selectedOptions[0].text} a day by ${group === "kid" ? "key" : "model"}`;
    this.chart.stacked(
      days,
      series.map((one) => one.name),
      series.map((one) => one.values.map((value) => (isMoney ? drawn(value) : Number(value)))),
      (index, position) => text(position === null ? inAll(series[index].values) : series[index].values[position]),
      (value) => (isMoney ? `$${short(value)}` : short(value)),
    );
    fill(at("usage-table"), table(days, series, text));
  }

  #budgets(accounts) {
    const limited = accounts.filter((account) => account.limit_nano_usd !== null);
    at("budgets").hidden = limited.length === 0;
    fill(at("budget-list"), ...limited.map(budget));
  }
}

export function iso(date) {
  return date.toISOString().slice(0, 10);
}

// What to call each account, by kid: its name, and a piece of the kid where two share a name.
export function labels(accounts) {
  const shared = new Map();
  for (const { name } of accounts) shared.set(name, (shared.get(name) ?? 0) + 1);
  return new Map(accounts.map(({ kid, name }) => [kid, shared.get(name) > 1 ? `${name} (${kid.slice(0, 4)}…)` : name]));
}

function range(from, to) {
  const days = [];
  for (let at = Date.parse(from); at <= Date.parse(to); at += DAY_MS) days.push(iso(new Date(at)));
  return days;
}

function total(lines) {
  const sum = { requests: 0, errors: 0, input_tokens: 0, output_tokens: 0, cost: 0n };
  for (const line of lines) {
    for (const name of NUMBERS) sum[name] += line[name];
    sum.cost += nano(line.cost_nano_usd);
  }
  return sum;
}

// The largest groups, each with a BigInt a day; the rest are one group. No use at all is one empty group.
function grouped(lines, days, metric, group, names) {
  const place = new Map(days.map((day, index) => [day, index]));
  const groups = new Map();
  for (const line of lines) {
    if (!groups.has(line[group])) groups.set(line[group], days.map(() => 0n));
    groups.get(line[group])[place.get(line.day)] += BigInt(line[metric]);
  }
  const sum = (values) => values.reduce((a, b) => a + b, 0n);
  const sorted = [...groups].sort(([, a], [, b]) => (sum(b) > sum(a) ? 1 : sum(b) < sum(a) ? -1 : 0));
  const kept = sorted.length > SERIES ? sorted.slice(0, SERIES - 1) : sorted;
  const series = kept.map(([id, values]) => ({ name: group === "kid" ? (names.get(id) ?? id) : id, values }));
  const rest = sorted.slice(kept.length);
  if (rest.length) series.push({ name: `${rest.length} more`, values: days.map((_, index) => sum(rest.map(([, values]) => values[index]))) });
  return series.length ? series : [{ name: "nothing yet", values: days.map(() => 0n) }];
}

function short(value) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (value >= size) return `${+(value / size).toPrecision(3)}${unit}`;
  return `${+value.toPrecision(3)}`;
}

function table(days, series, text) {
  const head = el("tr", {}, el("th", { scope: "col" }, "Day"), ...series.map((one) => el("th", { scope: "col", class: "number" }, one.name)));
  const used = days.map((day, index) => [day, index]).filter(([, index]) => series.some((one) => one.values[index] !== 0n));
  const rows = used.reverse().map(([day, index]) =>
    el("tr", {}, el("th", { scope: "row" }, day), ...series.map((one) => el("td", { class: "number" }, text(one.values[index])))),
  );
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

function budget(account) {
  const limit = nano(account.limit_nano_usd);
  const spent = nano(account.spent_nano_usd);
  const part = share(spent, limit);
  const period = account.budget_period === "none" ? "in all" : `this ${account.budget_period}`;
  const running = account.holds ? `, ${account.holds} running` : "";
  return el(
    "li",
    { class: part >= 100 ? "spent" : part >= 80 ? "near" : null },
    el("span", { class: "budget-name" }, account.name),
    el("progress", { max: 100, value: part, "aria-label": `Budget of ${account.name} used` }, `${part} %`),
    el("span", {}, `${money(spent)} of ${money(limit)} ${period}, ${part} %${running}`),
  );
}
