/** Entry point for ComfyUI's front-end: registers the views in the nodes, names with placeholders, the sidebar tab, the settings, the commands and the swap of samplers. */

import { registerPack } from "./adapter/pack.js";
import { commands } from "./commands.js";
import { costLine } from "./cost.js";
import { filterView } from "./filter/view.js";
import { ledgerTab } from "./ledger/tab.js";
import { loadStyles } from "./shared/dom.js";
import { LANGUAGES } from "./shared/texts.js";
import { swapItems } from "./swap.js";
import { mapView } from "./viewer/view.js";

const here = (/** @type {string} */ path) => new URL(path, import.meta.url).href;
loadStyles(here("./vendor/uPlot/uPlot.min.css"), ...["./style.css", "./viewer/viewer.css", "./filter/filter.css", "./culling/culling.css", "./ledger/ledger.css"].map(here));

const views = { UncertaintyMapPreview: mapView, UncertaintyScoreFilter: filterView, UncertaintyKSampler: costLine, UncertaintyKSamplerAdvanced: costLine };
/** Text widgets that name files. */
const patterns = {
  UncertaintySaveImage: "filename_prefix",
  UncertaintyMapSave: "filename_prefix",
  UncertaintyThresholdsSave: "filename_prefix",
  UncertaintyCalibrate: "name",
};
/** The server reads it, see uncertainty/storage/prompt_permission.py. @type {import("./adapter/types").Setting} */
const keepPrompts = {
  id: "Uncertainty.Ledger.KeepPrompts",
  category: ["Uncertainty", "Ledger", "Keep prompts"],
  name: "Keep the text of prompts",
  tooltip: "The Uncertainty tab shows and searches the prompts of images that were saved while this was on.",
  type: "boolean",
  defaultValue: true,
};
/** Read by shared/texts.js. @type {import("./adapter/types").Setting} */
const language = {
  id: "Uncertainty.Language",
  category: ["Uncertainty", "Views", "Language"],
  name: "Language of the views",
  tooltip: "Takes effect when the page is loaded again.",
  type: "combo",
  defaultValue: "auto",
  options: [{ text: "As ComfyUI", value: "auto" }, ...Object.entries(LANGUAGES).map(([value, text]) => ({ text, value }))],
};
registerPack("uncertainty-sampling", { views, patterns, tabs: [ledgerTab], settings: [keepPrompts, language], menu: swapItems, commands });
