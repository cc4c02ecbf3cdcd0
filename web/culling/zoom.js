/**
 * One zoom for all pictures on the stage: wheel, pinch, double click, and dragging. While a picture is fitted to the window, dragging
 * it sideways is a swipe.
 */

import Panzoom from "../vendor/panzoom/panzoom.es.js";

/**
 * @typedef {{swipe: (by: number) => void, pick: (pane: number) => void, changed: () => void, actual: () => number}} Gestures
 *   `pick` is told the pane under the pointer, `actual` gives the zoom of 1:1
 */

const FITTED = { contain: undefined, disableYAxis: true };
const ENLARGED = { contain: /** @type {const} */ ("outside"), disableYAxis: false };
const LEAST_SWIPE = 60; // pixels
const LARGEST = 24;
const STEP = 0.6;
const CLOSER = 2; // instead of 1:1, for a picture that is smaller than the window

export class Zoom {
  /** How far the pane under the pointer is from the first. */
  #offset = { x: 0, y: 0 };
  #swiping = false;
  /** @type {ReturnType<typeof Panzoom> | null} */
  #panzoom = null;

  /** @param {HTMLElement} stage @param {Gestures} gestures */
  constructor(stage, gestures) {
    this.stage = stage;
    this.gestures = gestures;
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#panzoom?.handleMove(this.#there(event)));
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) stage.addEventListener(end, (event) => this.#up(event));
    stage.addEventListener("dblclick", (event) => this.#aim(event) < 0 || this.#toggleAt(this.#there(event)));
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Begin when the first pane is in the page. The library measures its picture; the others follow by the style. */
  begin() {
    const first = /** @type {HTMLElement} */ (this.stage.querySelector(".unc-culling-picture"));
    this.#panzoom = Panzoom(first, {
      ...ENLARGED,
      noBind: true,
      minScale: 1,
      maxScale: LARGEST,
      step: STEP,
      cursor: "",
      setTransform: (_, { scale, x, y }) => {
        this.stage.style.setProperty("--zoom", `scale(${scale}) translate(${x}px, ${y}px)`);
        this.gestures.changed();
      },
    });
  }

  get scale() {
    return this.#panzoom?.getScale() ?? 1;
  }

  /** Whether the picture is larger than the window. After zooming out, the scale is 1 but for rounding. */
  get enlarged() {
    return this.scale > 1.001;
  }

  /** 1:1, or fitted again, around the middle. */
  toggle() {
    const { left, top, width, height } = this.#first;
    this.#toggleAt({ clientX: left + width / 2, clientY: top + height / 2 });
  }

  /** @param {boolean} closer */
  step(closer) {
    if (closer) this.#panzoom?.zoomIn({ animate: false });
    else this.#panzoom?.zoomOut({ animate: false });
  }

  /** Move the enlarged picture by that part of the window. @param {number} right @param {number} down */
  move(right, down) {
    const { width, height } = this.#first;
    this.#panzoom?.pan((right * width) / this.scale, (down * height) / this.scale, { relative: true, animate: false });
  }

  /** @param {{clientX: number, clientY: number}} point */
  #toggleAt(point) {
    if (this.enlarged) {
      this.#panzoom?.reset({ animate: false });
      return;
    }
    const actual = this.gestures.actual();
    this.#panzoom?.zoomToPoint(actual > 1 ? actual : CLOSER, point);
  }

  get #first() {
    return this.stage.children[0].getBoundingClientRect();
  }

  /** Find the pane under the pointer; -1 if there is none. @param {MouseEvent} event */
  #aim(event) {
    const pane = [...this.stage.children].findIndex((each) => each.contains(/** @type {Node} */ (event.target)));
    if (pane < 0) return pane;
    const [first, here] = [this.#first, this.stage.children[pane].getBoundingClientRect()];
    this.#offset = { x: here.left - first.left, y: here.top - first.top };
    return pane;
  }

  /** The same event over the first pane. @param {MouseEvent} event @returns {any} */
  #there(event) {
    const { target, pointerId, deltaX, deltaY } = /** @type {any} */ (event);
    const [clientX, clientY] = [event.clientX - this.#offset.x, event.clientY - this.#offset.y];
    return { target, pointerId, deltaX, deltaY, clientX, clientY, preventDefault: () => event.preventDefault(), stopPropagation() {} };
  }

  /** @param {PointerEvent} event */
  #down(event) {
    const panzoom = this.#panzoom;
    const pane = this.#aim(event);
    if (!panzoom || pane < 0 || event.button !== 0) return;
    this.stage.children[pane].setPointerCapture(event.pointerId);
    if (event.isPrimary) this.gestures.pick(pane);
    else if (this.#swiping) panzoom.pan(0, 0); // a second finger: no swipe, but a pinch
    this.#swiping = event.isPrimary && !this.enlarged;
    panzoom.setOptions(this.#swiping ? FITTED : ENLARGED);
    panzoom.handleDown(this.#there(event));
  }

  /** @param {PointerEvent} event */
  #up(event) {
    const panzoom = this.#panzoom;
    if (!panzoom) return;
    const { x } = panzoom.getPan();
    panzoom.handleUp(this.#there(event));
    if (!this.#swiping) return;
    this.#swiping = false;
    panzoom.setOptions(ENLARGED);
    panzoom.reset({ animate: false });
    if (Math.abs(x) >= LEAST_SWIPE && event.type === "pointerup") this.gestures.swipe(x < 0 ? 1 : -1);
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    if (this.#aim(event) >= 0) this.#panzoom?.zoomWithWheel(this.#there(event));
  }
}
