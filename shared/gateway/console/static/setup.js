// The set-up snippets with this deployment's address, and a fresh key where there is one.

import { at, copy, el, say } from "./dom.js";

const URL_WORD = /GATEWAY_URL/g;
const KEY_WORD = /YOUR_KEY/g;

// `make(name)` makes a key for a client; null where the signed-in key may not.
export class Setup {
  constructor() {
    this.snippets = [...document.querySelectorAll("#setup pre code")].map((code) => ({ code, text: code.textContent }));
    this.make = null;
    for (const { code } of this.snippets) this.#copyable(code);
    for (const details of document.querySelectorAll("#setup details")) {
      const button = el("button", { type: "button", class: "primary admin-only", onclick: () => this.#fresh(details.dataset.client, button) }, `Make a key for ${details.dataset.client}`);
      details.append(el("p", { class: "admin-only" }, button));
    }
    this.show("");
  }

  show(key) {
    for (const { code, text } of this.snippets) {
      code.textContent = text.replace(URL_WORD, location.origin).replace(KEY_WORD, key || "YOUR_KEY");
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
