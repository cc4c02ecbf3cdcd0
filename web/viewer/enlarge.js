/** The stage over everything else. It is moved there, not copied: what changes below changes here. */

import { h } from "../shared/dom.js";
import { towards } from "../shared/keys.js";

/**
 * @param {import("./stage.js").Stage} stage
 * @param {HTMLElement} home where the stage goes back to
 * @param {((by: number) => Promise<void>) | null} browse shows another image of the batch, if there is one
 * @param {() => string} caption of the image shown
 * @returns {() => void} closes it
 */
export function enlarge(stage, home, browse, caption) {
  const line = h("output", { className: "unc-readout" }, caption());
  const told = stage.tell;
  stage.leave();
  stage.tell = (text) => (line.textContent = text || caption());
  /** @param {number} by */
  async function go(by) {
    await browse?.(by);
    line.textContent = caption();
  }
  const button = (/** @type {string} */ text, /** @type {string} */ label, /** @type {string} */ className, /** @type {() => void} */ onclick) =>
    h("button", { type: "button", className, "aria-label": label, title: label, onclick }, text);
  const close = button("×", "Close", "unc-close", () => dialog.close());
  const foot = h("div", { className: "unc-foot" }, line);
  if (browse) foot.prepend(button("‹", "Previous image", "unc-step", () => go(-1)));
  if (browse) foot.append(button("›", "Next image", "unc-step", () => go(1)));
  const dialog = h("dialog", { className: "unc unc-large", "aria-label": "Enlarged map", tabIndex: -1 }, stage.element, foot, close);
  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const by = towards(event);
    if (by) go(by);
  });
  dialog.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    if (event.target === dialog) dialog.close(); // beside the picture
  });
  dialog.addEventListener("close", () => {
    stage.leave();
    stage.tell = told;
    home.append(stage.element);
    dialog.remove();
    home.focus({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.focus(); // not its first button
  return () => dialog.close();
}
