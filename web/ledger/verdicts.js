/** What a person says of images: as the ledger stores it, and in words. */

import { saidBy } from "../shared/said.js";
import { t, tn } from "../shared/texts.js";

/** @typedef {import("./query.js").Row} Row @typedef {{state?: string, stars?: number}} Said */

/** The states of an image: for the filter, in its tooltip, on the card, and as part of a sentence. */
export const STATES = {
  unreviewed: { label: t("Unreviewed"), title: t("Nobody has decided yet"), badge: "", said: "" },
  kept: { label: t("Kept"), title: t("Kept by hand"), badge: t("✓ kept"), said: t("kept by hand") },
  rejected: { label: t("Rejected"), title: t("Rejected by hand"), badge: t("✕ rejected"), said: t("rejected by hand") },
  sorted_out: {
    label: t("Sorted out"),
    title: t("Sorted out by the filter, or by the command rank"),
    badge: t("sorted out"),
    said: t("sorted out by the filter, or by the command rank"),
  },
};

const STATE_OF = /** @type {const} */ ({ keep: "kept", reject: "rejected" });

/** The state that a verdict by hand gives. @param {import("../shared/said.js").Verdict} verdict */
export function stateOf(verdict) {
  return verdict ? STATE_OF[verdict] : "unreviewed";
}

/** What a key says of an image, as it is stored. @param {KeyboardEvent} event @returns {Said | undefined} */
export function storedBy(event) {
  const said = saidBy(event);
  return said && ("verdict" in said ? { state: stateOf(said.verdict) } : said);
}

/** @param {number} stars */
export function starsInWords(stars) {
  return tn(stars, "{count} star", "{count} stars");
}

/** State and stars in words; empty if there are none. @param {Row} row */
export function verdict(row) {
  const stars = row.stars ? starsInWords(row.stars) : "";
  return [STATES[row.state].said, stars, row.away ? t("in the folder rejected") : ""].filter(Boolean).join(", ");
}
