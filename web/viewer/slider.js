/** A slider with a label and its value as text. */

import { h } from "../shared/dom.js";

/**
 * @param {string} label
 * @param {(value: number) => void} changed called with an integer, starting at 0
 */
export function slider(label, changed) {
  const input = h("input", { type: "range", min: "0", step: "1", "aria-label": label, oninput: () => changed(Number(input.value)) });
  const output = h("output");
  const row = h("label", { className: "unc-slider" }, h("span", {}, label), input, output);
  return {
    row,
    /** @param {number} value @param {number} last @param {string} text @param {string} [locked] why the slider cannot be moved; empty if it can */
    show(value, last, text, locked = "") {
      input.disabled = Boolean(locked);
      row.title = locked;
      input.max = String(last);
      input.value = String(value);
      input.setAttribute("aria-valuetext", text);
      output.textContent = text;
    },
  };
}
