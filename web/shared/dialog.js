/** Modal dialogs: the small one that shows something enlarged, and the frame of any other. */

import { h } from "./dom.js";
import { LANGUAGE, t } from "./texts.js";

/**
 * Open a modal dialog, which is removed when it closes.
 *
 * @param {string} className
 * @param {string} label
 * @param {...HTMLElement} content
 */
export function modalDialog(className, label, ...content) {
  const dialog = h("dialog", { className, lang: LANGUAGE, "aria-label": label, tabIndex: -1 }, ...content);
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // no ComfyUI shortcuts while the dialog is open
  // The browser gives the focus back when it closes. This event comes later: the focus may have moved on.
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  dialog.focus(); // instead of its first button
  return dialog;
}

/**
 * Open a small modal dialog. Escape, its button or a click outside closes it.
 *
 * @param {string} label
 * @param {...HTMLElement} content
 */
export function overlayDialog(label, ...content) {
  const button = h("button", { type: "button", className: "unc-close", "aria-label": t("Close"), onclick: () => dialog.close() }, "×");
  const dialog = modalDialog("unc unc-large", label, ...content, button);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return dialog;
}

/** @param {string} text @param {string} label @param {() => void} onclick */
export function stepButton(text, label, onclick) {
  return h("button", { type: "button", className: "unc-step", "aria-label": label, title: label, onclick }, text);
}
