/** Enlarged pictures in a dialog: arrow keys browse, Escape closes. */

import { addBrowsing, overlayDialog } from "./dialog.js";
import { h } from "./dom.js";

/**
 * @param {{url: string, caption: string}[]} pictures
 * @param {number} first index of the picture to start with
 * @returns {() => void} closes the dialog
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
  const foot = h("div", { className: "unc-foot" }, line);
  const { dialog, close } = overlayDialog("Enlarged image", image, foot);
  if (pictures.length > 1) addBrowsing(dialog, foot, go);
  go(0);
  return close;
}
