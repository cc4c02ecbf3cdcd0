/** Charts in ComfyUI's colours, drawn by uPlot. */

import uPlot from "../vendor/uPlot/uPlot.esm.js";

/**
 * Value of a CSS variable.
 *
 * @param {HTMLElement} element
 * @param {string} name
 */
export function color(element, name) {
  return getComputedStyle(element).getPropertyValue(name).trim();
}

/**
 * An axis whose colours follow the theme.
 *
 * @param {HTMLElement} element
 * @param {uPlot.Axis} changed
 * @returns {uPlot.Axis}
 */
export function axis(element, changed) {
  const line = "#80808040"; // visible on dark and on light themes
  return {
    stroke: () => color(element, "--descrip-text"),
    grid: { stroke: line, width: 1 },
    ticks: { stroke: line, width: 1, size: 4 },
    font: "11px sans-serif",
    ...changed,
  };
}

/**
 * A chart as wide as its element.
 *
 * @param {HTMLElement} element
 * @param {Omit<uPlot.Options, "width">} options
 * @param {uPlot.AlignedData} data
 */
export function chart(element, options, data) {
  const plot = new uPlot({ ...options, width: element.clientWidth || 300 }, data, element);
  const observer = new ResizeObserver(() => {
    if (element.clientWidth) plot.setSize({ width: element.clientWidth, height: options.height });
  });
  observer.observe(element);
  // ComfyUI changes its theme through the class and style of the page.
  const themes = new MutationObserver(() => plot.redraw(false));
  for (const page of [document.documentElement, document.body]) themes.observe(page, { attributes: true, attributeFilter: ["class", "style"] });
  return {
    plot,
    destroy() {
      observer.disconnect();
      themes.disconnect();
      plot.destroy();
    },
  };
}
