/** The view inside UncertaintyScoreFilter: images by score, kept and rejected, and the cut between them. */

import { ask, fileUrl } from "../adapter.js";
import { h } from "../shared/dom.js";
import { measured, short } from "../shared/numbers.js";
import { histogram } from "./histogram.js";
import { cutAt, order, passing } from "./rule.js";
import { lightbox } from "../shared/lightbox.js";

/**
 * @typedef {import("../adapter.js").NodeHost} NodeHost
 * @typedef {import("../adapter.js").FileRef} FileRef
 * @typedef {{
 *   scores: (number | null)[], standard_errors: (number | null)[], kept: number[], quantity: string, window: [number, number],
 *   thumbnails: FileRef[]
 * }} Judged what nodes/score_filter.py writes
 */

const WIDTH = 440;
const HEIGHT = 500;

/** @param {NodeHost} host */
export function filterView(host) {
  new FilterView(host);
}

class FilterView {
  /** @param {NodeHost} host */
  constructor(host) {
    this.host = host;
    /** @type {Judged | null} */
    this.judged = null;
    this.generation = 0;
    this.message = h("p", { className: "unc-message" }, "Queue to see the images by score.");
    this.status = h("p", { className: "unc-filter-status", role: "status" });
    this.plot = h("div", { className: "unc-histogram" });
    this.grid = h("div", { className: "unc-grid", role: "list" });
    this.body = h("div", { className: "unc-filter-body", hidden: true }, this.status, this.plot, this.grid);
    const element = h("div", { className: "unc unc-filter" }, this.message, this.body);
    element.addEventListener("keydown", (event) => event.stopPropagation());
    element.addEventListener("pointerdown", (event) => event.stopPropagation());
    this.histogram = histogram(
      this.plot,
      (value) => this.#cut(value),
      (by) => this.#move(by),
    );
    host.attach(element);
    host.onResult((output) => this.#open(output.uncertainty_view?.[0], true));
    host.onRestore(() => this.#open(host.memory.judged, false));
    host.onValue(() => this.#show());
    host.onRemove(() => {
      this.generation++;
      this.histogram.destroy();
    });
  }

  /** @param {FileRef | undefined} file @param {boolean} fresh whether the node has just run */
  async #open(file, fresh) {
    if (!file) return;
    const generation = ++this.generation;
    if (fresh) this.host.remember({ judged: file });
    const judged = await ask(`/view?${new URLSearchParams({ ...file })}`).catch(() => null);
    if (generation !== this.generation) return;
    this.judged = judged;
    this.message.hidden = Boolean(judged);
    this.body.hidden = !judged;
    if (!judged) {
      this.message.textContent = "These results were thrown away with the server’s temporary files. Queue again to see them.";
      return;
    }
    this.host.grow(WIDTH, HEIGHT);
    this.#fill(judged);
    this.#show();
  }

  /** One card an image; they are marked and ordered by #show. @param {Judged} judged */
  #fill(judged) {
    this.cards = judged.thumbnails.map((file, index) => {
      const verdict = h("b");
      const score = measured(judged.scores[index] ?? NaN, judged.standard_errors[index] ?? 0);
      const card = h(
        "button",
        { type: "button", className: "unc-card", onclick: () => this.#enlarge(index), "data-image": String(index) },
        h("img", { src: fileUrl(file), loading: "lazy", alt: `image ${index}` }),
        h("span", { className: "unc-card-line" }, verdict, h("span", {}, `#${index}`)),
        h("span", { className: "unc-card-score" }, judged.scores[index] === null ? "no valid score" : score),
      );
      return { card, verdict };
    });
  }

  /** What the node's values say now. @returns {import("./rule.js").Rule} */
  get rule() {
    const number = (/** @type {string} */ name) => Number(this.host.get(name));
    return {
      mode: String(this.host.get("mode")),
      keep: number("keep"),
      percentile: number("percentile"),
      threshold: number("threshold"),
      reject: String(this.host.get("reject")),
      whenNonePass: String(this.host.get("when_none_pass")),
    };
  }

  #show() {
    const { judged, cards } = this;
    if (!judged || !cards) return;
    const { rule } = this;
    const ran = new Set(judged.kept);
    const kept = passing(judged.scores, rule) ?? ran;
    const ordered = order(judged.scores, rule.reject);
    for (const index of ordered) {
      const { card, verdict } = cards[index];
      const stays = kept.has(index);
      card.classList.toggle("unc-rejected", !stays);
      verdict.textContent = stays ? "✓ kept" : "✕ rejected";
      this.grid.append(card);
    }
    this.histogram.show(judged.scores, kept, this.#position(rule, kept, ordered));
    this.status.replaceChildren(...this.#words(rule, kept, ran));
  }

  /** Where the line stands. @param {import("./rule.js").Rule} rule @param {Set<number>} kept @param {number[]} ordered */
  #position(rule, kept, ordered) {
    const { scores } = /** @type {Judged} */ (this.judged);
    if (rule.mode === "threshold") return rule.threshold;
    const valid = ordered.filter((index) => scores[index] !== null);
    if (!valid.length) return NaN;
    const last = valid.filter((index) => kept.has(index)).length;
    const score = (/** @type {number} */ place) => /** @type {number} */ (scores[valid[place]]);
    if (last === 0) return cutAt(scores, rule.reject === "highest" ? -Infinity : Infinity);
    if (last === valid.length) return cutAt(scores, rule.reject === "highest" ? Infinity : -Infinity);
    return (score(last - 1) + score(last)) / 2;
  }

  /** @param {import("./rule.js").Rule} rule @param {Set<number>} kept @param {Set<number>} ran */
  #words(rule, kept, ran) {
    const { scores, quantity, window } = /** @type {Judged} */ (this.judged);
    const how = { threshold: `cut at ${short(rule.threshold)}`, reference: "ranked among earlier images" }[rule.mode];
    const text = `${kept.size} of ${scores.length} kept${how ? ` · ${how}` : ""}`;
    const other = this.host.get("quantity") !== quantity || this.host.get("window_start") !== window[0] || this.host.get("window_end") !== window[1];
    const same = kept.size === ran.size && [...kept].every((index) => ran.has(index));
    if (other) return [text, h("em", {}, "queue to score anew")];
    return same ? [text] : [text, h("em", {}, "queue to apply")];
  }

  /** Cut by hand, at a score. @param {number} value */
  #cut(value) {
    const { judged } = this;
    if (!judged || judged.scores.every((score) => score === null)) return;
    this.host.set("threshold", cutAt(judged.scores, value));
    this.host.set("mode", "threshold");
  }

  /** Move the cut over so many images. @param {number} by */
  #move(by) {
    const { judged } = this;
    if (!judged) return;
    const { rule } = this;
    const kept = passing(judged.scores, rule) ?? new Set(judged.kept);
    const here = this.#position(rule, kept, order(judged.scores, rule.reject));
    const scores = /** @type {number[]} */ (judged.scores.filter((score) => score !== null)).sort((a, b) => a - b);
    // The next score in that direction; the line goes just beyond it.
    const next = by > 0 ? scores.find((score) => score > here) : scores.findLast((score) => score < here);
    if (next !== undefined) this.#cut(by > 0 ? next : scores.findLast((score) => score < next) ?? -Infinity);
  }

  /** @param {number} index */
  #enlarge(index) {
    const judged = /** @type {Judged} */ (this.judged);
    const ordered = order(judged.scores, this.rule.reject);
    lightbox(
      ordered.map((each) => ({
        url: fileUrl(judged.thumbnails[each]),
        caption: `#${each} · ${measured(judged.scores[each] ?? NaN, judged.standard_errors[each] ?? 0)} · ${this.cards?.[each].verdict.textContent}`,
      })),
      ordered.indexOf(index),
    );
  }
}
