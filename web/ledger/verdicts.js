/** What a person says of images: as the ledger stores it, and in words. */

import { saidBy } from "../shared/said.js";

/** @typedef {import("./query.js").Row} Row @typedef {{state?: string, stars?: number}} Said */

/** The states of an image, in words and for the filter. */
export const STATES = {
  unreviewed: { label: "Unreviewed", title: "Nobody has decided yet", badge: "" },
  kept: { label: "Kept", title: "Kept by hand", badge: "✓ kept" },
  rejected: { label: "Rejected", title: "Rejected by hand", badge: "✕ rejected" },
  sorted_out: { label: "Sorted out", title: "Sorted out by the filter, or by the command rank", badge: "sorted out" },
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

/** State and stars in words; empty if there are none. @param {Row} row */
export function verdict(row) {
  const stars = row.stars ? `${row.stars} ${row.stars === 1 ? "star" : "stars"}` : "";
  const state = row.state === "unreviewed" ? "" : STATES[row.state].title.toLowerCase();
  return [state, stars, row.away ? "in the folder rejected" : ""].filter(Boolean).join(", ");
}
