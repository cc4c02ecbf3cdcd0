/** One image on the stage: its small picture at once, the large one as soon as it is decoded, and a map over it. */

import { h } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { picture } from "./pictures.js";

/**
 * @typedef {import("./view.js").Item} Item
 * @typedef {import("./view.js").Overlay} Overlay
 */

const GONE = t("The file no longer exists.");
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** URL of what is shown of an image: a clip plays unless a map lies over it, which is of a single frame. @param {Item} item @param {boolean} mapped */
export function source({ clip, large }, mapped) {
  return clip && !mapped && !still.matches ? clip : large;
}

export class Pane {
  /** @type {Item | null} */
  item = null;
  /** @type {Overlay | null} */
  overlay = null;
  /** URL of the picture or clip shown. */
  #url = "";
  /** The picture in full size, once it is shown. @type {HTMLImageElement | null} */
  #large = null;
  /** What the map says at a point. @type {((u: number, v: number) => string) | null} */
  #reading = null;

  constructor() {
    this.caption = h("figcaption");
    this.note = h("p", { className: "unc-culling-note", hidden: true });
    this.ground = h("div", { className: "unc-culling-ground" });
    this.heat = h("div", { className: "unc-culling-heat" });
    /** What is zoomed and moved. */
    this.picture = h("div", { className: "unc-culling-picture" }, this.ground, this.heat);
    this.element = h("figure", { className: "unc-culling-pane" }, this.picture, this.caption, this.note);
  }

  /** The zoom at which a pixel of the picture is one of the screen; NaN before the picture is loaded. */
  get actual() {
    const image = this.#large;
    if (!image) return NaN;
    const { width, height } = this.element.getBoundingClientRect(); // not clientWidth, which is rounded
    const fitted = Math.min(width / image.naturalWidth, height / image.naturalHeight);
    return 1 / (fitted * window.devicePixelRatio);
  }

  /** @param {Item} item @param {string} caption @param {Overlay | null} overlay */
  show(item, caption, overlay) {
    this.caption.textContent = caption;
    const url = source(item, Boolean(overlay));
    const [moved, changed] = [this.item?.id !== item.id || this.#url !== url, this.overlay?.url !== overlay?.url];
    [this.item, this.overlay, this.#url] = [item, overlay, url];
    if (moved || changed) this.#say("");
    if (moved) this.#load(item, url);
    if (changed) this.#cover(overlay);
  }

  /** @param {Item} item @param {string} url */
  async #load(item, url) {
    this.ground.replaceChildren();
    this.#large = null;
    if (!url) return; // nothing but its map
    const [small, large] = [picture(item.small || url), picture(url)];
    small.image.alt = large.image.alt = item.name;
    if (!large.done) this.ground.append(small.image);
    const found = large.done || (await large.ready);
    if (this.item?.id !== item.id || this.#url !== url) return;
    if (found) this.ground.replaceChildren((this.#large = large.image));
    else this.#say(GONE);
  }

  /** @param {Overlay | null} overlay */
  async #cover(overlay) {
    this.picture.classList.toggle("unc-culling-mapped", Boolean(overlay));
    this.heat.replaceChildren();
    this.#reading = null;
    this.heat.style.opacity = overlay?.opacity === undefined ? "" : String(overlay.opacity);
    if (!overlay) return;
    const [shown, problem] = await painted(overlay).then(
      (found) => [found, ""],
      (error) => [null, error.message],
    );
    if (this.overlay?.url !== overlay.url) return;
    if (shown) {
      this.heat.replaceChildren(shown.element);
      this.#reading = shown.read ?? null;
      return;
    }
    const reason = problem || ((await overlay.why?.()) ?? t("its file no longer exists"));
    if (this.overlay?.url === overlay.url) this.#say(t("No map: {reason}", { reason }));
  }

  /** What the map says at a point of the window; empty if it says nothing. @param {{clientX: number, clientY: number}} point */
  read({ clientX, clientY }) {
    const [map] = this.heat.children;
    if (!this.#reading || !(map instanceof HTMLCanvasElement)) return "";
    const { left, top, width, height } = map.getBoundingClientRect();
    const fitted = Math.min(width / map.width, height / map.height);
    const from = (/** @type {number} */ at, /** @type {number} */ start, /** @type {number} */ box, /** @type {number} */ size) =>
      (at - start - (box - fitted * size) / 2) / (fitted * size);
    const [u, v] = [from(clientX, left, width, map.width), from(clientY, top, height, map.height)];
    return u < 0 || v < 0 || u >= 1 || v >= 1 ? "" : this.#reading(u, v);
  }

  /** @param {string} text */
  #say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }
}

/** The picture of a map, null if there is none. @param {Overlay} overlay @returns {Promise<import("./view.js").Painted | null>} */
async function painted({ paint, url }) {
  if (paint) return paint();
  const { image, ready } = picture(url);
  return (await ready) ? { element: image } : null;
}
