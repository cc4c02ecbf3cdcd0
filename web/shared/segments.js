/** A row of buttons of which exactly one is chosen. */

import { h } from "./dom.js";
import { towards } from "./keys.js";

/**
 * @param {string} className
 * @param {string} label
 * @param {{name: string, label: string, title?: string}[]} choices
 * @param {(name: string) => void} choose
 */
export function segments(className, label, choices, choose) {
  const buttons = choices.map((choice) =>
    h("button", { type: "button", role: "radio", title: choice.title ?? "", onclick: () => choose(choice.name) }, choice.label),
  );
  const element = h("div", { className, role: "radiogroup", "aria-label": label }, ...buttons);
  element.addEventListener("keydown", (event) => {
    const by = towards(event);
    if (!by) return;
    const offered = buttons.filter((button) => !button.hidden);
    const next = offered[(offered.indexOf(/** @type {HTMLButtonElement} */ (event.target)) + by + offered.length) % offered.length];
    next.click();
    next.focus({ preventScroll: true });
  });
  return {
    element,
    /** Offer only these choices. @param {string[]} names */
    offer(names) {
      buttons.forEach((button, i) => (button.hidden = !names.includes(choices[i].name)));
    },
    /** @param {string} chosen @param {string} [locked] why no other can be chosen; empty if one can */
    show(chosen, locked = "") {
      element.title = locked;
      buttons.forEach((button, i) => {
        button.setAttribute("aria-checked", String(choices[i].name === chosen));
        button.disabled = Boolean(locked);
        button.tabIndex = choices[i].name === chosen ? 0 : -1;
      });
    },
  };
}
