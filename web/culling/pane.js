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

export class Pane {
  /** @type {Item | null} */
  item = null;
  /** @type {Overlay | null} */
  overlay = null;
  /** URL of the picture or clip shown. */
  #url = "";

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
    const image = this.ground.querySelector("img");
    if (!image || image !== picture(this.#url).image) return NaN;
    const { width, height } = this.element.getBoundingClientRect(); // not clientWidth, which is rounded
    const fitted = Math.min(width / image.naturalWidth, height / image.naturalHeight);
    return 1 / (fitted * window.devicePixelRatio);
  }

  /** @param {Item} item @param {string} caption @param {Overlay | null} overlay */
  show(item, caption, overlay) {
    this.caption.textContent = caption;
    const url = item.clip && !overlay && !still.matches ? item.clip : item.large; // a map is of one frame
    const [moved, changed] = [this.item?.id !== item.id || this.#url !== url, this.overlay?.url !== overlay?.url];
    [this.item, this.overlay, this.#url] = [item, overlay, url];
    if (moved || changed) this.#say("");
    if (moved) this.#load(item, url);
    if (changed) this.#cover(overlay);
  }

  /** @param {Item} item @param {string} url */
  async #load(item, url) {
    this.ground.replaceChildren();
    if (!url) return; // nothing but its map
    const [small, large] = [picture(item.small || url), picture(url)];
    small.image.alt = large.image.alt = item.name;
    this.ground.append((large.done ? large : small).image);
    if (large.done) return;
    const found = await large.ready;
    if (this.item?.id !== item.id || this.#url !== url) return;
    if (found) this.ground.replaceChildren(large.image);
    else this.#say(GONE);
  }

  /** @param {Overlay | null} overlay */
  async #cover(overlay) {
    this.picture.classList.toggle("unc-culling-mapped", Boolean(overlay));
    this.heat.replaceChildren();
    this.heat.style.opacity = overlay?.opacity === undefined ? "" : String(overlay.opacity);
    if (!overlay) return;
    const shown = await this.#heat(overlay);
    if (this.overlay?.url !== overlay.url) return;
    if (shown) this.heat.replaceChildren(shown);
    else this.#say(t("No map: {reason}", { reason: (await overlay.why?.()) ?? t("its file no longer exists") }));
  }

  /** The picture of a map, null if there is none. @param {Overlay} overlay @returns {Promise<HTMLElement | null>} */
  async #heat(overlay) {
    if (overlay.paint) return overlay.paint();
    const { image, ready } = picture(overlay.url);
    return (await ready) ? image : null;
  }

  /** What the map says at a point of the window; empty if it says nothing. @param {{clientX: number, clientY: number}} point */
  read({ clientX, clientY }) {
    const [map] = this.heat.children;
    if (!this.overlay?.read || !(map instanceof HTMLCanvasElement)) return "";
    const { left, top, width, height } = map.getBoundingClientRect();
    const fitted = Math.min(width / map.width, height / map.height);
    const from = (/** @type {number} */ at, /** @type {number} */ start, /** @type {number} */ box, /** @type {number} */ size) =>
      (at - start - (box - fitted * size) / 2) / (fitted * size);
    const [u, v] = [from(clientX, left, width, map.width), from(clientY, top, height, map.height)];
    return u < 0 || v < 0 || u >= 1 || v >= 1 ? "" : this.overlay.read(u, v);
  }

  /** @param {string} text */
  #say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }
}
