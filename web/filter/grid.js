/** The images of the filter in a grid: as large as the space allows, best first, with the cut between them. */

import { h, reveal } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { keepWheel } from "../shared/wheel.js";

const GAP = 8;
const PADDING = 3;
/** Least width where a thumb presses the two buttons below a picture, see filter.css. */
const TWO_THUMBS = 96;
/** Longer side in pixels of the small picture files, see nodes/choosing/filter_view.py. */
const SMALL = 192;

/**
 * The columns of a grid that shows all its pictures as large as possible without scrolling. Where they would be narrower than
 * `least`, the grid scrolls and its columns fill the width.
 *
 * @param {number} count of pictures
 * @param {{width: number, height: number}} space for them
 * @param {number} ratio width by height of a picture
 * @param {number} text height of the text below a picture
 * @param {number} least width of a picture
 * @returns {{columns: number, width: number}} in whole pixels
 */
export function fit(count, space, ratio, text, least) {
  let best = { columns: 1, width: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const across = (space.width - GAP * (columns - 1)) / columns;
    const down = ((space.height - GAP * (rows - 1)) / rows - text) * ratio;
    const width = Math.floor(Math.min(across, down));
    if (width > best.width) best = { columns, width };
  }
  if (best.width >= least) return best;
  const columns = Math.max(1, Math.floor((space.width + GAP) / (least + GAP)));
  return { columns, width: Math.floor((space.width - GAP * (columns - 1)) / columns) };
}

export class Grid {
  /** @type {import("./card.js").Card[]} */
  #cards = [];
  /** Images in the order shown. @type {number[]} */
  ordered = [];
  #columns = 1;
  #ratio = 1;
  #least = 0;

  constructor() {
    this.element = h("div", { className: "unc-grid", role: "group", "aria-label": t("Images, best first") });
    this.element.addEventListener("keydown", (event) => this.#walk(event));
    this.wheelBack = keepWheel(this.element, "list");
    const lay = () => this.#lay();
    this.watch = new ResizeObserver(lay);
    this.touch = matchMedia("(pointer: coarse)");
    this.touch.addEventListener("change", lay);
    this.unlisten = () => this.touch.removeEventListener("change", lay);
    this.watch.observe(this.element);
  }

  destroy() {
    this.wheelBack();
    this.watch.disconnect();
    this.unlisten();
  }

  /** Show other cards; `arrange` orders them. @param {import("./card.js").Card[]} cards @param {number} ratio width by height of their pictures */
  fill(cards, ratio) {
    this.#cards = cards;
    this.#ratio = ratio;
    this.ordered = [];
    this.element.style.setProperty("--unc-ratio", String(ratio));
  }

  /** Put the cards in order, but only if the order changed: a card that is moved loses the focus. @param {number[]} ordered */
  arrange(ordered) {
    if (ordered.join() === this.ordered.join()) return;
    this.ordered = ordered;
    this.element.replaceChildren(...ordered.map((index) => this.#cards[index].element));
    this.aim(ordered[0]);
    this.#lay();
  }

  /** Draw the cut behind that many images; none if it divides nothing. @param {number} count */
  divide(count) {
    this.ordered.forEach((index, place) => {
      this.#cards[index].element.classList.toggle("unc-before-cut", place === count - 1 && count < this.ordered.length);
    });
  }

  /** The smallest width of a picture; where there is room, pictures are larger. @param {number} least */
  set least(least) {
    this.#least = least;
    this.#lay();
  }

  #lay() {
    const { clientWidth, clientHeight } = this.element;
    const first = this.#cards[this.ordered[0]];
    if (!first || !clientWidth) return;
    const text = first.element.offsetHeight - first.picture.offsetHeight;
    const space = { width: clientWidth - 2 * PADDING, height: clientHeight - 2 * PADDING };
    const least = this.touch.matches ? Math.max(this.#least, TWO_THUMBS) : this.#least;
    const { columns, width } = fit(this.#cards.length, space, this.#ratio, text, least);
    this.#columns = columns;
    this.element.style.gridTemplateColumns = `repeat(${columns}, ${width}px)`;
    const longer = width * Math.max(1, 1 / this.#ratio) * devicePixelRatio;
    for (const card of this.#cards) card.show(longer > SMALL ? "large" : "small");
  }

  /** The image whose card Tab reaches. */
  get aimed() {
    return this.#cards.findIndex(({ button }) => button.tabIndex === 0);
  }

  /** Make this card the only one that Tab reaches. @param {number} index */
  aim(index) {
    for (const [each, { button }] of this.#cards.entries()) button.tabIndex = each === index ? 0 : -1;
  }

  /** Move through the cards with arrow keys. @param {KeyboardEvent} event */
  #walk(event) {
    const here = this.ordered.findIndex((index) => this.#cards[index].element.contains(/** @type {Node} */ (event.target)));
    if (here < 0) return;
    const last = this.ordered.length - 1;
    const columns = this.#columns;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -last, End: last }[event.key];
    if (!by) return;
    event.preventDefault();
    this.focus(this.ordered[Math.min(last, Math.max(0, here + by))]);
  }

  /** @param {number} index */
  focus(index) {
    const { button, element } = this.#cards[index];
    this.aim(index);
    button.focus({ preventScroll: true });
    reveal(this.element, element);
  }
}
