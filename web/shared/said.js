/** What a person says of an image by a key. */

/**
 * @typedef {"keep" | "reject" | null} Verdict null: neither
 * @typedef {{verdict: Verdict} | {stars: number}} Said `stars` are 0 for none
 */

export const MOST_STARS = 5;

/** @type {Record<string, Said>} */
const KEYS = { p: { verdict: "keep" }, x: { verdict: "reject" }, u: { verdict: null } };
for (let stars = 0; stars <= MOST_STARS; stars++) KEYS[stars] = { stars };

/** P keeps, X rejects, U does neither, digits give stars; some keyboards need Shift for digits. @param {KeyboardEvent} event @returns {Said | undefined} */
export function saidBy({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  const command = ctrlKey || metaKey || altKey || (shiftKey && /[a-z]/i.test(key));
  return command ? undefined : KEYS[key.toLowerCase()];
}
