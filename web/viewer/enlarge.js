/** The stage over everything else. It is moved there, not copied: what changes below changes here. */

import { h } from "../shared/dom.js";

/**
 * @param {import("./stage.js").Stage} stage
 * @param {HTMLElement} home where the stage goes back to
 * @param {(by: number) => Promise<void>} browse shows another image of the batch
 * @param {() => string} caption of the image shown
 */
export function enlarge(stage, home, browse, caption) {
  const line = h("output", { className: "unc-readout" }, caption());
  const told = stage.tell;
  stage.cross.hidden = true;
  stage.tell = (text) => (line.textContent = text || caption());
  const close = h("button", { type: "button", className: "unc-close", "aria-label": "Close", onclick: () => dialog.close() }, "×");
  const dialog = h("dialog", { className: "unc unc-large", "aria-label": "Enlarged map" }, stage.element, line, close);
  dialog.addEventListener("keydown", async (event) => {
    event.stopPropagation();
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    await browse(by);
    line.textContent = caption();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    stage.tell = told;
    home.append(stage.element);
    dialog.remove();
    home.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}
