/** A grid of images that can be selected by mouse and keyboard. Only the cards in view exist. */

import { h } from "../shared/dom.js";
import { Card } from "./card.js";
import { Selection } from "./selection.js";

/** @typedef {import("./query.js").Row} Row */

const LEAST_WIDTH = 128;
const GAP = 8;
const LINE = 17; // line height, as in ledger.css
const NARROW = 150; // narrower cards break the rank into two lines
const AHEAD = 120; // more rows are requested when fewer loaded rows than this lie below
const BEYOND = 2; // lines of cards that exist above and below the view

export class Grid {
  /**
   * @param {{more: () => void, chosen: () => void, all: () => void, open: (index: number) => void}} told
   *   callbacks: load more rows, the selection changed, select all rows, enlarge a row
   */
  constructor(told) {
    this.told = told;
    this.selection = new Selection();
    /** @type {Row[]} */
    this.rows = [];
    this.total = 0;
    /** Id of the row that has the keyboard focus. @type {number | null} */
    this.active = null;
    this.byKeys = false;
    /** The cards in view, by row id. @type {Map<number, Card>} */
    this.cards = new Map();
    this.columns = 1;
    this.width = LEAST_WIDTH;
    this.height = 0;
    this.scrolled = 0;
    this.content = h("div", { className: "unc-ledger-content", role: "presentation" });
    this.element = h(
      "div",
      { className: "unc-ledger-grid", role: "listbox", tabIndex: 0, "aria-multiselectable": "true", "aria-label": "Images" },
      this.content,
    );
    this.element.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("blur", () => this.#byKeys(false));
    this.content.addEventListener("click", (event) => this.#click(event));
    this.content.addEventListener("dblclick", (event) => {
      const index = this.#under(event);
      if (index >= 0) this.told.open(index);
    });
    new ResizeObserver(() => this.#layout()).observe(this.element);
  }

  get rowHeight() {
    return this.height + GAP;
  }

  /** Index after the last row in view. */
  get end() {
    const { scrollTop, clientHeight } = this.element;
    return Math.min(this.rows.length, Math.ceil((scrollTop + clientHeight) / this.rowHeight) * this.columns);
  }

  /**
   * Show these rows. Unless the grid is scrolled to the top, the rows in view stay where they are.
   *
   * @param {Row[]} rows
   * @param {number} total number of rows, loaded or not
   */
  show(rows, total) {
    const anchor = this.#anchor();
    this.rows = rows;
    this.total = total;
    this.selection.renew(rows);
    this.#resize();
    if (anchor) {
      const places = new Map(rows.map((row, index) => [row.id, index]));
      const kept = anchor.ids.find((id) => places.has(id));
      if (kept !== undefined) {
        const place = /** @type {number} */ (places.get(kept));
        this.element.scrollTop = Math.floor(place / this.columns) * this.rowHeight + anchor.offset;
      }
    }
    this.#draw();
  }

  /** Append rows. @param {Row[]} rows @param {number} total */
  extend(rows, total) {
    this.rows = rows;
    this.total = total;
    this.#resize();
    this.#draw();
  }

  toTop() {
    this.element.scrollTop = 0;
    this.active = null;
    this.element.removeAttribute("aria-activedescendant");
  }

  /** Restore the scroll position after the grid was put into the page again. */
  attached() {
    this.element.scrollTop = this.scrolled;
    this.#layout();
  }

  /** Update the cards after the selection was changed from outside. */
  mark() {
    for (const card of this.cards.values()) this.#mark(card);
  }

  /** Give a row the keyboard focus and scroll it into view. @param {number} index */
  activate(index) {
    const row = this.rows[index];
    if (!row) return;
    this.active = row.id;
    const top = Math.floor(index / this.columns) * this.rowHeight;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + clientHeight) this.element.scrollTop = top + this.rowHeight - clientHeight;
    this.#draw();
  }

  /** The rows in view, and how far the first of them is scrolled out. */
  #anchor() {
    const { scrollTop } = this.element;
    if (scrollTop === 0) return null;
    const line = Math.floor(scrollTop / this.rowHeight);
    return { ids: this.rows.slice(line * this.columns, this.end).map((row) => row.id), offset: scrollTop - line * this.rowHeight };
  }

  #layout() {
    const inside = this.content.clientWidth;
    if (!inside) return; // not in the page
    const columns = Math.max(1, Math.floor((inside + GAP) / (LEAST_WIDTH + GAP)));
    const width = Math.floor((inside - GAP * (columns - 1)) / columns);
    if (columns === this.columns && width === this.width) return this.#draw();
    const anchor = this.#anchor();
    const lines = width < NARROW ? 4 : 3;
    Object.assign(this, { columns, width, height: width + lines * LINE + 10 });
    this.element.classList.toggle("unc-ledger-narrow", lines > 3);
    this.element.style.setProperty("--unc-width", `${width}px`);
    this.element.style.setProperty("--unc-height", `${this.height}px`);
    this.#resize();
    if (anchor) {
      const first = this.rows.findIndex((row) => row.id === anchor.ids[0]);
      this.element.scrollTop = Math.floor(first / columns) * this.rowHeight;
    }
    this.#draw();
  }

  #resize() {
    this.content.style.height = `${Math.max(0, Math.ceil(this.rows.length / this.columns) * this.rowHeight - GAP)}px`;
  }

  #draw() {
    const { scrollTop, clientHeight } = this.element;
    if (!clientHeight) return;
    this.scrolled = scrollTop;
    const { rows, columns, rowHeight } = this;
    const first = Math.max(0, Math.floor(scrollTop / rowHeight) - BEYOND) * columns;
    const last = Math.min(rows.length, (Math.ceil((scrollTop + clientHeight) / rowHeight) + BEYOND) * columns);
    const seen = new Set(rows.slice(first, last).map((row) => row.id));
    for (const [id, card] of this.cards) {
      if (seen.has(id)) continue;
      card.look(false);
      card.element.remove();
      this.cards.delete(id);
    }
    /** @type {Element | null} */
    let before = null;
    for (let index = first; index < last; index++) {
      const row = rows[index];
      let card = this.cards.get(row.id);
      if (!card) {
        card = new Card();
        this.cards.set(row.id, card);
      }
      // Keep the elements in order as well, for screen readers.
      if (!card.element.isConnected || card.element.previousElementSibling !== before) {
        if (before) before.after(card.element);
        else this.content.prepend(card.element);
      }
      before = card.element;
      card.show(row);
      const x = (index % columns) * (this.width + GAP);
      card.element.style.transform = `translate(${x}px, ${Math.floor(index / columns) * rowHeight}px)`;
      card.element.setAttribute("aria-posinset", String(index + 1));
      card.element.setAttribute("aria-setsize", String(this.total));
      this.#mark(card);
    }
    if (last > rows.length - AHEAD) this.told.more();
  }

  /** @param {Card} card */
  #mark(card) {
    const row = /** @type {Row} */ (card.row);
    const active = row.id === this.active;
    card.element.setAttribute("aria-selected", String(this.selection.has(row)));
    card.element.classList.toggle("unc-ledger-active", active);
    if (active) this.element.setAttribute("aria-activedescendant", card.element.id);
  }

  /** Index of the row under the pointer, or -1. @param {Event} event */
  #under(event) {
    const card = /** @type {HTMLElement} */ (event.target).closest("[data-id]");
    const id = Number(/** @type {HTMLElement | null} */ (card)?.dataset.id);
    return this.rows.findIndex((row) => row.id === id);
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const index = this.#under(event);
    if (index < 0) return;
    const row = this.rows[index];
    const check = /** @type {HTMLElement} */ (event.target).closest(".unc-ledger-check");
    if (event.shiftKey) this.selection.range(this.rows, index);
    else if (event.ctrlKey || event.metaKey || check) this.selection.toggle(row);
    else this.selection.only(row);
    this.#byKeys(false);
    this.active = row.id;
    this.mark();
    this.told.chosen();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const at = this.rows.findIndex((row) => row.id === this.active);
    const step = this.#step(event.key);
    if (step !== undefined) {
      if (!this.rows.length) return;
      const next = at < 0 ? 0 : Math.min(this.rows.length - 1, Math.max(0, at + step));
      if (event.shiftKey) {
        this.selection.pivot ??= this.active;
        this.selection.range(this.rows, next);
        this.told.chosen();
      }
      this.#byKeys(false);
      this.activate(next);
      this.#byKeys(true);
    } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a") this.told.all();
    else if (event.key === " " && at >= 0) {
      this.selection.toggle(this.rows[at]);
      this.mark();
      this.told.chosen();
    } else if (event.key === "Enter" && at >= 0) this.told.open(at);
    else if (event.key === "Escape" && this.selection.rows.size) {
      this.selection.clear();
      this.mark();
      this.told.chosen();
    } else return;
    event.preventDefault();
  }

  /** Number of rows that a key moves by. @param {string} key @returns {number | undefined} */
  #step(key) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight)) * this.columns;
    /** @type {Record<string, number>} */
    const steps = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -this.columns,
      ArrowDown: this.columns,
      PageUp: -page,
      PageDown: page,
      Home: -Infinity,
      End: Infinity,
    };
    return steps[key];
  }

  /** Show the heatmap of the active card while the keyboard is used. @param {boolean} on */
  #byKeys(on) {
    if (!on && !this.byKeys) return;
    this.byKeys = on;
    if (this.active !== null) this.cards.get(this.active)?.look(on);
  }
}
