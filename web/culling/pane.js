/** One image on the stage: its small picture at once, the large one as soon as it is decoded, and a map over it. */

import { h } from "../shared/dom.js";
import { picture } from "./pictures.js";

/**
 * @typedef {import("./view.js").Item} Item
 * @typedef {import("./view.js").Overlay} Overlay
 */

const GONE = "The file no longer exists.";

export class Pane {
  /** @type {Item | null} */
  item = null;
  /** @type {Overlay | null} */
  overlay = null;

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
    if (!this.item || image !== picture(this.item.large).image) return NaN;
    const fitted = Math.min(this.element.clientWidth / image.naturalWidth, this.element.clientHeight / image.naturalHeight);
    return 1 / (fitted * window.devicePixelRatio);
  }

  /** @param {Item} item @param {string} caption @param {Overlay | null} overlay */
  show(item, caption, overlay) {
    this.caption.textContent = caption;
    if (this.item?.id !== item.id || this.item.large !== item.large) {
      this.item = item;
      this.#say("");
      if (item.video) this.ground.replaceChildren(h("video", { src: item.video, loop: true, muted: true, autoplay: true, playsInline: true, "aria-label": item.name }));
      else this.#load(item);
    }
    if (this.overlay?.url !== overlay?.url) {
      this.overlay = overlay;
      this.#cover(overlay);
    }
  }

  /** @param {Item} item */
  async #load(item) {
    const [small, large] = [picture(item.small), picture(item.large)];
    small.image.alt = large.image.alt = item.name;
    this.ground.replaceChildren((large.done ? large : small).image);
    if (large.done) return;
    const found = await large.ready;
    if (this.item !== item) return;
    if (found) this.ground.replaceChildren(large.image);
    else this.#say(GONE);
  }

  /** @param {Overlay | null} overlay */
  async #cover(overlay) {
    this.picture.classList.toggle("unc-culling-mapped", Boolean(overlay));
    this.heat.replaceChildren();
    if (!overlay) return;
    const { image, ready } = picture(overlay.url);
    this.heat.replaceChildren(image);
    if (await ready) return;
    const why = (await overlay.why?.()) ?? "its file no longer exists";
    if (this.overlay === overlay) this.#say(`No map: ${why}`);
  }

  /** @param {string} text */
  #say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }
}
