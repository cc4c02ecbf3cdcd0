/** Swaps ComfyUI's samplers and Save Image for this pack's, and back, from the context menu of the node. */

import { createNode } from "./adapter.js";
import { t } from "./shared/texts.js";

/**
 * @typedef {import("./adapter.js").Node} Node
 * @typedef {NonNullable<Node["graph"]>} Graph
 * @typedef {NonNullable<ReturnType<Graph["getLink"]>>} Link
 * @typedef {{node: Node, slot: number}} Source an output of a node
 */

/** ComfyUI's nodes and those of this pack with the same inputs and more. @type {Record<string, string>} */
const MEASURING = {
  KSampler: "UncertaintyKSampler",
  SamplerCustomAdvanced: "UncertaintySamplerCustom",
  KSamplerAdvanced: "UncertaintyKSamplerAdvanced",
  SaveImage: "UncertaintySaveImage",
};
const PLAIN = Object.fromEntries(Object.entries(MEASURING).map(([plain, measuring]) => [measuring, plain]));
const MAP = "UNCERTAINTY";

/**
 * What the context menu of a node offers.
 *
 * @param {Node} node
 * @returns {{label: string, act: () => void}[]}
 */
export function swapItems(node) {
  const [measuring, plain] = [MEASURING[node.type], PLAIN[node.type]];
  if (measuring) return [{ label: t("Measure uncertainty here"), act: () => measure(node, measuring) }];
  return plain ? [{ label: t("Do not measure uncertainty here"), act: () => swap(node, plain) }] : [];
}

/** Swap a node for one that measures. What is saved is measured where it is sampled. @param {Node} node @param {string} type */
function measure(node, type) {
  const swapped = swap(node, type);
  const input = swapped.findInputSlot("uncertainty");
  if (input < 0) return;
  const found = upstream(swapped, (each) => each.type in MEASURING || hasMap(each));
  if (!found) return;
  if (!hasMap(found.node)) found.node = swap(found.node, MEASURING[found.node.type]);
  found.node.connect(mapBeside(found), swapped, input);
}

/** Replace a node by one of another type, with the values, links and looks that both can have. @param {Node} node @param {string} type */
function swap(node, type) {
  const graph = /** @type {Graph} */ (node.graph);
  const next = createNode(type);
  next.pos = [node.pos[0], node.pos[1]];
  graph.add(next);
  for (const widget of next.widgets ?? []) {
    const same = node.widgets?.find(({ name }) => name === widget.name);
    if (same && widget.name !== "view") widget.value = same.value;
  }
  if (node.title !== /** @type {{title?: string}} */ (node.constructor).title) next.title = node.title;
  Object.assign(next, { mode: node.mode, color: node.color, bgcolor: node.bgcolor });
  next.setSize([Math.max(node.size[0], next.size[0]), next.size[1]]);
  moveInputs(graph, node, next);
  moveOutputs(graph, node, next);
  graph.remove(node);
  return next;
}

/** @param {Graph} graph @param {Node} from @param {Node} to */
function moveInputs(graph, from, to) {
  for (const { name, link: id } of from.inputs ?? []) {
    const [link, slot] = [id == null ? undefined : graph.getLink(id), to.findInputSlot(name)];
    if (!link || slot < 0) continue;
    if (link.originIsIoNode) border(graph).inputNode.slots[link.origin_slot].connect(to.inputs[slot], to, link.parentId);
    else graph.getNodeById(link.origin_id)?.connect(link.origin_slot, to, slot, link.parentId);
  }
}

/** @param {Graph} graph @param {Node} from @param {Node} to */
function moveOutputs(graph, from, to) {
  for (const [slot, { type, links }] of (from.outputs ?? []).entries()) {
    if (to.outputs?.[slot]?.type !== type) continue;
    for (const id of [...(links ?? [])]) {
      const link = graph.getLink(id);
      if (!link) continue;
      const target = graph.getNodeById(link.target_id);
      if (link.targetIsIoNode) border(graph).outputNode.slots[link.target_slot].connect(to.outputs[slot], to, link.parentId);
      else if (target) to.connect(slot, target, link.target_slot, link.parentId);
    }
  }
}

/** A graph inside a subgraph node, with its border. @param {Graph} graph @returns {any} */
function border(graph) {
  return graph;
}

/**
 * The output that a node's inputs come from, of the nearest node that fits.
 *
 * @param {Node} node
 * @param {(node: Node) => boolean} fits
 * @returns {Source | undefined}
 */
function upstream(node, fits) {
  const graph = /** @type {Graph} */ (node.graph);
  const [waiting, seen] = [[node], new Set([node])];
  for (const each of waiting) {
    for (const { link: id } of each.inputs ?? []) {
      const link = id == null ? undefined : graph.getLink(id);
      const origin = /** @type {Node | null | undefined} */ (link && graph.getNodeById(link.origin_id));
      if (!link || !origin || seen.has(origin)) continue;
      if (fits(origin)) return { node: origin, slot: link.origin_slot };
      seen.add(origin);
      waiting.push(origin);
    }
  }
  return undefined;
}

/** @param {Node} node */
const hasMap = (node) => node.outputs?.some(({ type }) => type === MAP) ?? false;

/** The output with the map of what another one gives: kept uncertainty beside kept images. @param {Source} source */
function mapBeside({ node, slot }) {
  const maps = node.outputs.map(({ type }, index) => index).filter((index) => node.outputs[index].type === MAP);
  const [kind] = node.outputs[slot].name.split(" ");
  return maps.find((index) => node.outputs[index].name.startsWith(`${kind} `)) ?? maps[0];
}
