/** Plots one image's uncertainty per step: mean and spread over its elements, with the window shaded. */

import { axis, chart, color } from "../shared/charts.js";
import { short } from "../shared/numbers.js";

const HEIGHT = 120;
const ACCENT = "#d06a10";

/** @typedef {{steps: number[], means: number[], spreads: number[], total: number, window: [number, number] | null, current: number[]}} Course */

/**
 * @param {HTMLElement} element
 * @param {(step: number) => void} choose called with the recorded step that the user clicked
 */
export function stepCurve(element, choose) {
  /** @type {Course} */
  let course = { steps: [], means: [], spreads: [], total: 1, window: null, current: [] };
  /** @type {ReturnType<typeof chart> | null} */
  let made = null;

  /** @param {uPlot} plot */
  function shadeWindow(plot) {
    if (!course.window) return;
    let [first, end] = course.window.map((part) => stepFrom(part, course.total));
    // Between two steps lies no step: the samplers then take the nearest, which is the one recorded.
    if (end <= first) [first, end] = [course.steps[0], course.steps[course.steps.length - 1] + 1];
    const { left, top, width, height } = plot.bbox;
    const from = Math.max(left, plot.valToPos(first - 0.5, "x", true));
    const to = Math.min(left + width, plot.valToPos(end - 0.5, "x", true));
    if (to <= from) return;
    plot.ctx.save();
    plot.ctx.globalAlpha = 0.12;
    plot.ctx.fillStyle = color(element, "--fg-color") || "#888";
    plot.ctx.fillRect(from, top, to - from, height);
    plot.ctx.restore();
  }

  /** @param {uPlot} plot */
  function markCurrent(plot) {
    for (const step of course.current) {
      const row = course.steps.indexOf(step);
      if (row < 0 || !Number.isFinite(course.means[row])) continue;
      plot.ctx.beginPath();
      plot.ctx.arc(
        plot.valToPos(step, "x", true), plot.valToPos(course.means[row], "y", true), 5 * devicePixelRatio, 0, 2 * Math.PI,
      );
      plot.ctx.fillStyle = ACCENT;
      plot.ctx.fill();
    }
  }

  /** @param {number[]} values */
  const finite = (values) => values.map((value) => (Number.isFinite(value) ? value : null));
  const build = () =>
    chart(
      element,
      {
        height: HEIGHT,
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, y: false },
        padding: [8, 12, 0, 0],
        scales: { x: { time: false, range: () => surroundings(course) } },
        axes: [
          axis(element, { size: 26, splits: () => thinned(course.steps), values: (_, splits) => splits.map(String) }),
          axis(element, { size: 58, values: (_, splits) => splits.map(short) }),
        ],
        series: [
          {},
          { stroke: "transparent", points: { show: false } },
          { stroke: "transparent", points: { show: false } },
          { stroke: ACCENT, width: 2, points: { show: true, size: 5, fill: ACCENT } },
        ],
        bands: [{ series: [1, 2], fill: `${ACCENT}33` }],
        hooks: { drawClear: [shadeWindow], draw: [markCurrent] },
      },
      [course.steps, [], [], []],
    );

  element.addEventListener("click", () => {
    const index = made?.plot.cursor.idx;
    if (index != null) choose(course.steps[index]);
  });

  return {
    /** @param {Course} next */
    show(next) {
      course = next;
      made ??= build();
      made.plot.setData([
        course.steps,
        finite(course.means.map((mean, row) => mean + course.spreads[row])),
        finite(course.means.map((mean, row) => mean - course.spreads[row])),
        finite(course.means),
      ]);
    },
    destroy: () => made?.destroy(),
  };
}

/** The first step at or after a fraction of the schedule, compared as in uncertainty/window.py: 0.28 * 25 is slightly above 7.
 * @param {number} part @param {number} total */
function stepFrom(part, total) {
  const near = Math.round(part * total);
  return near / total >= part ? near : near + 1;
}

/** First and last step to draw: the recorded ones, with enough room on both sides to see where the window ends.
 * @param {Course} course @returns {[number, number]} */
function surroundings({ steps, total }) {
  const [first, last] = [steps[0], steps[steps.length - 1]];
  const beside = Math.max(1, Math.round((last - first) / 4));
  return [Math.max(-0.5, first - beside), Math.min(total - 0.5, last + beside)];
}

/** At most eight of the steps, evenly spaced. @param {number[]} steps */
function thinned(steps) {
  const every = Math.ceil(steps.length / 8);
  return steps.filter((_, index) => index % every === 0);
}
