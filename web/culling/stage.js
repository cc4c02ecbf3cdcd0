/** The pictures on the stage, side by side, with one zoom. */

import { h } from "../shared/dom.js";
import { Pane } from "./pane.js";
import { Zoom } from "./zoom.js";

/**
 * @typedef {import("./view.js").Item} Item
 * @typedef {import("./view.js").Overlay} Overlay
 * @typedef {{item: Item, caption: string, overlay: Overlay | null, current: boolean}} Shown
 */

export class Stage {
  /** @type {Pane[]} */
  panes = [];

  /** @param {import("./zoom.js").Gestures} gestures */
  constructor(gestures) {
    this.element = h("div", { className: "unc-culling-stage" });
    this.zoom = new Zoom(this.element, gestures);
  }

  /** The pane of the image looked at. @type {Pane | undefined} */
  get current() {
    return this.panes.find(({ element }) => element.classList.contains("unc-culling-current"));
  }

  /** @param {Shown[]} shown */
  show(shown) {
    this.panes.length = Math.min(this.panes.length, shown.length); // one that is not shown loses its picture to another
    while (this.panes.length < shown.length) this.panes.push(new Pane());
    const { panes } = this;
    if (this.element.childElementCount !== panes.length) this.element.replaceChildren(...panes.map(({ element }) => element));
    this.element.dataset.count = String(panes.length);
    panes.forEach((pane, i) => {
      const { item, caption, overlay, current } = shown[i];
      pane.show(item, caption, overlay);
      pane.element.classList.toggle("unc-culling-current", current);
    });
  }
}
