/** The line inside KSampler (Uncertainty), also the advanced one, that says what measuring adds. */

import { h } from "./shared/dom.js";
import { LANGUAGE, t, tn } from "./shared/texts.js";

/** Samplers that call the model several times a step. */
const SEVERAL = /^(heun|exp_heun|dpm_2|dpm_fast|dpm_adaptive|dpmpp_2s|dpmpp_sde|seeds_|sa_solver_pece)/;
const HEIGHT = 26;

/** @param {import("./adapter/node_host.js").NodeHost} host */
export function costLine(host) {
  const line = h("p", { className: "unc unc-cost", lang: LANGUAGE, role: "status" });
  host.attach(line, t("cost"));
  const show = () => {
    line.textContent = line.title = said(host); // a narrow node cuts it off
  };
  host.onValue(show);
  host.onWiring(show);
  host.onRestored(show);
  show();
  host.grow(0, HEIGHT);
}

/** @param {import("./adapter/node_host.js").NodeHost} host */
function said(host) {
  const names = ["steps", "samples", "window_start", "window_end"];
  const part = ["start_at_step", "end_at_step"].filter((name) => host.has(name));
  if ([...names, ...part].some((name) => host.isLinked(name))) return t("Adds samples × window steps model calls");
  const [all, samples, start, end] = names.map((name) => Number(host.get(name)));
  const [first, last] = part.length ? part.map((name) => Number(host.get(name))) : [0, all];
  const steps = Math.min(last, all) - first;
  if (steps < 1) return t("Adds no model calls");
  const added = samples * inside(steps, start, end);
  if (!added) return t("Adds no model calls");
  const share = SEVERAL.test(String(host.get("sampler_name"))) ? "" : ` (+${Math.round((100 * added) / steps)} %)`;
  const guided = host.get("strength") !== 0 || host.isLinked("strength");
  if (!guided) return tn(added, "Adds {count} model call{share}", "Adds {count} model calls{share}", { share });
  return tn(added, "Adds {count} model call{share} and gradients", "Adds {count} model calls{share} and gradients", { share });
}

/** Number of steps inside the window, as uncertainty/window.py counts them: at least one. @param {number} steps @param {number} start @param {number} end */
function inside(steps, start, end) {
  const counted = Array.from({ length: steps }, (_, step) => step / steps).filter((place) => start <= place && place < end).length;
  return Math.max(1, counted);
}
