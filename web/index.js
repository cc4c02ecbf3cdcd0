/** Entry point for ComfyUI's front-end: registers the views inside the nodes, the names of files with placeholders, and the sidebar tab. */

import { registerPack } from "./adapter.js";
import { filterView } from "./filter/view.js";
import { ledgerTab } from "./ledger/tab.js";
import { loadStyles } from "./shared/dom.js";
import { mapView } from "./viewer/view.js";

const here = (/** @type {string} */ path) => new URL(path, import.meta.url).href;
loadStyles(here("./vendor/uPlot/uPlot.min.css"), ...["./style.css", "./viewer/viewer.css", "./filter/filter.css", "./culling/culling.css", "./ledger/ledger.css"].map(here));

const views = { UncertaintyMapPreview: mapView, UncertaintyScoreFilter: filterView };
/** Text widgets that name files. */
const patterns = {
  UncertaintySaveImage: "filename_prefix",
  UncertaintyMapSave: "filename_prefix",
  UncertaintyThresholdsSave: "filename_prefix",
  UncertaintyCalibrate: "name",
};
registerPack("uncertainty-sampling", views, patterns, [ledgerTab]);
