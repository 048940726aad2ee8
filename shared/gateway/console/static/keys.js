// Keys: listed, made, rotated, revoked. The text of a new key is shown once and handed to the set-up snippets.

import { call } from "./api.js";
import { alertIn, at, confirmed, copy, el, fill, say } from "./dom.js";
import { count, money, nano } from "./money.js";

const OVERLAP_H = 24;
const LATEST = 253_402_300_799; // the last second of the year 9999; a record of before that was checked may lie beyond

// `failed(error)` hears of what goes wrong, `issued(key)` of a fresh key for clients, `changed()` of every change. `own` is
// the kid of the key that is signed in.
export class Keys {
  constructor({ failed, issued, changed }) {
    this.failed = failed;
    this.issued = issued;
    this.changed = changed;
    this.own = "";
    this.records = [];
    this.body = at("key-table").tBodies[0];
    this.form = at("key-form");
    at("key-new").addEventListener("click", () => this.#open());
    at("key-search").addEventListener("input", () => this.#show());
    at("key-all").addEventListener("change", () => this.#show());
    at("issued-copy").addEventListener("click", (event) => copy(at("issued-key").textContent, event.target));
    at("issued-done").addEventListener("click", () => this.#forget());
    this.form.querySelector(".cancel").addEventListener("click", () => at("key-dialog").close());
    this.form.addEventListener("submit", (event) => this.#create(event));
  }

  async load() {
    const found = [];
    let cursor = null;
    do {
      const page = await call("/admin/keys", { query: { cursor, limit: 1000 } });
      found.push(...page.data);
      cursor = page.next_cursor;
    } while (cursor);
    this.records = found.sort((a, b) => b.created_at - a.created_at || (a.kid < b.kid ? -1 : 1));
    this.#show();
  }

  // A key with nothing but a name, for whoever sets up a client now.
  async quick(name) {
    await this.#issue(await call("/admin/keys", { method: "POST", body: { name } }), false);
  }

  #show() {
    const text = at("key-search").value.trim().toLowerCase();
    const all = at("key-all").checked;
    const shown = this.records.filter((record) => (all || state(record) !== "revoked") && `${record.name} ${record.kid} ${record.owner}`.toLowerCase().includes(text));
    const rows = shown.map((record) => this.#row(record));
    fill(this.body, ...(rows.length ? rows : [el("tr", {}, el("td", { colspan: 8 }, "No keys."))]));
  }

  #row(record) {
    const now = state(record);
    const act = (name, work, more = {}) => el("button", { type: "button", "aria-label": `${name} ${record.name}`, onclick: work, ...more }, name);
    const actions =
      now === "revoked" || now === "expired"
        ? []
        : [record.replaced_by ? null : act("Rotate", () => this.#rotate(record)), act("Revoke", () => this.#revoke(record), { class: "danger" })];
    return el(
      "tr",
      { "data-kid": record.kid },
      el("th", { scope: "row" }, record.name, el("code", { class: "below" }, record.kid)),
      el("td", {}, el("span", { class: `badge ${now}` }, now)),
      el("td", {}, budget(record)),
      el("td", {}, limits(record)),
      el("td", {}, scope(record)),
      el("td", {}, day(record.created_at)),
      el("td", {}, record.expires_at === null ? "never" : day(record.expires_at)),
      el("td", { class: "actions" }, ...actions),
    );
  }

  #open() {
    this.form.reset();
    alertIn(at("key-form-error"), "");
    at("key-dialog").showModal();
    at("key-name").focus();
  }

  async #create(event) {
    event.preventDefault();
    const button = event.submitter;
    if (button) button.disabled = true;
    try {
      const made = await call("/admin/keys", { method: "POST", body: terms(this.form.elements) });
      at("key-dialog").close();
      await this.#issue(made, true);
    } catch (error) {
      if (error.status === 401) at("key-dialog").close();
      alertIn(at("key-form-error"), error.message);
      if (error.status === 401) this.failed(error);
    } finally {
      if (button) button.disabled = false;
    }
  }

  async #rotate(record) {
    const text = `A new key with the same limits and the same budget is made. The old one works for ${OVERLAP_H} hours more.`;
    if (!(await confirmed(`Rotate “${record.name}”?`, this.#warning(record, text), "Rotate"))) return;
    await this.#attempt(async () => {
      const made = await call(`/admin/keys/${encodeURIComponent(record.kid)}/rotate`, { method: "POST", body: { overlap_seconds: OVERLAP_H * 3600 } });
      await this.#issue(made, true);
    });
  }

  async #revoke(record) {
    if (!(await confirmed(`Revoke “${record.name}”?`, this.#warning(record, "Whoever uses it is refused from now on. This cannot be undone."), "Revoke"))) return;
    await this.#attempt(async () => {
      await call(`/admin/keys/${encodeURIComponent(record.kid)}`, { method: "DELETE" });
      await this.load();
      say(`${record.name} is revoked`);
      at("keys-title").focus();
      this.changed();
    });
  }

  #warning(record, text) {
    return record.kid === this.own ? `This is the key you are signed in with. ${text}` : text;
  }

  async #issue(made, move) {
    at("issued-title").textContent = `The key of “${made.name}”`;
    at("issued-key").textContent = made.key;
    at("issued").hidden = false;
    const operators = made.endpoints.includes("admin"); // no client is to be set up with such a key
    at("issued-link").hidden = operators;
    this.issued(operators ? "" : made.key);
    await this.load();
    say(`The key of ${made.name} is made`);
    if (move) at("issued-title").focus();
    this.changed();
  }

  #forget() {
    at("issued-key").textContent = "";
    at("issued").hidden = true;
    this.issued("");
    at("key-new").focus();
  }

  async #attempt(work) {
    try {
      await work();
    } catch (error) {
      this.failed(error);
    }
  }
}

// What a record means now: its status, and whether its time has come or gone.
function state(record) {
  const now = Date.now() / 1000;
  if (record.status !== "active") return record.status;
  if (record.expires_at !== null && record.expires_at <= now) return "expired";
  if (record.replaced_by) return "replaced";
  return record.not_before !== null && record.not_before > now ? "not yet" : "active";
}

function budget(record) {
  const limit = nano(record.budget.limit_nano);
  if (limit === null) return "no limit";
  return `${money(limit)} ${record.budget.period === "none" ? "in all" : `a ${record.budget.period}`}`;
}

function limits(record) {
  const named = [
    [record.rpm, "requests a minute"],
    [record.tpm, "tokens a minute"],
    [record.max_concurrency, "at a time"],
  ];
  const given = named.filter(([value]) => value !== null).map(([value, name]) => `${count(value)} ${name}`);
  return given.join(", ") || "no limits";
}

function scope(record) {
  const parts = [record.models.join(", "), record.endpoints.join(", "), record.ip_allow.join(", ")].filter(Boolean);
  return parts.join("; ") || "everything";
}

function day(seconds) {
  return new Date(Math.min(seconds, LATEST) * 1000).toISOString().slice(0, 10);
}

// The form as the API takes it; an empty field is left out and means no limit.
function terms(fields) {
  const body = { name: fields.name.value.trim() };
  for (const name of ["rpm", "tpm", "max_concurrency"]) if (fields[name].value) body[name] = Number(fields[name].value);
  if (fields.limit_usd.value) body.budget = { period: fields.period.value, limit_usd: fields.limit_usd.value };
  const models = fields.models.value.split(",").map((model) => model.trim()).filter(Boolean);
  if (models.length) body.models = models;
  if (fields.expires.value) body.expires_at = Date.parse(`${fields.expires.value}T00:00:00Z`) / 1000;
  return body;
}
