/** The pack's commands. ComfyUI's list of keys has them all, and the user can bind others. */

import { inView, tell } from "./adapter.js";
import { cullSaved } from "./ledger/tab.js";

/** @type {import("./adapter.js").Command[]} */
export const commands = [
  { id: "uncertainty.cull", label: "Look at images one by one: those of a filter, or else all saved ones", key: "c", run: cull },
  { id: "uncertainty.rejectWorst", label: "Reject the worst image that the filter keeps", key: "x", run: rejectWorst },
];

async function cull() {
  if (inView("cull") || (await cullSaved())) return;
  tell("info", "There are no images to look at: queue a workflow with Filter by Uncertainty Score or Save Image (Uncertainty).");
}

function rejectWorst() {
  if (inView("rejectWorst")) return;
  tell("info", "No filter has an image to reject: queue a workflow with Filter by Uncertainty Score, in a mode other than choose.");
}
