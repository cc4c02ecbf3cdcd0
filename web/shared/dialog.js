/** The dialog that shows enlarged images. */

import { h } from "./dom.js";
import { towards } from "./keys.js";

/**
 * Open a modal dialog. Escape, its button or a click outside closes and removes it.
 *
 * @param {string} label
 * @param {...HTMLElement} content
 */
export function overlayDialog(label, ...content) {
  const button = h("button", { type: "button", className: "unc-close", "aria-label": "Close", onclick: () => dialog.close() }, "×");
  const dialog = h("dialog", { className: "unc unc-large", "aria-label": label, tabIndex: -1 }, ...content, button);
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // no ComfyUI shortcuts while the dialog is open
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  // The browser gives the focus back when it closes. This event comes later: the focus may have moved on.
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  dialog.focus(); // instead of its first button
  return { dialog, close: () => dialog.close() };
}

/**
 * Add previous and next buttons to a dialog's footer, and browse with arrow keys.
 *
 * @param {HTMLDialogElement} dialog
 * @param {HTMLElement} foot
 * @param {(by: number) => void} go moves by that many images
 */
export function addBrowsing(dialog, foot, go) {
  foot.prepend(stepButton("‹", "Previous image", () => go(-1)));
  foot.append(stepButton("›", "Next image", () => go(1)));
  dialog.addEventListener("keydown", (event) => {
    const by = towards(event);
    if (by) go(by);
  });
}

/** @param {string} text @param {string} label @param {() => void} onclick */
export function stepButton(text, label, onclick) {
  return h("button", { type: "button", className: "unc-step", "aria-label": label, title: label, onclick }, text);
}
