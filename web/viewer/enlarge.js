/** The stage over everything else. It is moved there, not copied: what changes below changes here. */

import { h } from "../shared/dom.js";
import { overlayDialog } from "../shared/lightbox.js";

/**
 * @param {import("./stage.js").Stage} stage
 * @param {HTMLElement} home where the stage goes back to
 * @param {(by: number) => Promise<void>} browse shows another image of the batch
 * @param {() => string} caption of the image shown
 */
export function enlarge(stage, home, browse, caption) {
  const line = h("output", { className: "unc-readout" }, caption());
  const told = stage.tell;
  stage.tell = (text) => (line.textContent = text || caption());
  stage.cross.hidden = true;
  const { dialog } = overlayDialog("Enlarged map", stage.element, line);
  dialog.addEventListener("keydown", async (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    await browse(by);
    line.textContent = caption();
  });
  dialog.addEventListener("close", () => {
    stage.tell = told;
    home.append(stage.element);
  });
}
