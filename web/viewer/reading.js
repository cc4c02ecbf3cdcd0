/** The values of a map, in words. */

import { short } from "../shared/numbers.js";
import { rank } from "./paint.js";

export class Reading {
  /** @type {Float32Array | null} */
  #ordered = null;

  /** @param {import("./paint.js").Picture} values */
  constructor(values) {
    this.values = values;
  }

  /** The value at a point. @param {number} u across @param {number} v down, from 0 to below 1 */
  at(u, v) {
    const { data, height, width } = this.values;
    const value = data[Math.floor(v * height) * width + Math.floor(u * width)];
    if (!Number.isFinite(value)) return "not a number";
    this.#ordered ??= data.slice().sort();
    return `${short(value)} · higher than ${Math.round(100 * rank(this.#ordered, value))} % of the image`;
  }
}
