/** The sidebar tab: the library beside ComfyUI's graph. */

import { openWorkflow, redraw } from "../adapter/pictures.js";
import { onSaved } from "../adapter/runs.js";
import { PAGE } from "../shared/server.js";
import { t } from "../shared/texts.js";
import { Library } from "./library.js";

/** @type {import("./library.js").Host} */
const besideTheGraph = {
  page: PAGE,
  onChange: onSaved,
  commands: ({ file, index }) => [
    { text: t("Open workflow"), run: () => openWorkflow(file) },
    { text: t("Redraw just this one"), run: () => redraw(file, index) },
  ],
};

/** @type {Library | null} */
let library = null;

/** @type {import("../adapter/types").SidebarTab} */
export const ledgerTab = {
  id: "uncertainty-ledger",
  title: "Uncer\u00adtainty", // allows a line break there in a narrow sidebar
  icon: "pi pi-sort-amount-down",
  tooltip: t("Uncertainty: saved images by score"),
  render(element) {
    return theLibrary().open(element);
  },
};

/** The library, which is kept, with its selection, while the tab is closed. */
function theLibrary() {
  return (library ??= new Library(besideTheGraph));
}

/** Look at the listed images one by one. @returns {Promise<boolean>} whether there are any */
export function cullListed() {
  return theLibrary().cull();
}
