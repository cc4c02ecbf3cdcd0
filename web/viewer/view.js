/** The view inside UncertaintyMapPreview: image and heatmap, steps, quantities, batch, values under the pointer. */

import { h } from "../shared/dom.js";
import { keepKeys } from "../shared/keys.js";
import { measured, short } from "../shared/numbers.js";
import { BatchPager } from "../shared/pager.js";
import { SCORES } from "../shared/quantities.js";
import { segments } from "../shared/segments.js";
import { LANGUAGE, t, tn } from "../shared/texts.js";
import { stepCurve } from "./curve.js";
import { MapIndex, SUM } from "./data.js";
import { enlarge } from "./enlarge.js";
import { slider } from "./slider.js";
import { Stage } from "./stage.js";
import { batchStrip } from "./strip.js";

/** @typedef {import("../adapter/node_host.js").NodeHost} NodeHost */

const WIDTH = 420;
const HEIGHT = 610;

const WAITING = t("Queue to see the map here.");
const GONE = t("This map is not among the server's temporary files any more. Queue again to see it.");

/** @param {NodeHost} host */
export function mapView(host) {
  new MapView(host);
}

class MapView {
  /** @param {NodeHost} host */
  constructor(host) {
    this.host = host;
    /** @type {MapIndex | null} */
    this.index = null;
    this.image = 0;
    this.frame = 0;
    // Increases with each load, so that an older load notices that it is outdated.
    this.generation = 0;
    /** @type {ReturnType<typeof enlarge> | null} */
    this.large = null;
    this.message = h("p", { className: "unc-message", role: "status" }, WAITING);
    const choices = Object.entries(SCORES).map(([name, { label, meaning }]) => ({ name, label, title: `${name}: ${meaning}` }));
    this.quantities = segments("unc-segments", t("Quantity"), choices, (name) => this.#choose("quantity", name));
    this.says = h("p", { className: "unc-says" });
    this.readout = h("output", { className: "unc-readout" });
    this.stage = new Stage((text) => (this.readout.textContent = text || this.hint()));
    this.picture = h(
      "button",
      { type: "button", className: "unc-picture", "aria-label": t("Enlarge the map"), onclick: () => this.#enlarge() },
      this.stage.element,
    );
    this.colours = h("canvas", { width: 256, height: 1, "aria-hidden": "true" });
    this.ends = [h("span"), h("span"), h("span")];
    const legend = h(
      "div",
      { className: "unc-legend", title: t("Value of each colour, in latent units") },
      this.colours,
      h("div", { className: "unc-ends" }, ...this.ends),
    );
    this.strip = batchStrip((by) => this.browse(by));
    this.step = slider(t("Step"), (row) => this.#choose("step", this.index?.steps[row] ?? SUM));
    this.frames = slider(t("Frame"), (frame) => {
      this.frame = frame;
      host.remember({ frame });
      this.#draw();
    });
    this.opacity = slider(t("Heatmap"), (part) => this.#choose("opacity", part / 20));
    const plot = h("div", { className: "unc-plot", role: "img", "aria-label": t("Uncertainty per step") });
    this.curve = stepCurve(plot, (step) => this.#choose("step", step));
    this.caption = h("p", { className: "unc-caption" });
    this.course = h("div", { className: "unc-course" }, this.caption, plot);
    this.body = h(
      "div",
      { className: "unc-map-body", hidden: true },
      this.quantities.element,
      this.says,
      this.picture,
      this.readout,
      legend,
      this.strip.element,
      h("div", { className: "unc-sliders" }, this.step.row, this.frames.row, this.opacity.row),
      this.course,
    );
    this.pager = new BatchPager(host, () => this.#open());
    this.element = h("div", { className: "unc unc-map", lang: LANGUAGE }, this.pager.element, this.message, this.body);
    keepKeys(this.element);
    // Dragging a slider must not move the node.
    this.element.addEventListener("pointerdown", (event) => event.stopPropagation());

    host.attach(this.element, t("uncertainty map"));
    const fit = new ResizeObserver(() => this.#fit());
    for (const part of [this.body, this.quantities.element, this.says]) fit.observe(part);
    host.onValue(() => this.#draw());
    host.onWiring(() => this.#draw());
    host.onRemove(() => {
      this.generation++;
      fit.disconnect();
      this.large?.close();
      this.curve.destroy();
      this.strip.destroy();
    });
  }

  /** Show a message above the view; an empty text hides it. @param {string} text */
  #say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  /** Hide the view and say why. @param {string} text */
  #close(text) {
    this.index = null;
    this.stage.clear();
    this.large?.close();
    this.body.hidden = true;
    this.#say(text);
  }

  /** Enlarge a node that is so narrow that more lines of buttons and text push the curve out of it. */
  #fit() {
    const { scrollHeight, clientHeight } = this.element;
    if (scrollHeight > clientHeight) this.host.grow(0, scrollHeight);
  }

  /** Load the maps of a batch. */
  async #open() {
    const generation = ++this.generation;
    this.pager.show();
    let index = null;
    try {
      index = await MapIndex.load(this.pager.file);
    } catch (error) {
      if (generation === this.generation) this.#close(t("Could not load the map: {problem}", { problem: /** @type {Error} */ (error).message }));
      return;
    }
    if (generation !== this.generation) return;
    if (!index) return this.#close(GONE);
    this.large?.close();
    this.index = index;
    this.stage.clear();
    this.image = Math.min(this.host.memory.image ?? 0, index.images - 1);
    this.frame = Math.min(this.host.memory.frame ?? 0, index.about.frames - 1);
    this.body.hidden = false;
    const more = (index.images > 1 ? 46 : 0) + (index.about.frames > 1 ? 26 : 0) + this.pager.height;
    this.host.grow(WIDTH, HEIGHT + more);
    await this.#draw();
  }

  /** The value of an input: the widget's, or what the last run got by a link. @param {"quantity" | "step" | "colormap" | "opacity" | "normalize"} name */
  #value(name) {
    return this.index && this.host.isLinked(name) ? this.index.about.ran[name] : this.host.get(name);
  }

  /** Set a widget, unless a link gives the value. @param {string} name @param {string | number} value */
  #choose(name, value) {
    if (!this.host.isLinked(name)) this.host.set(name, value);
    else this.#draw(); // puts the slider back
  }

  /** Why a step cannot be shown. @param {MapIndex} index @param {string} quantity @param {number} wanted */
  #notThisStep(index, quantity, wanted) {
    const { label } = SCORES[quantity];
    if (!index.hasSteps(quantity)) return t("{quantity} belongs to the whole run and has no steps. Set step to -1 before the next run.", { quantity: label });
    if (index.steps.length > 1) return t("Step {step} was not recorded: showing the sum.", { step: wanted });
    return t("Step {step} was not recorded: showing the one that was.", { step: wanted });
  }

  get shownQuantity() {
    return String(this.#value("quantity"));
  }

  /** The step to show: the node's, or the sum if the node's step was not recorded or the quantity has none. */
  get shownStep() {
    const step = Number(this.#value("step"));
    return this.index?.hasSteps(this.shownQuantity) && this.index.steps.includes(step) ? step : SUM;
  }

  /** Draw everything according to the node's widgets. */
  async #draw() {
    const { index, image, shownQuantity: quantity, shownStep: step } = this;
    if (!index) return;
    this.quantities.offer(index.names);
    if (!index.names.includes(quantity)) {
      this.#say(t("This map has no {quantity}: it was not measured in this run. Choose another quantity.", { quantity }));
      return;
    }
    const wanted = Number(this.#value("step"));
    const { off } = this.host;
    const unrecorded = wanted >= 0 && step === SUM ? this.#notThisStep(index, quantity, wanted) : "";
    this.#say(off ? t("This node is {state} and does not run: the map is from its last run.", { state: off }) : unrecorded);
    this.quantities.show(quantity, this.#lock("quantity"));
    this.says.textContent = SCORES[quantity].meaning;
    this.strip.show(Array.from({ length: index.images }, (_, each) => index.score(quantity, step, each)), image, (each) => index.thumbnailUrl(each));
    const shown = this.#shown(index, image, quantity);
    this.#showLegend(shown.range, shown.colormap);
    const hasCourse = index.hasSteps(quantity) && index.steps.length > 1;
    this.#showSliders(index, step, shown.opacity);
    this.step.row.hidden = !hasCourse;
    this.course.hidden = !hasCourse;
    if (hasCourse) this.#showCourse(index, quantity, step);
    this.readout.textContent = this.hint();
    this.large?.refresh();
    const { generation } = this;
    try {
      const found = await this.stage.show(index, shown);
      if (!found && generation === this.generation) this.#close(GONE);
    } catch (error) {
      if (generation === this.generation) this.#close(t("Could not load the map: {problem}", { problem: /** @type {Error} */ (error).message }));
    }
  }

  /** How a map is drawn, according to the node's widgets. @param {MapIndex} index @param {number} image @param {string} quantity @returns {import("./stage.js").Shown} */
  #shown(index, image, quantity) {
    const { frame } = this;
    const step = index.hasSteps(quantity) ? this.shownStep : SUM;
    const range = index.range(quantity, step, image, String(this.#value("normalize")));
    return { image, frame, quantity, step, range, colormap: index.colormap(String(this.#value("colormap"))), opacity: Number(this.#value("opacity")) };
  }

  /** Text of the line below the picture while the pointer is elsewhere. */
  hint() {
    if (!this.index) return "";
    return [this.index.images > 1 ? t("Image {image}", { image: this.image }) : "", this.#score(this.image)].filter(Boolean).join(" · ");
  }

  /** The score of an image, and the step it is of if there is just one. @param {number} image @param {string} [quantity] */
  #score(image, quantity = this.shownQuantity) {
    if (!this.index) return "";
    const { steps, about } = this.index;
    const { value, error } = this.index.score(quantity, this.shownStep, image);
    const score = t("score {score}", { score: measured(value, error) });
    if (!this.index.hasSteps(quantity) || steps.length > 1) return score;
    const only = t("step {step} of {total}", { step: steps[0], total: about.total_steps });
    return `${score} · ${about.summed > 1 ? tn(about.summed, "sum of {count} step", "sum of {count} steps") : only}`;
  }

  /** @param {[number, number]} range @param {Uint8Array} colormap */
  #showLegend([low, high], colormap) {
    const pixels = new ImageData(256, 1);
    for (let i = 0; i < 256; i++) pixels.data.set([...colormap.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    this.colours.getContext("2d")?.putImageData(pixels, 0, 0);
    [low, (low + high) / 2, high].forEach((value, i) => (this.ends[i].textContent = short(value)));
  }

  /** Why a control has no effect; empty if it has one. @param {string} name */
  #lock(name) {
    return this.host.isLinked(name) ? t("{input} comes by link", { input: name }) : "";
  }

  /** @param {MapIndex} index @param {number} step @param {number} opacity */
  #showSliders({ steps, sigmas, about }, step, opacity) {
    const row = step === SUM ? steps.length : steps.indexOf(step);
    const one = `${t("{number} of {count}", { number: step, count: about.total_steps })} · σ ${short(sigmas[row])}`;
    this.step.show(row, steps.length, step === SUM ? t("sum of {count}", { count: steps.length }) : one, this.#lock("step"));
    this.frames.row.hidden = about.frames < 2;
    this.frames.show(this.frame, about.frames - 1, t("{number} of {count}", { number: this.frame + 1, count: about.frames }));
    this.opacity.row.hidden = about.pictures.length === 0;
    this.opacity.show(Math.round(opacity * 20), 20, `${Math.round(opacity * 100)} %`, this.#lock("opacity"));
  }

  /** @param {MapIndex} index @param {string} quantity @param {number} step */
  #showCourse(index, quantity, step) {
    const { steps, about } = index;
    this.caption.textContent = about.guided ? t("Mean and spread per step · shaded: guided steps") : t("Mean and spread per step · shaded: measured steps");
    this.curve.show({
      steps,
      means: steps.map((each) => index.score(quantity, each, this.image).value),
      spreads: steps.map((_, row) => index.spread(quantity, row, this.image)),
      total: about.total_steps,
      window: about.window,
      current: step === SUM ? [] : [step],
    });
  }

  /** Show another image of the batch, wrapping at the ends. @param {number} by */
  async browse(by) {
    if (!this.index) return;
    this.image = (this.image + by + this.index.images) % this.index.images;
    this.host.remember({ image: this.image });
    await this.#draw();
  }

  #enlarge() {
    const { index, image } = this;
    if (!index?.names.includes(this.shownQuantity)) return;
    this.large = enlarge(
      {
        index,
        shown: (each, quantity) => this.#shown(index, each, quantity),
        facts: (each, quantity) => [this.#score(each, quantity)],
        look: (each) => each !== this.image && this.browse(each - this.image),
        closed: () => this.picture.focus({ preventScroll: true }),
      },
      image,
      this.shownQuantity,
    );
  }
}
