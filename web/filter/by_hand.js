/** Verdicts by hand as uncertainty/choosing/by_hand.py reads them, and their effect on a rule. */

import { numberKept, validFirst } from "./rule.js";

/**
 * @typedef {string | number} Named an image by digest, or by index in any batch
 * @typedef {{keep: Named[], reject: Named[], stars: Record<string, Named[]>}} ByHand `stars`: images by their number of stars
 * @typedef {{keep: number[], reject: number[], stars: Record<number, number>}} Verdicts indices of the images of a batch, and their
 *   stars by index
 */

/** @returns {ByHand} */
export function nothing() {
  return { keep: [], reject: [], stars: {} };
}

/** @param {string} text @returns {ByHand | null} null if it cannot be read */
export function parse(text) {
  if (!text.trim()) return nothing();
  try {
    const found = { ...nothing(), ...JSON.parse(text) };
    const counts = Object.keys(found.stars).every((count) => /^[0-5]$/.test(count));
    return counts && [found.keep, found.reject, ...Object.values(found.stars)].every(Array.isArray) ? found : null;
  } catch {
    return null;
  }
}

/** The verdicts on the images of a batch, given their digests. @param {ByHand} byHand @param {string[]} digests @returns {Verdicts} */
export function verdictsOn({ keep, reject, stars }, digests) {
  const indices = (/** @type {Named[]} */ named) => {
    const all = new Set(named);
    return digests.map((_, index) => index).filter((index) => all.has(index) || all.has(digests[index]));
  };
  const rated = Object.entries(stars).flatMap(([count, named]) => indices(named).map((index) => [index, Number(count)]));
  return { keep: indices(keep), reject: indices(reject), stars: Object.fromEntries(rated) };
}

/** Whether two verdicts give all images the same stars. @param {Verdicts} one @param {Verdicts} other */
export function sameStars(one, other) {
  const indices = Object.keys({ ...one.stars, ...other.stars }).map(Number);
  return indices.every((index) => one.stars[index] === other.stars[index]);
}

/** What was decided by hand for an image; null if the rule decides. @param {Verdicts} verdicts @param {number} index @returns {"keep" | "reject" | null} */
export function verdictOn({ keep, reject }, index) {
  return keep.includes(index) ? "keep" : reject.includes(index) ? "reject" : null;
}

/**
 * The text after one more word.
 *
 * @param {ByHand} byHand
 * @param {number} index of the image
 * @param {string[]} digests of its batch
 * @param {import("../shared/said.js").Said} said without a verdict, the rule decides again
 * @param {number} came stars that the image came with, which 0 takes away
 * @param {boolean} alone whether the run had no other batch; what was said of images of other runs is then forgotten
 */
export function say(byHand, index, digests, said, came, alone) {
  const isAbsent = (/** @type {Named} */ named) => alone && typeof named === "string" && !digests.includes(named);
  const isOther = (/** @type {Named} */ named) => named !== index && named !== digests[index];
  const staying = (/** @type {boolean} */ other) => (/** @type {Named} */ named) => !isAbsent(named) && (!other || isOther(named));
  const [verdicts, ratings] = [staying("verdict" in said), staying("stars" in said)];
  const stars = Object.fromEntries(Object.entries(byHand.stars).map(([count, named]) => [count, named.filter(ratings)]));
  const changed = { keep: byHand.keep.filter(verdicts), reject: byHand.reject.filter(verdicts), stars };
  if ("verdict" in said && said.verdict) changed[said.verdict].push(digests[index]);
  if ("stars" in said && said.stars !== came) changed.stars[said.stars] = [...(changed.stars[said.stars] ?? []), digests[index]];
  return written(changed);
}

/** @param {ByHand} byHand */
function written({ keep, reject, stars }) {
  const rated = Object.entries(stars).filter(([, named]) => named.length); // also of 0 stars
  if (!rated.length && !keep.length && !reject.length) return "";
  return JSON.stringify({ keep, reject, ...(rated.length ? { stars: Object.fromEntries(rated) } : {}) });
}

/**
 * The text that answers for all images of a run: those that are kept, and all others rejected.
 *
 * @param {{digests: string[], verdicts: Verdicts}[]} batches
 */
export function answer(batches) {
  const all = batches.flatMap(({ digests, verdicts: { keep, stars } }) =>
    digests.map((digest, index) => ({ digest, kept: keep.includes(index), stars: stars[index] })),
  );
  const named = (/** @type {boolean} */ kept) => all.filter((image) => image.kept === kept).map(({ digest }) => digest);
  /** @type {Record<number, string[]>} */
  const rated = {};
  for (const { digest, stars } of all) if (stars !== undefined) rated[stars] = [...(rated[stars] ?? []), digest];
  return written({ keep: named(true), reject: named(false), stars: rated });
}

/**
 * Images to keep: `with_verdicts` of uncertainty/choosing/cut.py.
 *
 * @param {import("./rule.js").Scores} scores
 * @param {number[]} passed images that pass the rule
 * @param {import("./rule.js").Rule} rule
 * @param {Verdicts} verdicts
 */
export function withVerdicts(scores, passed, rule, verdicts) {
  const undecided = (/** @type {number} */ index) => !verdictOn(verdicts, index);
  const valid = validFirst(scores, rule.reject);
  const number = numberKept(valid.length, rule);
  const free = number === null ? passed.filter(undecided) : valid.filter(undecided).slice(0, Math.max(0, number - verdicts.keep.length));
  return [...free, ...verdicts.keep];
}
