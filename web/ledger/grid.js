/** A grid of images that can be selected by mouse, keyboard and touch. Only the cards in view exist. */

import { carryImage } from "../shared/carry.js";
import { h } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { Card } from "./card.js";
import { Finger } from "./finger.js";
import { GAP, Places } from "./places.js";
import { Selection } from "./selection.js";
import { storedBy } from "./verdicts.js";

/** @typedef {import("./query.js").Row} Row */

const LEAST_WIDTH = 128;
const MOST_COLUMNS = 8; // until the cards have WIDE_ENOUGH: on a page of its own, they grow with the window
const WIDE_ENOUGH = 260;
const LINE = 17; // line height, as in ledger.css
const NARROW = 150; // narrower cards break the rank into two lines
const AHEAD = 120; // more rows are requested when fewer loaded rows than this lie below
const BEYOND = 2; // lines of cards that exist above and below the view

export class Grid {
  /**
   * @param {{
   *   more: () => void, chosen: () => void, all: () => void, open: (index: number) => void,
   *   section: (row: Row) => import("./places.js").Section | null, judge: (rows: Row[], said: import("./verdicts.js").Said) => void,
   *   menu: (x: number, y: number) => void
   * }} told callbacks: load more rows, the selection changed, select all rows, enlarge a row; the section of a row; a key said
   *   something of rows; the menu of the selected rows is wanted at a place in the window
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
    /** The headings in view, by key. @type {Map<string, HTMLElement>} */
    this.headings = new Map();
    this.places = new Places();
    this.columns = 1;
    this.width = LEAST_WIDTH;
    this.height = 0;
    this.scrolled = 0;
    this.content = h("div", { className: "unc-ledger-content", role: "presentation" });
    this.element = h(
      "div",
      { className: "unc-ledger-grid", role: "listbox", tabIndex: 0, "aria-multiselectable": "true", "aria-label": t("Images") },
      this.content,
    );
    this.finger = new Finger(this.element, (event) => this.#hold(event));
    this.element.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("blur", () => this.#byKeys(false));
    this.element.addEventListener("contextmenu", (event) => this.#menu(event));
    this.content.addEventListener("dragstart", (event) => {
      const row = this.rows[this.#under(event)];
      if (row && event.dataTransfer) carryImage(event.dataTransfer, row.file);
    });
    this.content.addEventListener("click", (event) => this.#click(event));
    this.content.addEventListener("dblclick", (event) => {
      const index = this.#under(event);
      if (index >= 0 && !this.finger.used) this.told.open(index);
    });
    new ResizeObserver(() => this.#layout()).observe(this.element);
  }

  /** Index after the last row in view. */
  get end() {
    const { scrollTop, clientHeight } = this.element;
    return this.places.start(this.places.lineAt(scrollTop + clientHeight) + 1);
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
        this.element.scrollTop = this.places.top(place) + anchor.offset;
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
    const [top, bottom] = [this.places.topWithHeading(index), this.places.top(index) + this.places.lineHeight];
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (bottom > scrollTop + clientHeight) this.element.scrollTop = bottom - clientHeight;
    this.#draw();
  }

  /** The rows in view, and how far the first of them is scrolled out. */
  #anchor() {
    const { scrollTop } = this.element;
    if (scrollTop === 0) return null;
    const first = this.places.start(this.places.lineAt(scrollTop));
    return { ids: this.rows.slice(first, this.end).map((row) => row.id), offset: scrollTop - this.places.top(first) };
  }

  #layout() {
    const inside = this.content.clientWidth;
    if (!inside) return; // not in the page
    const least = Math.max(LEAST_WIDTH, Math.min(WIDE_ENOUGH, inside / MOST_COLUMNS));
    const columns = Math.max(1, Math.floor((inside + GAP) / (least + GAP)));
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
      this.element.scrollTop = this.places.top(first);
    }
    this.#draw();
  }

  #resize() {
    this.places.arrange(this.rows, this.columns, this.height, this.told.section);
    this.content.style.height = `${this.places.height}px`;
  }

  #draw() {
    const { scrollTop, clientHeight } = this.element;
    if (!clientHeight) return;
    this.scrolled = scrollTop;
    const { rows, places } = this;
    const lines = [places.lineAt(scrollTop) - BEYOND, places.lineAt(scrollTop + clientHeight) + 1 + BEYOND];
    const [first, last] = lines.map((line) => places.start(line));
    this.#drawHeadings(lines[0], lines[1]);
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
      card.element.style.transform = `translate(${places.column(index) * (this.width + GAP)}px, ${places.top(index)}px)`;
      card.element.setAttribute("aria-posinset", String(index + 1));
      card.element.setAttribute("aria-setsize", String(this.total));
      this.#mark(card);
    }
    if (last > rows.length - AHEAD) this.told.more();
  }

  /** @param {number} first @param {number} end lines in view */
  #drawHeadings(first, end) {
    const seen = [...this.places.headings].filter(([line]) => line >= first && line < end).map(([, heading]) => heading);
    for (const [key, element] of this.headings) {
      if (seen.some((heading) => heading.key === key)) continue;
      element.remove();
      this.headings.delete(key);
    }
    for (const { key, title, top } of seen) {
      const element = this.headings.get(key) ?? h("div", { className: "unc-ledger-section", "aria-hidden": "true" }); // cards say it
      this.headings.set(key, element);
      element.textContent = element.title = title;
      element.style.transform = `translateY(${top}px)`;
      if (!element.isConnected) this.content.append(element);
    }
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
    if (this.finger.used) return this.#tap(index);
    const row = this.rows[index];
    const check = /** @type {HTMLElement} */ (event.target).closest(".unc-ledger-check");
    if (event.shiftKey) this.selection.range(this.rows, index);
    else if (event.ctrlKey || event.metaKey || check) this.selection.toggle(row);
    else this.selection.only(row);
    this.#byKeys(false);
    this.#chosen(row);
  }

  /** A finger opens an image, or selects it while others are selected. @param {number} index */
  #tap(index) {
    if (this.finger.held) return;
    if (!this.selection.rows.size) return this.told.open(index);
    this.selection.toggle(this.rows[index]);
    this.#chosen(this.rows[index]);
  }

  /** A finger that rests on a card selects it. @param {Event} event */
  #hold(event) {
    const row = this.rows[this.#under(event)];
    if (!row) return;
    if (!this.selection.has(row)) this.selection.toggle(row);
    this.#chosen(row);
  }

  /** The selection changed at this row. @param {Row} row */
  #chosen(row) {
    this.active = row.id;
    this.mark();
    this.told.chosen();
  }

  /** Open the menu of the row under the pointer, or of the active row if a key asks for it; select the row first. @param {MouseEvent} event */
  #menu(event) {
    const under = this.#under(event);
    const row = this.rows[under] ?? this.rows.find((each) => each.id === this.active);
    const card = row && this.cards.get(row.id);
    if (!row || !card) return;
    event.preventDefault();
    if (!this.selection.has(row)) this.selection.only(row);
    this.#chosen(row);
    const { left, top } = card.element.getBoundingClientRect();
    const [x, y] = under < 0 ? [left + GAP, top + GAP] : [event.clientX, event.clientY];
    this.told.menu(x, y);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const at = this.rows.findIndex((row) => row.id === this.active);
    const next = this.#next(event.key, at);
    const said = storedBy(event);
    const judged = this.selection.rows.size ? [...this.selection.rows.values()] : at < 0 ? [] : [this.rows[at]];
    if (next !== undefined) {
      if (!this.rows.length) return;
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
    } else if (said && judged.length) this.told.judge(judged, said);
    else if (event.key === "Enter" && at >= 0) this.told.open(at);
    else if (event.key === "Escape" && this.selection.rows.size) {
      this.selection.clear();
      this.mark();
      this.told.chosen();
    } else return;
    event.preventDefault();
  }

  /** Index of the row that a key leads to; undefined for other keys. @param {string} key @param {number} at index of the active row, or -1 */
  #next(key, at) {
    const last = this.rows.length - 1;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.places.lineHeight));
    /** @type {Record<string, () => number>} */
    const keys = {
      ArrowLeft: () => Math.max(0, at - 1),
      ArrowRight: () => Math.min(last, at + 1),
      ArrowUp: () => this.places.below(at, -1),
      ArrowDown: () => this.places.below(at, 1),
      PageUp: () => this.places.below(at, -page),
      PageDown: () => this.places.below(at, page),
      Home: () => 0,
      End: () => last,
    };
    return keys[key] && (at < 0 ? 0 : keys[key]());
  }

  /** Show the heatmap of the active card while the keyboard is used. @param {boolean} on */
  #byKeys(on) {
    if (!on && !this.byKeys) return;
    this.byKeys = on;
    if (this.active !== null) this.cards.get(this.active)?.look(on);
  }
}
