/** One image in the filter's view: its picture, scores and verdict, and the buttons for a verdict by hand. */

import { h, write } from "../shared/dom.js";
import { t } from "../shared/texts.js";

/** @typedef {import("../shared/said.js").Verdict} ByHand null: the rule decides */

const HINT = t("P keeps it, X rejects it, U leaves it to the rule, 1 to 5 give stars");

export class Card {
  /** The verdict by hand. @type {ByHand} */
  #byHand = null;
  /** @type {{small: string, large: string}} */
  #urls;

  /**
   * @param {number} index of the image
   * @param {{small: string, large: string}} urls of its picture
   * @param {string} caption
   * @param {string[]} lines its scores
   * @param {{open: () => void, decide: (verdict: ByHand) => void}} actions
   */
  constructor(index, urls, caption, lines, { open, decide }) {
    this.#urls = urls;
    this.picture = h("img", { loading: "lazy", decoding: "async", alt: "" });
    this.verdict = h("b");
    this.stars = h("span", { className: "unc-card-stars" });
    this.badge = h("span", { className: "unc-card-hand", hidden: true }, t("by hand"));
    /** What takes the focus. */
    this.button = h(
      "button",
      {
        type: "button",
        className: "unc-card",
        tabIndex: -1,
        onclick: open,
        title: `${caption}\n${HINT}`,
        "data-image": String(index),
        "aria-keyshortcuts": "P X U 0 1 2 3 4 5",
      },
      this.picture,
      h("span", { className: "unc-card-index" }, `#${index}`),
      this.badge,
      this.stars,
      this.verdict,
      ...lines.map((line) => h("span", { className: "unc-card-score" }, line)),
    );
    // By keyboard, the keys on the card do the same.
    const hand = (/** @type {"keep" | "reject"} */ verdict, /** @type {string} */ sign, /** @type {string} */ label) =>
      h("button", { type: "button", tabIndex: -1, title: label, "aria-label": label, onclick: () => decide(this.#byHand === verdict ? null : verdict) }, sign);
    this.hands = { keep: hand("keep", "✓", t("Keep image {image} by hand", { image: index })), reject: hand("reject", "✕", t("Reject image {image} by hand", { image: index })) };
    this.element = h("div", { className: "unc-cell" }, this.button, h("div", { className: "unc-hands" }, this.hands.keep, this.hands.reject));
  }

  /** Show the picture in one of its sizes. @param {"small" | "large"} size */
  show(size) {
    const url = this.#urls[size];
    if (this.picture.getAttribute("src") !== url) this.picture.src = url;
  }

  /**
   * Mark the image; only what changed, because writing the same text would trigger a new layout.
   *
   * @param {boolean | null} kept null: not chosen, in mode choose
   * @param {ByHand} byHand
   * @param {number} stars
   */
  mark(kept, byHand, stars) {
    write(this.stars, "★".repeat(stars));
    const mark = kept === null ? t("not chosen") : kept ? t("✓ kept") : t("✕ rejected");
    if (this.verdict.textContent !== mark) {
      this.verdict.textContent = mark;
      this.button.classList.toggle("unc-rejected", kept === false);
      this.button.classList.toggle("unc-open", kept === null);
    }
    if (this.#byHand === byHand) return;
    this.#byHand = byHand;
    this.badge.hidden = !byHand;
    this.element.classList.toggle("unc-decided", Boolean(byHand));
    this.hands.keep.setAttribute("aria-pressed", String(byHand === "keep"));
    this.hands.reject.setAttribute("aria-pressed", String(byHand === "reject"));
  }
}
