/** How the scores lie, kept and rejected apart, with a line where they are cut. */

import { axis, chart } from "../shared/charts.js";
import uPlot from "../vendor/uPlot/uPlot.esm.js";
import { h } from "../shared/dom.js";
import { measured, short } from "../shared/numbers.js";

const HEIGHT = 130;
export const KEPT = "#2e9e5b";
export const REJECTED = "#c2571a";

/**
 * @param {HTMLElement} element
 * @param {(value: number) => void} cut called with the score at which the line is put
 * @param {(by: number) => void} step called with how many images the line is to move on
 */
export function histogram(element, cut, step) {
  const line = h("div", { className: "unc-cut", role: "slider", tabIndex: 0, "aria-label": "Cut between kept and rejected" });
  /** @type {ReturnType<typeof chart> | null} */
  let made = null;
  /** @type {[number, number]} */
  let range = [0, 1];
  let position = NaN;

  const bars = uPlot.paths.bars?.({ size: [0.9], align: 1 });
  const build = () => {
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
        // The rejected stand on the kept: drawn first, as high as both.
        series: [
          {},
          { fill: `${REJECTED}b0`, stroke: REJECTED, paths: bars, points: { show: false } },
          { fill: KEPT, stroke: KEPT, paths: bars, points: { show: false } },
        ],
        hooks: { setSize: [place], draw: [place] },
      },
      [[], [], []],
    );
    made.plot.over.append(line);
    const value = (/** @type {PointerEvent} */ event) => {
      const { plot } = /** @type {NonNullable<typeof made>} */ (made);
      const box = plot.over.getBoundingClientRect();
      // The node may be zoomed: pixels of the screen are not those of the chart.
      return plot.posToVal(((event.clientX - box.left) / box.width) * plot.over.clientWidth, "x");
    };
    made.plot.over.addEventListener("pointerdown", (event) => {
      made?.plot.over.setPointerCapture(event.pointerId);
      cut(value(event));
      line.focus();
    });
    made.plot.over.addEventListener("pointermove", (event) => {
      if (made?.plot.over.hasPointerCapture(event.pointerId)) cut(value(event));
    });
    line.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      step(by);
    });
    return made;
  };

  function place() {
    line.hidden = !Number.isFinite(position);
    if (made && !line.hidden) line.style.left = `${made.plot.valToPos(position, "x")}px`;
  }

  return {
    /**
     * @param {(number | null)[]} scores
     * @param {Set<number>} kept
     * @param {number} cutPosition NaN where no single value separates them
     */
    show(scores, kept, cutPosition) {
      const valid = scores.flatMap((score, index) => (score === null ? [] : [{ score, kept: kept.has(index) }]));
      const values = valid.map(({ score }) => score);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const spread = high - low || Math.abs(high) || 1;
      range = [Math.min(low - spread / 20, cutPosition || Infinity), Math.max(high + spread / 20, cutPosition || -Infinity)];
      position = cutPosition;
      const count = Math.max(8, Math.min(40, Math.round(2 * Math.sqrt(valid.length) + 4)));
      const width = (spread * 1.0001) / count;
      const bins = Array.from({ length: count }, (_, bin) => low + bin * width);
      const counted = (/** @type {boolean[]} */ which) => {
        const counts = Array(count).fill(0);
        for (const each of valid) if (which.includes(each.kept)) counts[Math.min(count - 1, Math.floor((each.score - low) / width))]++;
        return counts.map((number) => number || null); // an empty bin has no bar, not even a flat one
      };
      (made ?? build()).plot.setData([bins, counted([true, false]), counted([true])]);
      line.setAttribute("aria-valuenow", String(cutPosition));
      line.setAttribute("aria-valuetext", `${measured(cutPosition, 0)}: ${kept.size} kept`);
    },
    destroy: () => made?.destroy(),
  };
}
