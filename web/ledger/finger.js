/** A finger on a list: tells a tap from a long press. */

const HOLD_MS = 500;
const STILL = 10; // pixels that a resting finger may move

export class Finger {
  /** Whether the list was touched last, instead of clicked or used by keys. */
  used = false;
  /** Whether that was a long press. A click may follow it. */
  held = false;

  /** @param {HTMLElement} element @param {(event: PointerEvent) => void} hold called when a finger has rested long enough */
  constructor(element, hold) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    let [x, y] = [0, 0];
    const lifted = () => clearTimeout(timer);
    element.addEventListener("keydown", () => (this.used = false));
    element.addEventListener("pointerdown", (event) => {
      lifted();
      this.used = event.pointerType === "touch";
      this.held = false;
      if (!this.used || !event.isPrimary) return;
      [x, y] = [event.clientX, event.clientY];
      timer = setTimeout(() => {
        this.held = true;
        hold(event);
      }, HOLD_MS);
    });
    element.addEventListener("pointermove", (event) => Math.hypot(event.clientX - x, event.clientY - y) > STILL && lifted());
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) element.addEventListener(end, lifted);
    // Browsers answer a long press too, some with a menu and some by dragging.
    for (const kind of ["contextmenu", "dragstart"]) {
      element.addEventListener(kind, (event) => {
        if (!this.used) return;
        event.preventDefault();
        event.stopImmediatePropagation();
      }, true);
    }
  }
}
