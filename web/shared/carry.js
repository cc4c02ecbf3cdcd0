/** What is carried when a saved picture is dragged. */

import { fileUrl } from "./server.js";

/** @typedef {import("./server.js").FileRef} FileRef */

/** The type under which ComfyUI's page finds the picture, also when it comes from another window. */
export const CARRIED = "application/x-uncertainty-image";

/** Let a saved picture be dragged: onto the canvas, onto nodes, and into other programs. @param {DataTransfer} data @param {FileRef} file */
export function carryImage(data, file) {
  data.setData(CARRIED, JSON.stringify(file));
  data.setData("text/uri-list", fileUrl(file));
  data.effectAllowed = "copy";
}
