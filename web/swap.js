/** Swaps ComfyUI's samplers and Save Image for this pack's, and back, from the context menu of the node. */

import { createNode } from "./adapter/graph.js";
import { t } from "./shared/texts.js";

/**
 * @typedef {import("./adapter/types").Node} Node
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
/** ComfyUI's sampler that makes its noise and its guider itself. It becomes three nodes. */
const WITH_PARTS = "SamplerCustom";
const GAP = 46; // pixels between nodes one above the other: the title of the lower one is in there
const MAP = "UNCERTAINTY";

/**
 * What the context menu of a node offers.
 *
 * @param {Node} node
 * @returns {{label: string, act: () => void}[]}
 */
export function swapItems(node) {
  const plain = PLAIN[node.type];
  if (canMeasure(node)) return [{ label: t("Measure uncertainty here"), act: () => measure(node) }];
  return plain ? [{ label: t("Do not measure uncertainty here"), act: () => swap(node, plain) }] : [];
}

/** Whether there is a node of this pack for it. Whether noise is added must be known now if it has parts. @param {Node} node */
function canMeasure(node) {
  if (node.type !== WITH_PARTS) return node.type in MEASURING;
  return node.inputs.every(({ name, link }) => name !== "add_noise" || link == null);
}

/** Swap a node for one that measures. What is saved is measured where it is sampled. @param {Node} node */
function measure(node) {
  const swapped = measuring(node);
  const input = swapped.findInputSlot("uncertainty");
  if (input < 0) return;
  const found = upstream(swapped, (each) => canMeasure(each) || hasMap(each));
  if (!found) return;
  if (!hasMap(found.node)) found.node = measuring(found.node);
  found.node.connect(mapBeside(found), swapped, input);
}

/** Replace a node by the one that measures. @param {Node} node */
function measuring(node) {
  if (node.type !== WITH_PARTS) return swap(node, MEASURING[node.type]);
  const addsNoise = node.widgets?.find(({ name }) => name === "add_noise")?.value;
  const parts = { noise: copy(node, addsNoise ? "RandomNoise" : "DisableNoise"), guider: copy(node, "CFGGuider") };
  const next = swap(node, MEASURING.SamplerCustomAdvanced);
  let bottom = next.pos[1] + next.size[1];
  for (const [input, part] of Object.entries(parts)) {
    part.pos = [next.pos[0], bottom + GAP];
    bottom = part.pos[1] + part.size[1];
    part.connect(0, next, next.findInputSlot(input));
  }
  return next;
}

/** Replace a node by one of another type, with the values, links and looks that both can have. @param {Node} node @param {string} type */
function swap(node, type) {
  const graph = /** @type {Graph} */ (node.graph);
  const next = copy(node, type);
  if (node.title !== /** @type {{title?: string}} */ (node.constructor).title) next.title = node.title;
  next.setSize([Math.max(node.size[0], next.size[0]), next.size[1]]);
  moveOutputs(graph, node, next);
  graph.remove(node);
  return next;
}

/** A node of another type in the place of a node, with the values, colours and incoming links that both can have. @param {Node} node @param {string} type */
function copy(node, type) {
  const graph = /** @type {Graph} */ (node.graph);
  const next = createNode(type);
  next.pos = [node.pos[0], node.pos[1]];
  graph.add(next);
  for (const widget of next.widgets ?? []) {
    const same = node.widgets?.find(({ name }) => name === widget.name);
    if (same && widget.name !== "view") widget.value = same.value;
  }
  Object.assign(next, { mode: node.mode, color: node.color, bgcolor: node.bgcolor });
  copyInputs(graph, node, next);
  return next;
}

/** @param {Graph} graph @param {Node} from @param {Node} to */
function copyInputs(graph, from, to) {
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
