/** Chooses one of the batches of a run: a node whose inputs are lists runs once per batch. */

import { stepButton } from "./dialog.js";
import { h } from "./dom.js";
import { t } from "./texts.js";

/** @typedef {import("./server.js").FileRef} FileRef */

const HEIGHT = 30;

export class BatchPager {
  /** @type {FileRef[]} */
  #files = [];

  /**
   * @param {import("../adapter/node_host.js").NodeHost} host remembers the chosen batch
   * @param {() => void} open loads the `file` of the chosen batch, after each run and each choice
   * @param {(files: FileRef[], output?: Record<string, any>) => FileRef[]} [toShow] the results to show when those of a run arrive
   */
  constructor(host, open, toShow = (files) => files) {
    this.host = host;
    this.open = open;
    this.text = h("output");
    this.element = h(
      "div",
      { className: "unc-pager", role: "group", "aria-label": t("Batches of the run"), hidden: true },
      stepButton("‹", t("Previous batch"), () => this.#browse(-1)),
      this.text,
      stepButton("›", t("Next batch"), () => this.#browse(1)),
    );
    host.onResults((files, output) => this.load(toShow(files, output)));
  }

  /** Show other results. @param {FileRef[]} files one for each batch */
  load(files) {
    this.#files = files;
    this.open();
  }

  /** The results shown, one for each batch. */
  get files() {
    return this.#files;
  }

  /** The results of the chosen batch. */
  get file() {
    return this.#files[this.#batch];
  }

  /** Number of batches. */
  get count() {
    return this.#files.length;
  }

  /** Height in pixels; 0 while there is nothing to choose. */
  get height() {
    return this.count > 1 ? HEIGHT : 0;
  }

  /** Name the chosen batch. */
  show() {
    this.element.hidden = this.#files.length < 2;
    this.text.textContent = t("Batch {number} of {count}", { number: this.#batch + 1, count: this.#files.length });
  }

  get #batch() {
    return Math.min(this.host.memory.batch ?? 0, this.#files.length - 1);
  }

  /** Choose another batch, wrapping at the ends. @param {number} by */
  #browse(by) {
    this.host.remember({ batch: (this.#batch + by + this.#files.length) % this.#files.length });
    this.open();
  }
}
