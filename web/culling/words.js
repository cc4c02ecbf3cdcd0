/** What the culling view says of an image. */

/** @typedef {import("./view.js").Item} Item */

/** The verdict, as on the cards. @param {Item} item */
export function mark({ kept, byHand }) {
  if (kept === null) return "";
  return `${kept ? "✓ kept" : "✕ rejected"}${byHand ? " by hand" : ""}`;
}

/** @param {number} [stars] */
export function starred(stars) {
  return stars ? "★".repeat(stars) : "";
}

/** Everything that changes from image to image. @param {Item} item @param {number} index @param {number} count */
export function summary(item, index, count) {
  return [`${index + 1} of ${count}`, item.name, mark(item), starred(item.stars), ...item.facts].filter(Boolean).join(" · ");
}

/** @param {Item} item */
export function details({ seed, prompt }) {
  return [seed && `seed ${seed}`, prompt].filter(Boolean).join(" · ");
}
