/** Histogram of the scores of kept and rejected images, with a movable line between them. */

import { axis, chart } from "../shared/charts.js";
import { h } from "../shared/dom.js";
import { short } from "../shared/numbers.js";
import { t } from "../shared/texts.js";
import uPlot from "../vendor/uPlot/uPlot.esm.js";

const HEIGHT = 130;
const KEPT = "#2e9e5b";
const REJECTED = "#c2571a";
/** @type {Record<string, number>} */
const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity };

/**
 * @param {HTMLElement} element
 * @param {{cut: (value: number) => void, step: (by: number) => void}} moved
 *   `cut` moves the line to a score, `step` moves it past that many images
 */
export function histogram(element, { cut, step }) {
  const line = h("div", { className: "unc-cut", role: "slider", tabIndex: 0, "aria-label": t("Cut between kept and rejected") });
  /** @type {ReturnType<typeof chart> | null} */
  let made = null;
  /** @type {[number, number]} */
  let range = [0, 1];
  let position = NaN;

  function place() {
    if (!made) return;
    line.hidden = Number.isNaN(position);
    // A cut outside the chart is shown at its edge.
    const shown = Math.min(range[1], Math.max(range[0], position));
    line.style.left = `${made.plot.valToPos(shown, "x")}px`;
  }

  function build() {
    const bars = uPlot.paths.bars?.({ size: [0.9], align: 1 });
    made = chart(
      element,
      {
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 14, 0, 0],
        scales: { x: { time: false, range: () => range }, y: { range: (_, __, most) => [0, Math.max(1, most)] } },
        axes: [
          axis(element, { size: 26, space: 70, values: (_, splits) => splits.map(short) }),
          axis(element, { size: 34, space: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], values: (_, splits) => splits.map(String) }),
        ],
        // Rejected images are stacked on the kept ones: their bars are drawn first, with the height of both.
        series: [
          {},
          { fill: `${REJECTED}b0`, stroke: REJECTED, paths: bars, points: { show: false } },
          { fill: KEPT, stroke: KEPT, paths: bars, points: { show: false } },
        ],
        hooks: { setSize: [place], draw: [place] },
      },
      [[], [], []],
    );
    const { plot } = made;
    plot.over.append(line);
    const cutUnder = (/** @type {PointerEvent} */ event) => {
      const box = plot.over.getBoundingClientRect();
      // The node may be zoomed, so screen pixels differ from chart pixels.
      cut(plot.posToVal(((event.clientX - box.left) / box.width) * plot.over.clientWidth, "x"));
    };
    plot.over.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault(); // otherwise the line would lose the focus
      plot.over.setPointerCapture(event.pointerId);
      cutUnder(event);
      line.focus({ preventScroll: true });
    });
    plot.over.addEventListener("pointermove", (event) => {
      if (plot.over.hasPointerCapture(event.pointerId)) cutUnder(event);
    });
    line.addEventListener("keydown", (event) => {
      const by = KEYS[event.key];
      if (!by) return;
      event.preventDefault();
      step(by);
    });
    return made;
  }

  return {
    /**
     * @param {(number | null)[]} scores
     * @param {Set<number>} kept
     * @param {number} cutPosition NaN if there is nothing to divide
     * @param {string} locked why the cut cannot be moved; empty if it can
     */
    show(scores, kept, cutPosition, locked) {
      const values = /** @type {number[]} */ (scores.filter((score) => score !== null));
      element.hidden = !values.length;
      if (!values.length) return;
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const spread = high - low || Math.abs(high) || 1;
      range = [low - spread / 15, high + spread / 15];
      position = cutPosition;
      const count = Math.max(8, Math.min(40, Math.round(2 * Math.sqrt(values.length) + 4)));
      const width = spread / count;
      const bins = Array.from({ length: count }, (_, bin) => low + bin * width);
      const counted = (/** @type {(index: number) => boolean} */ which) => {
        const counts = Array(count).fill(0);
        scores.forEach((score, index) => {
          if (score !== null && which(index)) counts[Math.min(count - 1, Math.floor((score - low) / width))]++;
        });
        return counts.map((number) => number || null); // null: no bar, where 0 would draw a flat one
      };
      (made ?? build()).plot.setData([bins, counted(() => true), counted((index) => kept.has(index))]);
      place();
      element.title = locked;
      element.classList.toggle("unc-locked", Boolean(locked));
      line.setAttribute("aria-disabled", String(Boolean(locked)));
      line.setAttribute("aria-valuemin", String(low));
      line.setAttribute("aria-valuemax", String(high));
      line.setAttribute("aria-valuenow", String(cutPosition));
      line.setAttribute("aria-valuetext", t("{score}: {count} kept", { score: short(cutPosition), count: kept.size }));
    },
    destroy: () => made?.destroy(),
  };
}
