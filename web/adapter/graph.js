/** What is done to the graph in sight, and said beside it. */

import { app } from "../../../scripts/app.js";
import { hostOf } from "./results.js";

/** @typedef {import("./types").Node} Node */

const TOLD_MS = 5000;

/** A new node that is in no graph yet. @param {string} type @returns {Node} */
export function createNode(type) {
  return window.LiteGraph.createNode(type);
}

/** Change the graph so that one undo takes it back. @param {() => void} act */
export function asOneChange(act) {
  app.canvas.emitBeforeChange();
  act();
  app.canvas.emitAfterChange();
  app.canvas.setDirty(true, true);
}

/** Do what the context menus of the selected nodes offer, as one change. @param {(node: Node) => {act: () => void}[]} menu */
export function actOnSelected(menu) {
  const nodes = /** @type {Node[]} */ (Object.values(app.canvas.selected_nodes));
  asOneChange(() => nodes.flatMap(menu).forEach(({ act }) => act()));
}

/**
 * Do something in a view of the graph in sight: in those of selected nodes first.
 *
 * @param {string} what
 * @returns {boolean} whether a view had something to do
 */
export function inView(what) {
  const nodes = [...Object.values(app.canvas.selected_nodes), ...(app.canvas.graph?.nodes ?? [])];
  return nodes.flatMap(withInner).some((node) => hostOf(node)?.actions[what]?.());
}

/** A node and those inside it, if it is a subgraph. @param {any} node @returns {object[]} */
function withInner(node) {
  return [node, ...(node.subgraph?.nodes ?? []).flatMap(withInner)];
}

/** Say something in a corner of the window. @param {"info" | "error"} severity @param {string} summary */
export function tell(severity, summary) {
  app.extensionManager.toast.add({ severity, summary, life: severity === "info" ? TOLD_MS : undefined });
}
