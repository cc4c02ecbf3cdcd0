/** The canvas with image and heatmap. Reads the value under the pointer. */

import { h } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { greyOf, paint, resize } from "./paint.js";
import { Reading } from "./reading.js";

/** @typedef {import("./data.js").MapIndex} MapIndex */
/** @typedef {{image: number, frame: number, quantity: string, step: number, range: [number, number], colormap: Uint8Array, opacity: number}} Shown */

// Larger pictures are scaled down; more pixels than the screen has would show nothing new.
const MOST = 1024;
// Without a picture, the map is enlarged by the factor of the usual decoder.
const LATENT_SCALE = 8;

export class Stage {
  /** @param {(text: string) => void} tell called with a text about the pixel under the pointer, empty when the pointer leaves */
  constructor(tell) {
    this.tell = tell;
    this.canvas = h("canvas", { role: "img", "aria-label": t("Uncertainty map") });
    this.cross = h("span", { className: "unc-cross", hidden: true });
    this.element = h("span", { className: "unc-stage" }, this.canvas, this.cross);
    this.element.addEventListener("pointermove", (event) => this.#point(event));
    this.element.addEventListener("pointerleave", () => this.leave());
    // Increases with each drawing, so that an older one notices that it is outdated.
    this.generation = 0;
    /** @type {Map<number, Promise<import("./data.js").ImageMaps | null>>} */
    this.maps = new Map();
    /** @type {Map<string, Promise<{grey: Uint8Array, height: number, width: number} | null>>} */
    this.greys = new Map();
    /** @type {Reading | null} */
    this.reading = null;
  }

  /** The pointer left the picture. */
  leave() {
    this.cross.hidden = true;
    this.tell("");
  }

  /** Discard everything that was loaded. */
  clear() {
    this.generation++;
    this.maps.clear();
    this.greys.clear();
    this.reading = null;
  }

  /**
   * @param {MapIndex} index
   * @param {Shown} shown
   * @returns {Promise<boolean>} false if the server has deleted the files
   */
  async show(index, shown) {
    const generation = ++this.generation;
    const [maps, ground] = await Promise.all([this.#maps(index, shown.image), this.#ground(index, shown.image, shown.frame)]);
    if (generation !== this.generation) return true;
    if (!maps) return false;
    const values = maps.picture(shown.quantity, index.rows(shown.quantity, shown.step), shown.frame);
    const { height, width } = ground ?? enlarged(values);
    Object.assign(this.canvas, { width, height });
    this.canvas.setAttribute("aria-label", t("Uncertainty map of image {image}", { image: shown.image }));
    this.element.style.setProperty("--ratio", String(width / height));
    const painted = paint(resize(values, height, width), shown.range, shown.colormap, ground?.grey ?? null, shown.opacity);
    this.canvas.getContext("2d")?.putImageData(painted, 0, 0);
    this.reading = new Reading(values);
    this.leave(); // the value shown belongs to the previous picture
    return true;
  }

  /** Maps of an image; those of the last image stay loaded. @param {MapIndex} index @param {number} image */
  #maps(index, image) {
    let found = this.maps.get(image);
    if (!found) {
      found = index.maps(image);
      this.maps = new Map([[image, found]]);
    }
    return found;
  }

  /** @param {MapIndex} index @param {number} image @param {number} frame */
  #ground(index, image, frame) {
    const key = `${image} ${frame}`;
    let found = this.greys.get(key);
    if (!found) {
      found = grey(index.pictureUrl(image, frame));
      this.greys = new Map([[key, found]]);
    }
    return found;
  }

  /** @param {PointerEvent} event */
  #point(event) {
    if (!this.reading) return;
    const box = this.canvas.getBoundingClientRect();
    const [u, v] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (u < 0 || v < 0 || u >= 1 || v >= 1) return;
    this.tell(this.reading.at(u, v));
    this.cross.hidden = false;
    this.cross.style.left = `${100 * u}%`;
    this.cross.style.top = `${100 * v}%`;
  }
}

/** Size of a map without a picture. Sound, which has a single row, is drawn tall enough to see. @param {import("./paint.js").Picture} values */
export function enlarged({ height, width }) {
  const scale = Math.min(LATENT_SCALE, MOST / Math.max(height, width));
  const wide = Math.max(1, Math.round(width * scale));
  return { width: wide, height: height > 1 ? Math.round(height * scale) : Math.ceil(wide / 6) };
}

/** Grey values of a picture, or null without one. @param {string | null} url */
async function grey(url) {
  if (!url) return null;
  const picture = new Image();
  picture.src = url;
  try {
    await picture.decode();
  } catch (error) {
    if (error instanceof DOMException) return null; // deleted; loading the map, which was deleted with it, reports that
    throw error;
  }
  const scale = Math.min(1, MOST / Math.max(picture.naturalWidth, picture.naturalHeight));
  const [width, height] = [picture.naturalWidth, picture.naturalHeight].map((side) => Math.round(side * scale));
  const context = /** @type {CanvasRenderingContext2D} */ (h("canvas", { width, height }).getContext("2d", { willReadFrequently: true }));
  context.drawImage(picture, 0, 0, width, height);
  return { grey: greyOf(context.getImageData(0, 0, width, height)), height, width };
}
