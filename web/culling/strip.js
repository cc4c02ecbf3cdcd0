/** The filmstrip: small pictures of the list with their verdicts. Only those in sight are in the page. */

import { h, write } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { mark } from "./words.js";

/**
 * @typedef {import("./view.js").Id} Id
 * @typedef {import("./view.js").Item} Item
 */

// As in culling.css.
const WIDTH = 60;
const BEYOND = 4; // made on either side of those in sight

export class Strip {
  /** @type {Id[]} */
  #ids = [];
  /** @type {Set<number>} */
  #shown = new Set();
  #index = 0;
  #room = 0;
  /** By place in the list. @type {Map<number, {id: Id, button: HTMLButtonElement, verdict: HTMLElement}>} */
  #made = new Map();

  /** @param {(id: Id) => Item} item @param {(id: Id) => void} choose */
  constructor(item, choose) {
    this.item = item;
    this.choose = choose;
    this.row = h("div", { className: "unc-culling-row" });
    this.element = h("div", { className: "unc-culling-strip", role: "group", "aria-label": t("All images"), onscroll: () => this.#fill() }, this.row);
    this.watch = new ResizeObserver(([{ contentRect }]) => {
      this.#room = contentRect.width;
      this.#center();
    });
  }

  begin() {
    this.watch.observe(this.element);
  }

  end() {
    this.watch.disconnect();
  }

  /** @param {Id[]} ids @param {number} index of the image looked at @param {Set<number>} shown places of those on the stage */
  show(ids, index, shown) {
    if (ids.length !== this.#ids.length) this.row.style.width = `${ids.length * WIDTH}px`;
    const moved = index !== this.#index;
    this.#ids = ids;
    this.#index = index;
    this.#shown = shown;
    const focused = this.row.contains(document.activeElement);
    if (moved) this.#center();
    else this.#fill();
    if (focused) this.#made.get(index)?.button.focus({ preventScroll: true });
  }

  /** Bring the image looked at into the middle. */
  #center() {
    this.element.scrollLeft = (this.#index + 0.5) * WIDTH - this.#room / 2;
    this.#fill();
  }

  #fill() {
    const from = Math.max(0, Math.floor(this.element.scrollLeft / WIDTH) - BEYOND);
    const to = Math.min(this.#ids.length, Math.ceil((this.element.scrollLeft + this.#room) / WIDTH) + BEYOND);
    for (const [place, { id, button }] of this.#made) {
      // The one looked at stays, because it may have the focus.
      if (id === this.#ids[place] && ((place >= from && place < to) || place === this.#index)) continue;
      button.remove();
      this.#made.delete(place);
    }
    for (let place = from; place < to; place++) this.#mark(place);
    if (this.#index < from || this.#index >= to) this.#mark(this.#index);
  }

  /** @param {number} place */
  #mark(place) {
    const item = this.item(this.#ids[place]);
    const { button, verdict } = this.#made.get(place) ?? this.#make(place, item);
    const said = mark(item);
    write(verdict, said.slice(0, 1));
    button.classList.toggle("unc-culling-kept", item.kept === true);
    button.classList.toggle("unc-culling-rejected", item.kept === false);
    button.classList.toggle("unc-culling-by-hand", Boolean(item.byHand));
    button.classList.toggle("unc-culling-on-stage", this.#shown.has(place));
    button.setAttribute("aria-label", [`${place + 1}`, item.name, said].filter(Boolean).join(", "));
    if (place === this.#index) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.tabIndex = place === this.#index ? 0 : -1;
  }

  /** @param {number} place @param {Item} item */
  #make(place, { id, small }) {
    const verdict = h("b", { "aria-hidden": "true" });
    const image = h("img", { alt: "", src: small, decoding: "async", draggable: false, hidden: !small });
    const button = h("button", { type: "button", className: "unc-culling-thumb", style: `left: ${place * WIDTH}px`, onclick: () => this.choose(id) }, image, verdict);
    const made = { id, button, verdict };
    this.#made.set(place, made);
    this.row.append(button);
    return made;
  }
}
