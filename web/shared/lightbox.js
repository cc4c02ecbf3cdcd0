/** Pictures, large, over everything else: arrows browse, Escape closes. */

import { h } from "./dom.js";
import { towards } from "./keys.js";

/**
 * @param {{url: string, caption: string}[]} pictures
 * @param {number} first which to begin with
 * @returns {() => void} closes it
 */
export function lightbox(pictures, first) {
  let at = first;
  const image = h("img", { alt: "" });
  const line = h("output", { className: "unc-readout" });
  const go = (/** @type {number} */ by) => {
    at = (at + by + pictures.length) % pictures.length;
    image.src = pictures[at].url;
    image.alt = line.textContent = pictures[at].caption;
  };
  const button = (/** @type {string} */ text, /** @type {string} */ label, /** @type {number} */ by) =>
    h("button", { type: "button", className: "unc-step", "aria-label": label, title: label, onclick: () => go(by) }, text);
  const ends = pictures.length > 1 ? [button("‹", "Previous image", -1), button("›", "Next image", 1)] : [];
  const foot = h("div", { className: "unc-foot" }, ...ends.slice(0, 1), line, ...ends.slice(1));
  const { dialog, close } = overlayDialog("Enlarged image", image, foot);
  dialog.addEventListener("keydown", (event) => {
    const by = towards(event);
    if (by) go(by);
  });
  go(0);
  return close;
}

/**
 * A dialog over everything that closes by Escape, its button or a click beside it, and leaves nothing behind.
 *
 * @param {string} label
 * @param {...HTMLElement} content
 */
export function overlayDialog(label, ...content) {
  const before = document.activeElement;
  const button = h("button", { type: "button", className: "unc-close", "aria-label": "Close", onclick: () => dialog.close() }, "×");
  const dialog = h("dialog", { className: "unc unc-large", "aria-label": label, tabIndex: -1 }, ...content, button);
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // no shortcuts of ComfyUI while it is open
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before instanceof HTMLElement) before.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.focus(); // not its first button
  return { dialog, close: () => dialog.close() };
}
