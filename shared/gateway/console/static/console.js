// Signing in and out, and what the parts of the page tell each other.

import { call, forget, remember, remembered, use } from "./api.js";
import { alertIn, at, cards, el, fill, say } from "./dom.js";
import { Keys } from "./keys.js";
import { count, money, nano } from "./money.js";
import { Requests } from "./requests.js";
import { Setup } from "./setup.js";
import { Usage } from "./usage.js";

const SECTIONS = [["overview", "Usage"], ["keys", "Keys"], ["requests", "Requests"], ["setup", "Set-up"]];

const setup = new Setup();
const requests = new Requests({ failed });
const keys = new Keys({ failed, issued: (key) => setup.show(key), changed: () => usage.load().catch(failed) });
const usage = new Usage({ failed, loaded });
setup.make = (name) => keys.quick(name).catch(failed);

at("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = at("key");
  const text = field.value.trim();
  field.value = "";
  signIn(text);
});
if (remembered()) signIn(remembered());

async function signIn(text) {
  const button = at("sign-in-form").querySelector("button");
  button.disabled = true;
  alertIn(at("sign-in-error"), "");
  use(text);
  try {
    const overview = await usage.load();
    remember();
    await open(overview);
  } catch (error) {
    failed(error);
  } finally {
    button.disabled = false;
  }
}

async function open(overview) {
  const admin = overview.role === "admin";
  document.body.dataset.role = overview.role;
  at("overview-title").textContent = admin ? "Usage" : "My usage";
  keys.own = overview.kid;
  who(overview);
  at("sign-in").hidden = true;
  at("server-totals")?.remove();
  at("app").hidden = false;
  at("setup").hidden = false;
  usage.show();
  at("overview-title").focus();
  say(`Signed in as ${overview.name}`);
  await Promise.all([admin ? keys.load() : ownLimits(), requests.load()]);
}

function who(overview) {
  const admin = overview.role === "admin";
  const links = SECTIONS.filter(([id]) => admin || id !== "keys").map(([id, name]) => el("li", {}, el("a", { href: `#${id}` }, name)));
  fill(at("sections"), el("ul", {}, ...links));
  const leave = el("button", { type: "button", id: "sign-out", onclick: () => signOut("") }, "Sign out");
  fill(at("who"), el("span", {}, `${overview.name} (${admin ? "admin" : "client"})`), " ", leave);
  at("sections").hidden = at("who").hidden = false;
}

function loaded(overview) {
  requests.know(overview);
  setup.know(overview);
  if (overview.role === "client" && !at("app").hidden) ownLimits().catch(failed);
}

// What the signed-in client key may use, and what is left of it.
async function ownLimits() {
  const own = await call("/v1/usage");
  const of = (left, limit) => (limit === null ? "no limit" : left === null ? count(limit) : `${count(left)} of ${count(limit)} left`);
  const budget = nano(own.limits.budget.limit_nano);
  const left = nano(own.remaining.budget_nano_usd);
  cards(at("limit-list"), [
    ["Budget", budget === null ? "no limit" : `${money(left ?? budget)} of ${money(budget)} left`],
    ["Requests a minute", of(own.remaining.requests, own.limits.rpm)],
    ["Tokens a minute", of(own.remaining.tokens, own.limits.tpm)],
    ["At the same time", of(own.remaining.concurrency, own.limits.max_concurrency)],
  ]);
  at("limits").hidden = false;
}

function signOut(notice) {
  forget();
  if (notice) sessionStorage.setItem("gateway-notice", notice);
  location.replace("/console"); // nothing of what was shown stays
}

function failed(error) {
  const signedIn = !at("app").hidden;
  if (error.status === 401 && signedIn) return signOut(error.message);
  const text = error instanceof Error ? error.message : String(error);
  if (signedIn) {
    at("problem").hidden = false;
    at("problem-text").textContent = text;
    return undefined;
  }
  forget();
  alertIn(at("sign-in-error"), text);
  at("key").focus();
  return undefined;
}

at("problem-close").addEventListener("click", () => {
  at("problem").hidden = true;
});
const notice = sessionStorage.getItem("gateway-notice");
if (notice) {
  sessionStorage.removeItem("gateway-notice");
  alertIn(at("sign-in-error"), notice);
}
