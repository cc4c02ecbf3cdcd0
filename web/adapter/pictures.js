/** Saved pictures that come back: their workflow, the image alone, or the file on the canvas. */

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { CARRIED } from "../shared/carry.js";
import { t } from "../shared/texts.js";
import { tell } from "./graph.js";
import { setWidgets } from "./widgets.js";

/** @typedef {import("../shared/server.js").FileRef} FileRef */

/**
 * Open the workflow in a saved picture, as if its file had been dropped onto the page.
 *
 * @param {FileRef} file
 */
export async function openWorkflow(file) {
  const response = await api.fetchApi(`/view?${new URLSearchParams({ ...file })}`);
  if (!response.ok) throw new Error(t("{file} cannot be read: {problem}", { file: file.filename, problem: `${response.status} ${response.statusText}` }));
  const picture = await response.blob();
  if (picture.type === "image/jpeg") {
    throw new Error(t("{file} keeps its workflow, but ComfyUI reads none from JPEG files: save as PNG or WebP.", { file: file.filename }));
  }
  await app.handleFile(new File([picture], file.filename, { type: picture.type }));
}

const SAMPLERS = ["UncertaintyKSampler", "UncertaintySamplerCustom", "UncertaintyKSamplerAdvanced"];

/**
 * Open the workflow in a saved picture, and draw this image of its batch again, alone: with its own noise.
 *
 * @param {FileRef} file
 * @param {number} place of the image in its batch
 */
export async function redraw(file, place) {
  await openWorkflow(file);
  const graph = app.rootGraph;
  const samplers = graph.nodes.filter((node) => SAMPLERS.includes(node.comfyClass ?? "") && !node.mode);
  const [sampler] = samplers;
  const slot = sampler?.findInputSlot("latent_image") ?? -1;
  const [source, link] = [sampler?.getInputNode(slot), sampler?.getInputLink(slot)];
  if (samplers.length !== 1 || !source || !link) {
    throw new Error(t("The workflow is open, but it is not clear which sampler drew the image: connect Latent From Batch before it."));
  }
  const one = window.LiteGraph.createNode("LatentFromBatch");
  one.pos = [sampler.pos[0] - 260, sampler.pos[1] - 130];
  graph.add(one);
  source.connect(link.origin_slot, one, 0);
  one.connect(0, sampler, slot);
  setWidgets(one, { batch_index: place, length: 1 });
  for (const node of graph.nodes) setWidgets(node, { control_after_generate: "fixed" });
  await app.queuePrompt(0);
}

/** Whether a picture from the library is over the empty canvas. Nodes take it by themselves. @param {DragEvent} event */
function isOverCanvas(event) {
  const [x, y] = app.canvas.convertEventToCanvasOffset(event);
  const carried = event.dataTransfer?.types.includes(CARRIED);
  return carried && event.target === app.canvas.canvas && !app.canvas.graph?.getNodeOnPos(x, y);
}

/** Pictures from the library become Load Image on the canvas; with Alt, their workflow is opened. */
export function takeDrops() {
  addEventListener("dragover", (event) => isOverCanvas(event) && event.preventDefault(), true);
  addEventListener("drop", async (event) => {
      if (!isOverCanvas(event)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      const file = JSON.parse(event.dataTransfer?.getData(CARRIED) ?? "");
      if (!event.altKey) return addLoadImage(file, app.canvas.convertEventToCanvasOffset(event));
      await openWorkflow(file).catch((error) => tell("error", String(error.message)));
    }, true);
}

/** @param {FileRef} file @param {[number, number]} place */
function addLoadImage(file, place) {
  const node = window.LiteGraph.createNode("LoadImage");
  node.pos = place;
  app.canvas.graph?.add(node);
  setWidgets(node, { image: `${file.subfolder ? `${file.subfolder}/` : ""}${file.filename} [${file.type}]` });
}
