/**
 * Reads safetensors files (https://github.com/huggingface/safetensors#format).
 */

import { t } from "./texts.js";

const TYPES = { F32: Float32Array, I32: Int32Array, U8: Uint8Array };

/**
 * @typedef {{data: Float32Array | Int32Array | Uint8Array, shape: number[]}} Tensor
 * @typedef {{tensors: Record<string, Tensor>, metadata: Record<string, string>}} Contents
 */

/**
 * @param {ArrayBuffer} buffer
 * @returns {Contents}
 * @throws {Error} the file is truncated or has a tensor of an unsupported type
 */
export function parse(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  /** @type {Contents} */
  const contents = { tensors: {}, metadata: header.__metadata__ ?? {} };
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const Type = TYPES[/** @type {keyof typeof TYPES} */ (entry.dtype)];
    if (!Type) throw new Error(t("{name} has the unsupported type {type}", { name, type: entry.dtype }));
    const [begin, end] = entry.data_offsets.map((/** @type {number} */ offset) => offset + 8 + length);
    if (end > buffer.byteLength) throw new Error(t("the file is truncated"));
    contents.tensors[name] = { data: new Type(buffer.slice(begin, end)), shape: entry.shape }; // a copy, because typed arrays need aligned offsets
  }
  return contents;
}

/**
 * @param {string} url
 * @returns {Promise<Contents | null>} null if the server has deleted the file
 */
export async function load(url) {
  const response = await fetch(url);
  if (response.status === 204) return null;
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  return parse(await response.arrayBuffer());
}
