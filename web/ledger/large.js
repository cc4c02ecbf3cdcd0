/** An enlarged image with its heatmap over it: arrow keys browse, Escape closes. */

import { overlayDialog } from "../shared/dialog.js";
import { h } from "../shared/dom.js";
import { towards } from "../shared/keys.js";
import { heatmapUrl, pictureUrl, whyNoHeatmap } from "./query.js";
import { saidBy, verdict } from "./verdicts.js";
import { path, rank, score } from "./words.js";

/** @typedef {import("./query.js").Row} Row */

let withHeat = true; // kept from one opening to the next

/**
 * @param {() => Row[]} rows the rows loaded so far
 * @param {number} first index of the row to start with
 * @param {{shown: (index: number) => void, judge: (row: Row, said: import("./verdicts.js").Said) => void}} told called with the
 *   index of the row shown, and with what a key said of it; afterwards `rows` holds the changed row
 */
export function openLarge(rows, first, { shown, judge }) {
  let row = rows()[first];
  const picture = h("img", { alt: "" });
  const heat = h("img", { alt: "", className: "unc-ledger-heat" });
  const line = h("output", { className: "unc-readout" });
  const note = h("output", { className: "unc-readout unc-ledger-note" });
  const toggle = h("button", { type: "button", className: "unc-ledger-button", onclick: () => overlay(!withHeat) }, "Heatmap");
  const by = (/** @type {number} */ step) => go(rows().findIndex((each) => each.id === row.id) + step);
  const back = h("button", { type: "button", className: "unc-ledger-button", "aria-label": "Previous image", onclick: () => by(-1) }, "‹");
  const on = h("button", { type: "button", className: "unc-ledger-button", "aria-label": "Next image", onclick: () => by(1) }, "›");
  const stage = h("div", { className: "unc-ledger-stage" }, picture, heat);
  const bar = h("div", { className: "unc-ledger-large-bar" }, back, toggle, on);

  /** @param {boolean} show */
  function overlay(show) {
    withHeat = show;
    toggle.setAttribute("aria-pressed", String(show));
    heat.hidden = !show;
    note.textContent = "";
    // Without a source, nothing is loaded.
    if (show) heat.src = heatmapUrl(row);
    else heat.removeAttribute("src");
  }

  /** @param {number} index */
  function go(index) {
    if (!rows()[index]) return;
    row = rows()[index];
    shown(index);
    const focused = document.activeElement;
    back.disabled = index === 0;
    on.disabled = index === rows().length - 1;
    if ((focused === back && back.disabled) || (focused === on && on.disabled)) toggle.focus(); // a disabled button gets no keys
    picture.src = pictureUrl(row, false);
    picture.alt = path(row);
    line.textContent = [path(row), score(row), rank(row), verdict(row)].filter(Boolean).join(" · ");
    overlay(withHeat);
  }

  heat.onerror = async () => {
    const asked = row;
    heat.hidden = true;
    const why = await whyNoHeatmap(asked);
    if (asked === row) note.textContent = `No heatmap: ${why}`;
  };
  picture.onerror = () => (note.textContent = "The file no longer exists.");
  const { dialog } = overlayDialog("Enlarged image", stage, line, note, bar);
  dialog.addEventListener("keydown", (event) => {
    const [step, said] = [towards(event), saidBy(event)];
    if (said) judge(row, said);
    if (step || said) by(step);
  });
  go(first);
  toggle.focus();
}
