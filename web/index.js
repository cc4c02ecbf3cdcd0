/** What ComfyUI's front-end loads: the views inside our nodes and the sidebar tab. */

import { registerPack } from "./adapter.js";
import { loadStyles } from "./shared/dom.js";

loadStyles(
  new URL("./vendor/uPlot/uPlot.min.css", import.meta.url).href,
  new URL("./style.css", import.meta.url).href,
);

registerPack("uncertainty-sampling", {}, []);
