/** The view inside UncertaintyMapPreview: image and heatmap, steps, quantities, batch, values under the pointer. */

import { h } from "../shared/dom.js";
import { measured, short } from "../shared/numbers.js";
import { stepCurve } from "./curve.js";
import { MapIndex, SUM } from "./data.js";
import { enlarge } from "./enlarge.js";
import { Stage } from "./stage.js";

/** @typedef {import("../adapter.js").NodeHost} NodeHost */

const WIDTH = 420;
const HEIGHT = 600;

/** @type {Record<string, {label: string, says: string}>} */
const QUANTITIES = {
  denoised_variance: {
    label: "Image change",
    says: "How much the finished image still changes when noise is added and removed again. Bright: unsure.",
  },
  posterior_variance: { label: "Possible images", says: "How many different images fit the noisy one. Bright: unsure." },
  score_variance: { label: "Noise (paper)", says: "The paper’s map: how much the predicted noise varies. Bright: sure." },
};

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
    // Loads that were overtaken by a later one find their number outdated.
    this.generation = 0;
    this.stage = new Stage((text) => (this.parts.readout.textContent = text || this.hint()));
    this.parts = this.#build();
    this.curve = stepCurve(this.parts.plot, (step) => host.set("step", step));
    host.attach(this.parts.element);
    host.onResult((output) => this.#open(output.uncertainty_view?.[0], true));
    host.onRestore(() => this.#open(host.memory.index, false));
    host.onValue(() => this.#show());
    host.onRemove(() => {
      this.generation++;
      this.curve.destroy();
    });
  }

  #build() {
    const message = h("p", { className: "unc-message" }, "Queue to see the map here.");
    const quantities = Object.entries(QUANTITIES).map(([name, { label, says }]) =>
      h(
        "button",
        { type: "button", role: "radio", title: `${name}: ${says}`, onclick: () => this.host.set("quantity", name), "data-quantity": name },
        label,
      ),
    );
    const segments = h("div", { className: "unc-segments", role: "radiogroup", "aria-label": "What is shown" }, ...quantities);
    segments.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      const next = quantities[(quantities.findIndex((each) => each === event.target) + by + quantities.length) % quantities.length];
      next.click();
      next.focus();
    });
    const says = h("p", { className: "unc-says" });
    const picture = h(
      "button",
      { type: "button", className: "unc-picture", "aria-label": "Enlarge the map", onclick: () => this.#enlarge() },
      this.stage.element,
    );
    const readout = h("output", { className: "unc-readout" });
    const legend = h("canvas", { className: "unc-legend-bar", width: 256, height: 1, "aria-hidden": "true" });
    const ends = [h("span"), h("span"), h("span")];
    const step = this.#slider("Step", (value) => this.host.set("step", value === this.index?.steps.length ? SUM : this.index?.steps[value] ?? SUM));
    const frames = this.#slider("Frame", (value) => {
      this.frame = value;
      this.#show();
    });
    const opacity = this.#slider("Heatmap", (value) => this.host.set("opacity", value / 20));
    opacity.input.max = "20";
    const strip = h("div", { className: "unc-strip", role: "listbox", tabIndex: 0, "aria-label": "Images of the batch" });
    strip.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      this.browse(by);
    });
    const plot = h("div", { className: "unc-plot", role: "img", "aria-label": "Uncertainty per step" });
    const body = h(
      "div",
      { className: "unc-map-body", hidden: true },
      segments,
      says,
      picture,
      h(
        "div",
        { className: "unc-legend" },
        legend,
        h("div", { className: "unc-legend-ends" }, ...ends),
      ),
      readout,
      strip,
      step.row,
      frames.row,
      opacity.row,
      plot,
    );
    const element = h("div", { className: "unc unc-map" }, message, body);
    // Keys typed here are not ComfyUI's shortcuts, and dragging a slider does not move the canvas.
    element.addEventListener("keydown", (event) => event.stopPropagation());
    element.addEventListener("pointerdown", (event) => event.stopPropagation());
    return { element, message, quantities, says, picture, readout, legend, ends, step, frames, opacity, strip, plot, body };
  }

  /** @param {string} label @param {(value: number) => void} changed */
  #slider(label, changed) {
    const input = h("input", { type: "range", min: "0", step: "1", "aria-label": label, oninput: () => changed(Number(input.value)) });
    const value = h("output");
    return { input, value, row: h("label", { className: "unc-slider" }, h("span", {}, label), input, value) };
  }

  /**
   * Load a preview.
   *
   * @param {import("../adapter.js").FileRef | undefined} file
   * @param {boolean} fresh whether the node has just run
   */
  async #open(file, fresh) {
    if (!file) return;
    const generation = ++this.generation;
    if (fresh) this.host.remember({ index: file });
    const index = await MapIndex.load(file);
    if (generation !== this.generation) return;
    this.index = index;
    this.stage.clear();
    if (!index) {
      this.parts.message.textContent = "This map was thrown away with the server’s temporary files. Queue again to see it.";
      this.parts.message.hidden = false;
      this.parts.body.hidden = true;
      return;
    }
    this.image = Math.min(this.host.memory.image ?? 0, index.images - 1);
    this.frame = Math.min(this.frame, index.about.frames - 1);
    this.parts.message.hidden = true;
    this.parts.body.hidden = false;
    this.#fillStrip();
    this.host.grow(WIDTH, HEIGHT + (index.images > 1 ? 34 : 0) + (index.about.frames > 1 ? 24 : 0));
    await this.#show();
  }

  /** The step that is shown: the node's, or the sum where the node's was not recorded. */
  get shownStep() {
    const step = Number(this.host.get("step"));
    return step >= 0 && this.index?.steps.includes(step) ? step : SUM;
  }

  get shownQuantity() {
    return String(this.host.get("quantity"));
  }

  async #show() {
    const { index } = this;
    if (!index || !index.about.quantities.includes(this.shownQuantity)) return;
    const [quantity, step] = [this.shownQuantity, this.shownStep];
    for (const button of this.parts.quantities) {
      const chosen = button.dataset.quantity === quantity;
      button.setAttribute("aria-checked", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
    this.parts.says.textContent = QUANTITIES[quantity].says;
    this.#showSliders(index, step);
    this.#markStrip();
    const range = index.range(quantity, step, this.image, String(this.host.get("normalize")));
    const colormap = index.colormap(String(this.host.get("colormap")));
    this.#showLegend(range, colormap);
    this.curve.show({
      steps: index.steps,
      means: index.steps.map((each) => index.score(quantity, each, this.image).value),
      spreads: index.steps.map((_, row) => index.spread(quantity, row, this.image)),
      total: index.about.total_steps,
      window: index.about.window,
      current: step === SUM ? index.steps : [step],
    });
    const generation = this.generation;
    const shown = await this.stage.show(index, { image: this.image, frame: this.frame, quantity, step, range, colormap, opacity: Number(this.host.get("opacity")) });
    if (generation !== this.generation) return;
    if (!shown) {
      this.parts.message.textContent = "This map was thrown away with the server’s temporary files. Queue again to see it.";
      this.parts.message.hidden = false;
    }
    this.parts.readout.textContent = this.hint();
  }

  /** What the line under the image says while the pointer is elsewhere. */
  hint() {
    if (!this.index) return "";
    const { value, error } = this.index.score(this.shownQuantity, this.shownStep, this.image);
    const batch = this.index.images > 1 ? `image ${this.image} of ${this.index.images} · ` : "";
    return `${batch}score ${measured(value, error)}`;
  }

  /** @param {MapIndex} index @param {number} step */
  #showSliders(index, step) {
    const { steps, sigmas, about } = index;
    const row = step === SUM ? steps.length : steps.indexOf(step);
    this.parts.step.input.max = String(steps.length);
    this.parts.step.input.value = String(row);
    this.parts.step.value.textContent = step === SUM ? `sum of ${steps.length}` : `${step} of ${about.total_steps} (σ ${short(sigmas[row])})`;
    this.parts.step.input.setAttribute("aria-valuetext", this.parts.step.value.textContent);
    this.parts.frames.row.hidden = about.frames < 2;
    this.parts.frames.input.max = String(about.frames - 1);
    this.parts.frames.input.value = String(this.frame);
    this.parts.frames.value.textContent = `${this.frame + 1} of ${about.frames}`;
    this.parts.opacity.row.hidden = about.pictures.length === 0;
    const opacity = Number(this.host.get("opacity"));
    this.parts.opacity.input.value = String(Math.round(opacity * 20));
    this.parts.opacity.value.textContent = `${Math.round(opacity * 100)} %`;
  }

  /** @param {[number, number]} range @param {Uint8Array} colormap */
  #showLegend([low, high], colormap) {
    const pixels = new ImageData(256, 1);
    for (let i = 0; i < 256; i++) pixels.data.set([...colormap.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    this.parts.legend.getContext("2d")?.putImageData(pixels, 0, 0);
    [low, (low + high) / 2, high].forEach((value, i) => (this.parts.ends[i].textContent = short(value)));
  }

  #fillStrip() {
    const count = this.index?.images ?? 0;
    this.parts.strip.hidden = count < 2;
    this.parts.strip.replaceChildren(
      ...Array.from({ length: count }, (_, image) =>
        h("span", { role: "option", onclick: () => this.browse(image - this.image), "data-image": String(image) }),
      ),
    );
  }

  #markStrip() {
    for (const option of this.parts.strip.children) {
      const image = Number(/** @type {HTMLElement} */ (option).dataset.image);
      const { value, error } = /** @type {MapIndex} */ (this.index).score(this.shownQuantity, this.shownStep, image);
      option.replaceChildren(h("b", {}, String(image)), ` ${short(value)}`);
      /** @type {HTMLElement} */ (option).title = `image ${image}: ${measured(value, error)}`;
      option.setAttribute("aria-selected", String(image === this.image));
      if (image === this.image) option.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }

  /** Another image of the batch, around the ends. @param {number} by */
  async browse(by) {
    if (!this.index) return;
    this.image = (this.image + by + this.index.images) % this.index.images;
    this.host.remember({ image: this.image });
    await this.#show();
  }

  #enlarge() {
    enlarge(this.stage, this.parts.picture, (by) => this.browse(by), () => this.hint());
  }
}
