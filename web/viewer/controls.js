/** A slider, and a row of choices of which one holds. */

import { h } from "../shared/dom.js";
import { towards } from "../shared/keys.js";

/**
 * @param {string} label
 * @param {(value: number) => void} changed called with a whole number from 0
 */
export function slider(label, changed) {
  const input = h("input", { type: "range", min: "0", step: "1", "aria-label": label, oninput: () => changed(Number(input.value)) });
  const output = h("output");
  const row = h("label", { className: "unc-slider" }, h("span", {}, label), input, output);
  return {
    row,
    /** @param {number} value @param {number} last @param {string} text */
    show(value, last, text) {
      input.max = String(last);
      input.value = String(value);
      input.setAttribute("aria-valuetext", text);
      output.textContent = text;
    },
  };
}

/**
 * @param {string} label
 * @param {{name: string, label: string, title: string}[]} choices
 * @param {(name: string) => void} choose
 */
export function segments(label, choices, choose) {
  const buttons = choices.map((choice) =>
    h("button", { type: "button", role: "radio", title: choice.title, onclick: () => choose(choice.name) }, choice.label),
  );
  const element = h("div", { className: "unc-segments", role: "radiogroup", "aria-label": label }, ...buttons);
  element.addEventListener("keydown", (event) => {
    const by = towards(event);
    if (!by) return;
    const next = buttons[(buttons.indexOf(/** @type {HTMLButtonElement} */ (event.target)) + by + buttons.length) % buttons.length];
    next.click();
    next.focus({ preventScroll: true });
  });
  return {
    element,
    /** @param {string} chosen */
    show(chosen) {
      buttons.forEach((button, i) => {
        button.setAttribute("aria-checked", String(choices[i].name === chosen));
        button.tabIndex = choices[i].name === chosen ? 0 : -1;
      });
    },
  };
}
