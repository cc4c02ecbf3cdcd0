/** What a person says of images: by keys, and in words. */

/** @typedef {import("./query.js").Row} Row @typedef {{state?: string, stars?: number}} Said */

export const MOST_STARS = 5;

/** The states of an image, in words and for the filter. */
export const STATES = {
  unreviewed: { label: "Unreviewed", title: "Nobody has decided yet", badge: "" },
  kept: { label: "Kept", title: "Kept by hand", badge: "✓ kept" },
  rejected: { label: "Rejected", title: "Rejected by hand", badge: "✕ rejected" },
  sorted_out: { label: "Sorted out", title: "Sorted out by the filter, or by the command rank", badge: "sorted out" },
};

/** @type {Record<string, Said>} */
const KEYS = { p: { state: "kept" }, x: { state: "rejected" }, u: { state: "unreviewed" } };
for (let stars = 0; stars <= MOST_STARS; stars++) KEYS[stars] = { stars };

/** What a key says: P keeps, X rejects, U leaves undecided, digits give stars. @param {KeyboardEvent} event @returns {Said | undefined} */
export function saidBy(event) {
  return event.ctrlKey || event.metaKey || event.altKey ? undefined : KEYS[event.key.toLowerCase()];
}

/** State and stars in words; empty if there are none. @param {Row} row */
export function verdict(row) {
  const stars = row.stars ? `${row.stars} ${row.stars === 1 ? "star" : "stars"}` : "";
  const state = row.state === "unreviewed" ? "" : STATES[row.state].title.toLowerCase();
  return [state, stars, row.away ? "in the folder rejected" : ""].filter(Boolean).join(", ");
}
