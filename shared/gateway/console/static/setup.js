// The set-up snippets with this deployment's address, and a fresh key where there is one.

import { at, copy, el, say } from "./dom.js";

const URL_WORD = /GATEWAY_URL/g;
const KEY_WORD = /YOUR_KEY/g;
const FUNCTION_URL = /[.]lambda-url[.][a-z0-9-]+[.]on[.]aws$/;

// Where clients of a service find it: at this page's address, unless that is the URL of a function which serves this page
// only. `addresses` are those of the functions, by service.
export function baseUrl(service, addresses, here) {
  return (FUNCTION_URL.test(here.hostname) && addresses[service]) || here.origin;
}

// `make(name)` makes a key for a client; null where the signed-in key may not.
export class Setup {
  constructor() {
    this.snippets = [...document.querySelectorAll("#setup pre code")].map((code) => ({
      code,
      text: code.textContent,
      service: code.closest("details").dataset.service,
    }));
    this.addresses = {};
    this.key = "";
    this.make = null;
    for (const { code } of this.snippets) this.#copyable(code);
    for (const details of document.querySelectorAll("#setup details")) {
      const button = el("button", { type: "button", class: "primary admin-only", onclick: () => this.#fresh(details.dataset.client, button) }, `Make a key for ${details.dataset.client}`);
      details.append(el("p", { class: "admin-only" }, button));
    }
    this.show("");
  }

  // What an overview tells about where clients are served.
  know(overview) {
    if (JSON.stringify(overview.addresses) === JSON.stringify(this.addresses)) return; // a selection in a snippet stays
    this.addresses = overview.addresses;
    this.show(this.key);
  }

  show(key) {
    this.key = key;
    for (const { code, text, service } of this.snippets) {
      const base = baseUrl(service, this.addresses, location);
      code.textContent = text.replaceAll(URL_WORD, base).replaceAll(KEY_WORD, key || "YOUR_KEY");
    }
    at("setup-note").textContent = key ? "With the new key, until this page is left." : "YOUR_KEY stands for a client key.";
  }

  #copyable(code) {
    const button = el("button", { type: "button", class: "copy", onclick: () => copy(code.textContent, button) }, "Copy");
    const block = code.parentElement;
    const frame = el("div", { class: "snippet" });
    block.replaceWith(frame);
    frame.append(block, button);
  }

  async #fresh(client, button) {
    button.disabled = true;
    try {
      await this.make(client);
      say(`The snippets hold a new key for ${client}`);
    } finally {
      button.disabled = false;
    }
  }
}
