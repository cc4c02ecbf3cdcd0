/** One image of the grid with its score, rank and date. Its heatmap is loaded when the pointer rests on it. */

import { h } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { heatmapUrl, thumbnailUrl, whyNoHeatmap } from "./query.js";
import { STATES, verdict } from "./verdicts.js";
import { date, drawn, path, rank, score, scored } from "./words.js";

/** @typedef {import("./query.js").Row} Row */

const NOT_FOUND = t("file not found");
// Delay before the heatmap is loaded, because the pointer passes over many cards.
const LOOK_MS = 90;

export class Card {
  constructor() {
    this.picture = h("img", { alt: "", loading: "lazy", decoding: "async", draggable: false });
    this.badge = h("span", { className: "unc-ledger-badge" });
    this.stars = h("span", { className: "unc-ledger-stars" });
    this.frame = h(
      "div",
      { className: "unc-ledger-frame" },
      this.picture,
      h("span", { className: "unc-ledger-check", title: t("Select") }, "✓"),
      this.badge,
      this.stars,
    );
    this.lines = [h("b"), h("span", { className: "unc-ledger-rank" }), h("span")];
    this.element = h(
      "div",
      {
        className: "unc-ledger-card",
        role: "option",
        draggable: true,
        onpointerenter: () => this.look(true),
        onpointerleave: () => this.look(false),
      },
      this.frame,
      ...this.lines,
    );
    /** Whether the picture is missing. */
    this.gone = false;
    this.picture.onerror = () => {
      this.gone = true;
      this.#say();
    };
    /** @type {Row | null} */
    this.row = null;
    this.timer = 0;
    /** @type {HTMLImageElement | null} */
    this.heat = null;
  }

  /** @param {Row} row */
  show(row) {
    if (row === this.row) return;
    this.row = row;
    const url = thumbnailUrl(row);
    if (row.missing) {
      this.gone = true;
      this.picture.removeAttribute("src");
    } else if (this.picture.getAttribute("src") !== url) {
      this.gone = false;
      this.picture.src = url;
    }
    this.#say();
    this.element.id = `unc-ledger-${row.id}`;
    this.element.dataset.id = String(row.id);
    this.element.dataset.state = row.state;
    this.badge.textContent = STATES[row.state].badge;
    this.badge.title = STATES[row.state].title;
    this.stars.textContent = "★".repeat(row.stars);
    const words = [score(row), rank(row), date(row)];
    words.forEach((text, i) => (this.lines[i].textContent = text));
    this.element.title = [path(row), verdict(row), scored(row), row.model || t("unknown model"), drawn(row)].filter(Boolean).join("\n");
    this.element.setAttribute("aria-label", [path(row), scored(row), date(row), verdict(row)].filter(Boolean).join(", "));
  }

  /** Show or hide the heatmap over the picture. @param {boolean} on */
  look(on) {
    clearTimeout(this.timer);
    if (on) this.timer = window.setTimeout(() => this.#heat(), LOOK_MS);
    else {
      this.heat?.remove();
      this.heat = null;
      this.#say();
    }
  }

  /** Show a text over the picture; a missing picture always shows that. @param {string} [text] */
  #say(text = "") {
    const said = this.gone ? NOT_FOUND : text;
    if (said) this.frame.setAttribute("data-says", said);
    else this.frame.removeAttribute("data-says");
  }

  #heat() {
    const { row } = this;
    if (!row || row.missing || this.heat) return;
    const heat = h("img", { className: "unc-ledger-heat", alt: "", draggable: false, src: heatmapUrl(row) });
    heat.onerror = async () => {
      const why = await whyNoHeatmap(row);
      if (this.heat === heat) this.#say(why);
      heat.remove();
    };
    this.heat = heat;
    this.picture.after(heat);
  }
}
