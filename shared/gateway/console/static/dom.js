// Elements without markup: every text that comes from outside goes in as text.

export const at = (id) => document.getElementById(id);

// el("td", { class: "number", title: "x", onclick: f }, "text", child): attributes by name, listeners by their on-name.
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function fill(parent, ...children) {
  parent.replaceChildren(...children);
}

// Options of a select after those it came with; what was chosen stays chosen where it still exists.
export function choices(select, pairs) {
  const chosen = select.value;
  const fixed = [...select.options].filter((option) => !("added" in option.dataset));
  fill(select, ...fixed, ...pairs.map(([value, text]) => el("option", { value, "data-added": "" }, text)));
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

export function cards(list, pairs) {
  fill(list, ...pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

export function say(text) {
  at("announcer").textContent = text;
}

export function alertIn(element, text) {
  element.hidden = !text;
  element.textContent = text;
}

// Resolves to whether the reader agreed; focus goes back to where it was.
export function confirmed(title, text, yes) {
  const dialog = at("confirm-dialog");
  at("confirm-title").textContent = title;
  at("confirm-text").textContent = text;
  at("confirm-yes").textContent = yes;
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

export async function copy(text, button) {
  const name = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    say("Copied");
  } catch {
    button.textContent = "Select and copy by hand";
  }
  setTimeout(() => {
    button.textContent = name;
  }, 2_000);
}
