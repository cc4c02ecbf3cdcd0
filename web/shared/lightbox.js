/** Pictures, large, over everything else: arrows browse, Escape closes. */

import { h } from "./dom.js";

/**
 * @param {{url: string, caption: string}[]} pictures
 * @param {number} first which to begin with
 */
export function lightbox(pictures, first) {
  let at = first;
  const image = h("img", { alt: "" });
  const line = h("output", { className: "unc-readout" });
  const show = () => {
    image.src = pictures[at].url;
    image.alt = line.textContent = pictures[at].caption;
  };
  const { dialog, close } = overlayDialog("Enlarged image", image, line);
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    at = (at + by + pictures.length) % pictures.length;
    show();
  });
  show();
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
  const dialog = h("dialog", { className: "unc unc-large", "aria-label": label }, ...content, button);
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
  return { dialog, close: () => dialog.close() };
}
