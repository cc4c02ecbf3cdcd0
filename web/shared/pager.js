/** Chooses one of the batches of a run: a node whose inputs are lists runs once per batch. */

import { stepButton } from "./dialog.js";
import { h } from "./dom.js";

/** Height of the pager in pixels. */
export const PAGER = 30;

/** @param {(by: number) => void} browse moves by that many batches */
export function batchPager(browse) {
  const text = h("output");
  const element = h(
    "div",
    { className: "unc-pager", role: "group", "aria-label": "Batches of the run", hidden: true },
    stepButton("‹", "Previous batch", () => browse(-1)),
    text,
    stepButton("›", "Next batch", () => browse(1)),
  );
  return {
    element,
    /** @param {number} current @param {number} count */
    show(current, count) {
      element.hidden = count < 2;
      text.textContent = `Batch ${current + 1} of ${count}`;
    },
  };
}
