/** The pack's commands. ComfyUI's list of keys has them all, and the user can bind others. */

import { actOnSelected, inView, tell } from "./adapter/graph.js";
import { cullListed } from "./ledger/tab.js";
import { COMMAND_KEYS } from "./shared/keys.js";
import { t } from "./shared/texts.js";
import { swapItems } from "./swap.js";

/** @type {import("./adapter/types").Command[]} */
export const commands = [
  { id: "uncertainty.swap", label: "Measure uncertainty in the selected nodes, or no longer", run: () => actOnSelected(swapItems) },
  { id: "uncertainty.cull", label: "Look at images one by one: those of a filter, or else those that the sidebar lists", key: COMMAND_KEYS.cull, run: cull },
  { id: "uncertainty.rejectWorst", label: "Reject the worst image that the filter keeps", key: COMMAND_KEYS.rejectWorst, run: rejectWorst },
];

let opening = false;

async function cull() {
  if (opening || document.querySelector("dialog[open]") || inView("cull")) return;
  opening = true;
  try {
    if (!(await cullListed())) tell("info", t("There are no images to look at: no filter has results, and the sidebar lists none."));
  } catch (error) {
    tell("error", /** @type {Error} */ (error).message);
  } finally {
    opening = false;
  }
}

function rejectWorst() {
  if (inView("rejectWorst")) return;
  tell("info", t("No filter has an image to reject: run a workflow with Filter by Uncertainty Score, in a mode other than reference or choose."));
}
