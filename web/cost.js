/** The line inside KSampler (Uncertainty) that says what measuring adds. */

import { h } from "./shared/dom.js";

/** Samplers that call the model several times a step. */
const SEVERAL = /^(heun|exp_heun|dpm_2|dpm_fast|dpm_adaptive|dpmpp_2s|dpmpp_sde|seeds_|sa_solver_pece)/;
const HEIGHT = 26;

/** @param {import("./adapter.js").NodeHost} host */
export function costLine(host) {
  const line = h("p", { className: "unc unc-cost", role: "status" });
  host.attach(line, "cost");
  const show = () => {
    line.textContent = said(host);
  };
  host.onValue(show);
  host.onWiring(show);
  host.onRestored(show);
  show();
  host.grow(0, HEIGHT);
}

/** @param {import("./adapter.js").NodeHost} host */
function said(host) {
  const names = ["steps", "samples", "window_start", "window_end"];
  if (names.some((name) => host.isLinked(name))) return "Adds samples × window steps model calls";
  const [steps, samples, start, end] = names.map((name) => Number(host.get(name)));
  const added = samples * inside(steps, start, end);
  if (!added) return "Adds no model calls";
  const guided = host.get("strength") === 0 && !host.isLinked("strength") ? "" : " and gradients";
  const share = SEVERAL.test(String(host.get("sampler_name"))) ? "" : ` (+${Math.round((100 * added) / steps)} %)`;
  return `Adds ${added} model ${added === 1 ? "call" : "calls"}${share}${guided}`;
}

/** Number of steps inside the window, as uncertainty/window.py counts them: at least one. @param {number} steps @param {number} start @param {number} end */
function inside(steps, start, end) {
  const counted = Array.from({ length: steps }, (_, step) => step / steps).filter((place) => start <= place && place < end).length;
  return Math.max(1, counted);
}
