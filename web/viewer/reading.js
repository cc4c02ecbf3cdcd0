/** The values of a map, in words. */

import { short } from "../shared/numbers.js";
import { t } from "../shared/texts.js";
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
    if (!Number.isFinite(value)) return t("not a number");
    this.#ordered ??= data.slice().sort();
    return t("{value} · higher than {share} % of the image", { value: short(value), share: Math.round(100 * rank(this.#ordered, value)) });
  }
}
