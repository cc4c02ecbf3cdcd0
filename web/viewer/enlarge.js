/** Shows the stage enlarged in a dialog. The stage itself is moved there, so it stays up to date. */

import { addBrowsing, overlayDialog } from "../shared/dialog.js";
import { h } from "../shared/dom.js";

/**
 * @param {import("./stage.js").Stage} stage
 * @param {HTMLElement} home the parent to which the stage returns
 * @param {((by: number) => Promise<void>) | null} browse shows another image of the batch, if there is one
 * @param {() => string} caption of the image shown
 * @returns {() => void} closes the dialog
 */
export function enlarge(stage, home, browse, caption) {
  const line = h("output", { className: "unc-readout" }, caption());
  const told = stage.tell;
  stage.leave();
  stage.tell = (text) => (line.textContent = text || caption());
  const foot = h("div", { className: "unc-foot" }, line);
  const { dialog, close } = overlayDialog("Enlarged map", stage.element, foot);
  if (browse) addBrowsing(dialog, foot, browse);
  dialog.addEventListener("close", () => {
    stage.leave();
    stage.tell = told;
    home.append(stage.element);
  });
  return close;
}
