/** The view inside UncertaintyScoreFilter: images by score, marked as kept or rejected, and the cut between them. */

import { fileUrl } from "../shared/server.js";
import { openCulling } from "../culling/view.js";
import { h } from "../shared/dom.js";
import { keepKeys } from "../shared/keys.js";
import { measured, short } from "../shared/numbers.js";
import { BatchPager } from "../shared/pager.js";
import { SCORES } from "../shared/quantities.js";
import { saidBy } from "../shared/said.js";
import { LANGUAGE, t } from "../shared/texts.js";
import { answer, nothing, parse, sameStars, say, verdictOn, verdictsOn, withVerdicts } from "./by_hand.js";
import { Card } from "./card.js";
import { showFieldsOfMode } from "./fields.js";
import { Grid } from "./grid.js";
import { histogram } from "./histogram.js";
import { Offers } from "./offers.js";
import { cutAt, order, passing } from "./rule.js";
import { SendRow } from "./send_row.js";

/**
 * @typedef {import("../adapter/node_host.js").NodeHost} NodeHost
 * @typedef {import("../shared/server.js").FileRef} FileRef
 * @typedef {import("./rule.js").Rule} Rule
 * @typedef {import("./by_hand.js").Verdicts} Verdicts
 * @typedef {{
 *   scores: (number | null)[], standard_errors: (number | null)[], kept: number[], rule: Rule,
 *   scored: {quantity: string, window_start: number, window_end: number}, pictures: {small: FileRef, large: FileRef}[],
 *   clips?: FileRef[],
 *   compared: string, parts: {name: string, scores: (number | null)[], standard_errors: (number | null)[] | null}[],
 *   digests: string[], by_hand: Verdicts, stars: number[], by_rule: number[], ratio: number, seed: string | null, places: number[],
 *   maps: {name: string, files: FileRef[]}[], waits: boolean, run: {prompt: string, node: string}
 * }} Judged what nodes/choosing/filter_view.py writes: the images of a run and the values they were judged by
 */

const CULL = t("Look at the images one by one in the whole window");
const WAITING = t("Queue to see the images by score.");
const GONE = t("These results are not among the server's temporary files any more. Queue again to see them.");
const WIDTH = 440;
const HEIGHT = 500;
/** Least width of a picture in pixels, unless the user chooses another. */
const LEAST = 80;
const SIZE = t("Least size of the images: they are larger where there is room");
/** @type {(keyof Rule)[]} */
const RULE = ["mode", "keep", "percentile", "threshold", "reject", "when_none_pass", "across_prompts"];
/** Inputs that mode reference depends on. @type {(keyof Rule)[]} */
const RANKED_BY = ["mode", "percentile", "reject", "when_none_pass", "across_prompts"];

/** @param {NodeHost} host */
export function filterView(host) {
  new FilterView(host);
}

class FilterView {
  /** @param {NodeHost} host */
  constructor(host) {
    this.host = host;
    /** The batch shown. @type {Judged | null} */
    this.judged = null;
    /** In mode choose, all batches of the run, because they are sent on together. @type {Judged[]} */
    this.batches = [];
    /** The file of the batch shown. */
    this.opened = "";
    /** Whether the images are chosen by hand alone. */
    this.choosing = false;
    /** Why the choice could not be sent on. */
    this.refused = "";
    /** By image. @type {Card[]} */
    this.cards = [];
    /** @type {Set<number>} */
    this.kept = new Set();
    /** What passes the rule and the verdicts. @type {number[]} */
    this.passed = [];
    /** What was decided by hand. @type {Verdicts} */
    this.verdicts = { keep: [], reject: [], stars: {} };
    // Increases with each load, so that an older load notices that it is outdated.
    this.generation = 0;
    /** @type {ReturnType<typeof openCulling> | null} */
    this.culling = null;
    this.message = h("p", { className: "unc-message", role: "status" }, WAITING);
    this.status = h("p", { className: "unc-filter-status", role: "status" });
    this.plot = h("div", { className: "unc-histogram" });
    this.grid = new Grid();
    this.size = h("input", { type: "range", min: "48", max: "384", step: "4", "aria-label": t("Least size of the images"), title: SIZE });
    this.size.addEventListener("input", () => this.#resize(Number(this.size.value)));
    const cull = h("button", { type: "button", className: "unc-button unc-filter-cull", title: CULL, onclick: () => this.#cull(this.grid.aimed) }, t("Cull"));
    const head = h("div", { className: "unc-filter-head" }, this.status, this.size, cull);
    this.sending = new SendRow({ send: () => this.#send(), cancel: () => this.#cancel() });
    this.body = h("div", { className: "unc-filter-body", hidden: true }, head, this.sending.element, this.plot, this.grid.element);
    this.offers = new Offers(host, () => this.#next());
    this.pager = new BatchPager(
      host,
      () => this.#open(),
      (files, output) => this.#toShow(files, output),
    );
    const element = h("div", { className: "unc unc-filter", lang: LANGUAGE }, this.pager.element, this.message, this.body);
    keepKeys(element);
    // Dragging the line must not move the node.
    element.addEventListener("pointerdown", (event) => event.stopPropagation());
    this.grid.element.addEventListener("keydown", (event) => this.#sayByKey(event));
    this.histogram = histogram(this.plot, {
      cut: (value) => this.#cut(value),
      step: (by) => this.#step(by),
    });
    host.actions = { cull: () => this.#cullIfAny(), rejectWorst: () => this.#rejectWorst() };
    host.attach(element, t("images by score"));
    host.hide("by_hand");
    showFieldsOfMode(host);
    host.onValue((name) => this.#changed(name));
    host.onWiring(() => this.#show());
    host.onRemove(() => {
      this.generation++;
      this.grid.destroy();
      this.culling?.close();
      this.histogram.destroy();
    });
  }

  /** A value of the node changed. @param {string} name */
  #changed(name) {
    if (name === "mode") return this.#next();
    // Which end is bad depends on the quantity. The user can still turn it.
    const quantity = SCORES[String(this.host.get("quantity"))];
    if (name === "quantity" && quantity && !this.host.isLinked("reject")) this.host.set("reject", quantity.high_is_sure ? "lowest" : "highest");
    this.#show();
  }

  /** In mode choose, the run that is being chosen from stays in sight, then the oldest that waits. @param {FileRef[]} files of the last run @param {Record<string, any>} [output] @returns {FileRef[]} */
  #toShow(files, output) {
    if (output) this.offers.take(files, output);
    if (this.host.get("mode") !== "choose" && !this.host.isLinked("mode")) return files;
    const shown = this.pager?.files ?? [];
    return this.offers.isOpen(shown) ? shown : (this.offers.open[0] ?? files);
  }

  /** Show the next run to choose from, if there is one. */
  #next() {
    if (this.pager.count) this.pager.load(this.#toShow(this.pager.files));
  }

  /** Load the results of a batch. */
  async #open() {
    const generation = ++this.generation;
    const { file, files } = this.pager;
    if (this.judged && this.opened === file.filename) return this.#show();
    let [judged, problem] = [/** @type {Judged | null} */ (null), GONE];
    /** @type {(Judged | null)[]} */
    let batches = [];
    try {
      judged = await load(file);
      batches = judged?.rule.mode === "choose" ? await Promise.all(files.map(load)) : [judged];
    } catch (error) {
      judged = null;
      problem = t("Could not load the results: {problem}", { problem: /** @type {Error} */ (error).message });
    }
    if (generation !== this.generation) return;
    if (!judged && problem === GONE && this.offers.isOpen(files)) {
      this.offers.drop(files);
      return this.pager.load(this.#toShow(this.host.memory.results));
    }
    this.culling?.close();
    this.judged = judged;
    this.batches = batches.filter((each) => each !== null);
    this.opened = file.filename;
    this.refused = "";
    this.pager.show();
    this.message.hidden = Boolean(judged);
    this.body.hidden = !judged;
    if (!judged) {
      this.message.textContent = problem;
      return;
    }
    this.#fill(judged);
    this.#show();
    this.host.grow(WIDTH, HEIGHT + this.pager.height + this.sending.height);
  }

  /** Create one card per image; #show orders and marks them. @param {Judged} judged */
  #fill({ pictures, scores, standard_errors, parts, ratio }) {
    this.cards = pictures.map((urls, index) => {
      const [score, error] = [scores[index], standard_errors[index] ?? 0];
      const said = score === null ? t("no valid score") : measured(score, error, 1);
      const lines = [parts.length && score !== null ? t("mean rank {score}", { score: said }) : said, ...this.#parts(index)];
      const caption = [t("image {image}", { image: index }), ...this.#facts(index)].join(" · ");
      return new Card(index, { small: fileUrl(urls.small), large: fileUrl(urls.large) }, caption, lines, {
        open: () => (this.choosing && !this.undecidable ? this.#toggle(index) : this.#cull(index)),
        decide: (verdict) => this.#say(index, { verdict }),
      });
    });
    this.grid.fill(this.cards, ratio);
    this.size.value = String(this.host.memory.size ?? LEAST);
    this.grid.least = Number(this.size.value);
  }

  /** Change the least size of the images. @param {number} least in pixels */
  #resize(least) {
    this.grid.least = least;
    this.host.remember({ size: least });
  }

  /** The scores that an image's mean rank is made of. @param {number} index */
  #parts(index) {
    const { parts } = /** @type {Judged} */ (this.judged);
    return parts.map(({ name, scores, standard_errors }) => `${name} ${measured(scores[index] ?? NaN, standard_errors?.[index] ?? 0, 1)}`);
  }

  /** What is known of an image. @param {number} index */
  #facts(index) {
    const { scores, standard_errors, parts } = /** @type {Judged} */ (this.judged);
    if (scores[index] === null) return [t("no valid score"), ...this.#parts(index)];
    const score = measured(scores[index], standard_errors[index] ?? 0);
    return [parts.length ? t("mean rank {score}", { score }) : t("score {score}", { score }), ...this.#parts(index)];
  }

  /** The rule of the next run: the values of the widgets, and what the last run got by links. @param {Judged} judged @returns {Rule} */
  #rule({ rule: ran }) {
    const number = (/** @type {"keep" | "percentile" | "threshold"} */ name) => (this.host.isLinked(name) ? ran[name] : Number(this.host.get(name)));
    const word = (/** @type {"mode" | "reject" | "when_none_pass"} */ name) => (this.host.isLinked(name) ? ran[name] : String(this.host.get(name)));
    return {
      mode: word("mode"),
      keep: number("keep"),
      percentile: number("percentile"),
      threshold: number("threshold"),
      reject: word("reject"),
      when_none_pass: word("when_none_pass"),
      across_prompts: Boolean(this.host.isLinked("across_prompts") ? ran.across_prompts : this.host.get("across_prompts")),
    };
  }

  /** The verdicts by hand of the next run; those of the last run if the node will not run or a link gives them. @param {Judged} judged @returns {Verdicts} */
  #verdicts({ digests, by_hand }) {
    const byHand = this.host.off || this.host.isLinked("by_hand") ? null : this.#byHand;
    return byHand ? verdictsOn(byHand, digests) : by_hand;
  }

  /** The verdicts by hand in the node's widget; null if they cannot be read. */
  get #byHand() {
    return parse(String(this.host.get("by_hand")));
  }

  #show() {
    const { judged } = this;
    if (!judged) return;
    const { off } = this.host;
    const rule = off ? judged.rule : this.#rule(judged);
    const verdicts = this.#verdicts(judged);
    this.verdicts = verdicts;
    this.choosing = rule.mode === "choose";
    this.grid.element.classList.toggle("unc-choosing", this.choosing && !this.undecidable);
    this.grid.arrange(order(judged.scores, rule.reject));
    const ranked = RANKED_BY.every((name) => rule[name] === judged.rule[name]);
    const byRule = passing(judged.scores, rule) ?? (ranked ? judged.by_rule : null);
    const passed = byRule && withVerdicts(judged.scores, byRule, rule, verdicts);
    this.passed = passed ?? [];
    this.kept = new Set(passed ? this.#orBest(passed, rule, verdicts) : judged.kept);
    this.cards.forEach((card, index) => {
      card.mark(this.#isKept(index), verdictOn(verdicts, index), this.#stars(index));
    });
    const position = this.#position(rule);
    this.histogram.show(judged.scores, this.kept, position, this.locked);
    this.grid.divide(this.#before(position, rule));
    const pending = off ? t("{state}, does not run", { state: off }) : this.#pending(judged, rule, ranked);
    const remark = off ? t("when it last ran") : passed ? this.#remark(rule, passed) : t("in the last run");
    const status = this.choosing ? this.#counted(judged) : [this.#counted(judged), remark].filter(Boolean).join(" · ");
    this.status.replaceChildren(status, ...(pending ? [h("em", {}, pending)] : []));
    this.sending.show(this.choosing && judged.rule.mode === "choose" ? this.#choice(judged) : null);
    this.culling?.refresh();
  }

  /** How many images are chosen or kept, and how many of all were decided by hand. @param {Judged} judged */
  #counted({ scores }) {
    const counts = { count: this.kept.size, total: scores.length, decided: this.verdicts.keep.length + this.verdicts.reject.length };
    if (this.choosing) return t("{count} of {total} chosen", counts);
    return counts.decided ? t("{count} of {total} kept, {decided} by hand", counts) : t("{count} of {total} kept", counts);
  }

  /** Whether an image is kept; null if it is neither chosen nor rejected in mode choose. @param {number} index */
  #isKept(index) {
    return this.kept.has(index) || (this.choosing && verdictOn(this.verdicts, index) !== "reject" ? null : false);
  }

  /** What was chosen in all batches of the run, and what became of it. @param {Judged} judged @returns {import("./send_row.js").Choice} */
  #choice({ waits }) {
    const { files } = this.pager;
    const verdicts = this.batches.map((batch) => this.#verdicts(batch));
    const same = this.batches.every(({ kept, by_hand }, batch) => {
      const { keep } = verdicts[batch];
      return kept.length === keep.length && kept.every((index) => keep.includes(index)) && sameStars(verdicts[batch], by_hand);
    });
    const open = this.offers.isOpen(files);
    return {
      count: verdicts.flatMap(({ keep }) => keep).length,
      open,
      waits,
      same,
      sent: this.offers.isSent(files),
      further: this.offers.open.length - Number(open),
      problem: this.refused || this.undecidable,
    };
  }

  /** Queue the run once more with the choice. */
  async #send() {
    const { judged } = this;
    const { files } = this.pager;
    if (!judged) return;
    this.offers.send(files, "");
    const chosen = answer(this.batches.map((batch) => ({ digests: batch.digests, verdicts: this.#verdicts(batch) })));
    const queued = this.host.queueAgain(judged.run, "by_hand", chosen);
    this.#next();
    try {
      this.offers.send(files, await queued);
    } catch (error) {
      this.offers.unsend(files);
      const problem = /** @type {Error} */ (error).message;
      this.refused =
        judged.seed === null
          ? t("Not sent on: {problem}. Queue again: the choice holds.", { problem })
          : t("Not sent on: {problem}. Queue again with seed {seed}: the choice holds.", { problem, seed: judged.seed });
      this.#next();
    }
  }

  /** Send nothing on. */
  #cancel() {
    this.offers.drop(this.pager.files);
    this.#next();
  }

  /** The images that passed or, if none did and `when_none_pass` says so, the best one. @param {number[]} passed @param {Rule} rule @param {Verdicts} verdicts */
  #orBest(passed, { when_none_pass }, { reject }) {
    if (passed.length || this.choosing || when_none_pass !== "keep_best_one") return passed;
    const { scores } = /** @type {Judged} */ (this.judged);
    return this.grid.ordered.filter((index) => scores[index] !== null && !reject.includes(index)).slice(0, 1);
  }

  /** The scores that the cut divides: null for images that are decided by hand. @param {Judged} judged */
  #undecided(judged) {
    const verdicts = this.#verdicts(judged);
    return judged.scores.map((score, index) => (verdictOn(verdicts, index) ? null : score));
  }

  /** Why the cut cannot be moved; empty if it can. */
  get locked() {
    if (this.choosing) return t("In mode choose there is no cut.");
    const [input, another] = ["mode", "threshold"].filter((name) => this.host.isLinked(name));
    if (another) return t("The cut cannot be moved here: {input} and {another} come by link.", { input, another });
    return input ? t("The cut cannot be moved here: {input} comes by link.", { input }) : "";
  }

  /** How many images are on the good side of the cut, whatever was decided by hand. @param {number} position @param {Rule} rule */
  #before(position, rule) {
    const { scores } = /** @type {Judged} */ (this.judged);
    return passing(scores, { ...rule, mode: "threshold", threshold: position })?.length ?? 0;
  }

  /** Position of the line: the threshold, or halfway between the last kept and the first rejected score; NaN if it divides nothing. @param {Rule} rule */
  #position(rule) {
    if (rule.mode === "choose") return NaN;
    const scores = this.#undecided(/** @type {Judged} */ (this.judged));
    const valid = this.grid.ordered.filter((index) => scores[index] !== null);
    if (!valid.length) return NaN;
    if (rule.mode === "threshold") return rule.threshold;
    const count = valid.filter((index) => this.kept.has(index)).length;
    const score = (/** @type {number} */ place) => /** @type {number} */ (scores[valid[place]]);
    if (count > 0 && count < valid.length) return (score(count - 1) + score(count)) / 2;
    return cutAt(scores, (count === 0) === (rule.reject === "highest") ? -Infinity : Infinity, rule.reject);
  }

  /** @param {Rule} rule @param {number[]} passed */
  #remark(rule, passed) {
    if (!passed.length && rule.when_none_pass === "error") return t("no image passes: the run will stop");
    if (!passed.length && rule.when_none_pass === "keep_best_one") return t("no image passes: the best one is kept");
    if (rule.mode === "reference") return /** @type {Judged} */ (this.judged).compared;
    return rule.mode === "threshold" ? t("cut at {score}", { score: short(rule.threshold) }) : "";
  }

  /** What running the node again would change. @param {Judged} judged @param {Rule} rule @param {boolean} ranked whether nothing changed that mode reference depends on */
  #pending({ scored, kept: before, rule: ran, by_hand }, rule, ranked) {
    const rescored = Object.entries(scored).some(([name, value]) => !this.host.isLinked(name) && this.host.get(name) !== value);
    if (rescored) return t("queue to score again");
    if (rule.mode === "reference" && !ranked) return t("queue to rank");
    if (!this.host.isLinked("by_hand") && !this.#byHand) return t("by_hand cannot be read: clear it");
    if (rule.mode === "choose" && ran.mode === "choose") return ""; // the row below says it
    if (rule.mode === "choose" && !this.kept.size) return t("queue to choose");
    const same = this.kept.size === before.length && before.every((index) => this.kept.has(index));
    return same && sameStars(this.verdicts, by_hand) ? "" : t("queue to apply");
  }

  /** Move the cut to a score. @param {number} value */
  #cut(value) {
    const { judged } = this;
    if (!judged || this.locked) return;
    const scores = this.#undecided(judged);
    if (scores.every((score) => score === null)) return;
    this.host.set("threshold", cutAt(scores, value, this.#rule(judged).reject));
    this.host.set("mode", "threshold");
  }

  /** Move the cut past that many images; ±Infinity moves it past all. @param {number} by */
  #step(by) {
    const { judged } = this;
    if (!judged) return;
    const rule = this.#rule(judged);
    const here = this.#position(rule);
    // In single precision, and with the limit on the same side as in `passing`.
    const limit = rule.mode === "threshold" ? Math.fround(here) : here;
    const isUnder = (/** @type {number} */ value) => (rule.reject === "highest" ? value <= limit : value < limit);
    const values = /** @type {number[]} */ (this.#undecided(judged).filter((score) => score !== null)).sort((a, b) => a - b);
    const distinct = values.filter((value, place) => value !== values[place - 1]);
    const under = distinct.filter(isUnder).length;
    const place = Math.min(distinct.length, Math.max(0, under + by));
    this.#cut(place === 0 ? -Infinity : distinct[place - 1]);
  }

  /** Move the cut past the worst image that the rule keeps. @returns {boolean} whether there is one */
  #rejectWorst() {
    if (!this.judged || this.host.off || this.locked || this.host.get("mode") === "reference") return false;
    if (!this.passed.some((index) => verdictOn(this.verdicts, index) === null)) return false;
    this.#step(this.#rule(this.judged).reject === "highest" ? -1 : 1);
    return true;
  }

  /** Look at the images. @returns {boolean} whether there are any */
  #cullIfAny() {
    if (!this.judged) return false;
    this.#cull(this.grid.aimed);
    return true;
  }

  /** Why nothing can be decided by hand; empty if it can. */
  get undecidable() {
    if (this.host.off) return t("Nothing can be decided here: the node is {state}.", { state: this.host.off });
    return this.host.isLinked("by_hand") ? t("Nothing can be decided here: by_hand comes by link.") : "";
  }

  /** Keep or reject an image by hand, leave it to the rule, or give it stars. @param {number} index @param {import("../shared/said.js").Said} said */
  #say(index, said) {
    const { judged } = this;
    if (!judged || this.undecidable) return;
    this.offers.unsend(this.pager.files);
    this.refused = "";
    this.host.set("by_hand", say(this.#byHand ?? nothing(), index, judged.digests, said, judged.stars[index], this.pager.count === 1));
  }

  /** Stars of an image: those given here, or those that it came with. @param {number} index */
  #stars(index) {
    return this.verdicts.stars[index] ?? this.judged?.stars[index] ?? 0;
  }

  /** Choose an image, or do not. @param {number} index */
  #toggle(index) {
    this.#say(index, { verdict: this.kept.has(index) ? null : "keep" });
  }

  /** P, X, U and digits on a card. @param {KeyboardEvent} event */
  #sayByKey(event) {
    const said = saidBy(event);
    const index = this.cards.findIndex(({ element }) => element.contains(/** @type {Node} */ (event.target)));
    if (!said || index < 0) return;
    event.preventDefault();
    this.#say(index, said);
  }

  /** Look at the images one by one in the whole window. @param {number} first */
  #cull(first) {
    this.culling = openCulling(
      {
        name: t("Images, best first"),
        ids: () => this.grid.ordered,
        item: (index) => this.#item(Number(index)),
        verdicts: {
          undecided: this.choosing ? t("Do not choose it, and go on") : t("Leave it to the rule, and go on"),
          locked: () => this.undecidable,
          decide: (index, verdict) => this.#say(Number(index), { verdict }),
        },
        star: (index, stars) => this.#say(Number(index), { stars }),
        closed: (index) => this.grid.focus(Number(index)),
      },
      first,
    );
  }

  /** An image as the culling view shows it. @param {number} index @returns {import("../culling/view.js").Item} */
  #item(index) {
    const { pictures, clips, scores, seed, places, maps } = /** @type {Judged} */ (this.judged);
    const rank = scores[index] === null ? [] : [t("rank {number}", { number: this.grid.ordered.indexOf(index) + 1 })];
    return {
      id: index,
      name: t("image {image}", { image: index }),
      small: fileUrl(pictures[index].small),
      large: fileUrl(pictures[index].large),
      clip: clips?.[index] && fileUrl(clips[index]),
      facts: [...rank, ...this.#facts(index)],
      kept: this.#isKept(index),
      byHand: verdictOn(this.verdicts, index),
      stars: this.#stars(index),
      seed: seed === null ? "" : t("seed {seed}, place {place} in its batch", { seed, place: places[index] }),
      maps: maps.map(({ name, files }) => ({ name, label: SCORES[name]?.label ?? name, url: fileUrl(files[index]) })),
    };
  }
}

/** @param {FileRef} file @returns {Promise<Judged | null>} null if the server has deleted the file */
async function load(file) {
  const response = await fetch(fileUrl(file));
  if (response.status === 204) return null;
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return response.json();
}
