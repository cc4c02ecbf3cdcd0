/** What the culling view says of an image. */

import { t } from "../shared/texts.js";

/** @typedef {import("./view.js").Item} Item */

/** The verdict, as on the cards. @param {Item} item */
export function mark({ kept, byHand }) {
  if (kept === null) return "";
  if (byHand) return kept ? t("✓ kept by hand") : t("✕ rejected by hand");
  return kept ? t("✓ kept") : t("✕ rejected");
}

/** @param {number} [stars] */
export function starred(stars) {
  return stars ? "★".repeat(stars) : "";
}

/** Everything that changes from image to image. @param {Item} item @param {number} index @param {number} count */
export function summary(item, index, count) {
  return [t("{number} of {count}", { number: index + 1, count }), item.name, mark(item), starred(item.stars), ...item.facts].filter(Boolean).join(" · ");
}

/** @param {Item} item */
export function details({ seed, prompt }) {
  return [seed, prompt].filter(Boolean).join(" · ");
}
