/** Reads the files of a map preview, which nodes/looking/map_preview_view.py writes. */

import { fileUrl } from "../shared/server.js";
import { load } from "../shared/safetensors.js";

/** Step number for the sum of all steps. */
export const SUM = -1;

/**
 * @typedef {import("../shared/server.js").FileRef} FileRef
 * @typedef {import("../shared/safetensors.js").Tensor} Tensor
 * @typedef {{
 *   quantities: string[], of_run: string[], total_steps: number, summed: number, window: [number, number] | null, guided: boolean,
 *   frames: number, maps: FileRef[], pictures: FileRef[][], thumbnails?: FileRef[], clips?: FileRef[],
 *   ran: {quantity: string, step: number, colormap: string, opacity: number, normalize: string}
 * }} About `of_run`: what belongs to the whole run instead of a step; `ran`: the values of the node's inputs in that run
 */

/** The index file of a preview: everything except the maps. */
export class MapIndex {
  /**
   * @param {Record<string, Tensor>} tensors
   * @param {About} about
   */
  constructor(tensors, about) {
    this.tensors = tensors;
    this.about = about;
    this.steps = Array.from(tensors.steps.data);
    this.sigmas = Array.from(tensors.sigmas.data);
    this.images = about.maps.length;
  }

  /** @param {FileRef} file @returns {Promise<MapIndex | null>} null if the server has deleted the file */
  static async load(file) {
    const contents = await load(fileUrl(file));
    return contents && new MapIndex(contents.tensors, JSON.parse(contents.metadata.about));
  }

  /** @param {string} tensor of shape (Q, S, B) @param {string} quantity @param {number} row @param {number} image */
  #at(tensor, quantity, row, image) {
    const q = this.about.quantities.indexOf(quantity);
    return this.tensors[tensor].data[(q * this.steps.length + row) * this.images + image];
  }

  /** Names of everything that there is a map of. */
  get names() {
    return [...this.about.quantities, ...this.about.of_run];
  }

  /** Whether it has a map of each step. @param {string} quantity */
  hasSteps(quantity) {
    return this.about.quantities.includes(quantity);
  }

  /** Rows of the recorded steps that make up a step, or the sum. @param {string} quantity @param {number} step */
  rows(quantity, step) {
    if (!this.hasSteps(quantity)) return [0];
    return step === SUM ? this.steps.map((_, row) => row) : [this.steps.indexOf(step)];
  }

  /** Score and standard error. @param {string} quantity @param {number} step @param {number} image */
  score(quantity, step, image) {
    if (!this.hasSteps(quantity)) return this.#scoreOfRun(quantity, image);
    const rows = this.rows(quantity, step);
    const value = rows.reduce((sum, row) => sum + this.#at("scores", quantity, row, image), 0);
    const error = Math.hypot(...rows.map((row) => this.#at("standard_errors", quantity, row, image)));
    return { value, error };
  }

  /** @param {string} quantity @param {number} image */
  #scoreOfRun(quantity, image) {
    const at = this.about.of_run.indexOf(quantity) * this.images + image;
    return { value: this.tensors.scores_of_run.data[at], error: this.tensors.standard_errors_of_run.data[at] };
  }

  /** Standard deviation over the elements of one step's map. @param {string} quantity @param {number} row @param {number} image */
  spread(quantity, row, image) {
    return this.#at("spreads", quantity, row, image);
  }

  /**
   * Lowest and highest value of the colour scale.
   *
   * @param {string} quantity
   * @param {number} step
   * @param {number} image
   * @param {string} normalize image, batch or absolute
   * @returns {[number, number]}
   */
  range(quantity, step, image, normalize) {
    if (normalize === "absolute") return [0, 1];
    const column = normalize === "batch" ? this.images : image;
    if (!this.hasSteps(quantity)) return this.#ends("ranges_of_run", this.about.of_run.indexOf(quantity), column);
    const q = this.about.quantities.indexOf(quantity);
    const row = step === SUM ? this.steps.length : this.steps.indexOf(step);
    return this.#ends("ranges", q * (this.steps.length + 1) + row, column);
  }

  /** @param {string} tensor of shape (rows, B + 1, 2) @param {number} row @param {number} column @returns {[number, number]} */
  #ends(tensor, row, column) {
    const at = (row * (this.images + 1) + column) * 2;
    const { data } = this.tensors[tensor];
    return [data[at], data[at + 1]];
  }

  /** Colour table, 256 × 3. @param {string} name */
  colormap(name) {
    return /** @type {Uint8Array} */ (this.tensors[`colormap.${name}`].data);
  }

  /** URL of the decoded picture of a frame, or null if no images were connected. @param {number} image @param {number} frame */
  pictureUrl(image, frame) {
    const file = this.about.pictures[image]?.[frame];
    return file ? fileUrl(file) : null;
  }

  /** URL of the small picture of an image, or null if there is none. @param {number} image */
  thumbnailUrl(image) {
    const file = this.about.thumbnails?.[image];
    return file ? fileUrl(file) : null;
  }

  /** URL of the clip of an image, or null if it does not move. @param {number} image */
  clipUrl(image) {
    const file = this.about.clips?.[image];
    return file ? fileUrl(file) : null;
  }

  /** @param {number} image @returns {Promise<ImageMaps | null>} */
  async maps(image) {
    const contents = await load(fileUrl(this.about.maps[image]));
    return contents && new ImageMaps(contents.tensors);
  }
}

/** The maps of one image. */
export class ImageMaps {
  /** @param {Record<string, Tensor>} tensors each (S, frames, h, w), or (1, frames, h, w) of the whole run */
  constructor(tensors) {
    this.tensors = tensors;
  }

  /**
   * The map of one frame, summed over rows.
   *
   * @param {string} quantity
   * @param {number[]} rows
   * @param {number} frame
   */
  picture(quantity, rows, frame) {
    const { data, shape } = this.tensors[quantity];
    const [, frames, height, width] = shape;
    const size = height * width;
    const sum = new Float32Array(size);
    for (const row of rows) {
      const start = (row * frames + frame) * size;
      for (let i = 0; i < size; i++) sum[i] += data[start + i];
    }
    return { data: sum, height, width };
  }
}
