/** Verdicts by hand as uncertainty/choosing/by_hand.py reads them, and their effect on a rule. */

import { numberKept, validFirst } from "./rule.js";

/**
 * @typedef {{keep: (string | number)[], reject: (string | number)[]}} ByHand images by digest, or by index in any batch
 * @typedef {{keep: number[], reject: number[]}} Verdicts indices of the images of a batch
 */

/** @param {string} text @returns {ByHand | null} null if it cannot be read */
export function parse(text) {
  if (!text.trim()) return { keep: [], reject: [] };
  try {
    const { keep = [], reject = [] } = JSON.parse(text);
    return Array.isArray(keep) && Array.isArray(reject) ? { keep, reject } : null;
  } catch {
    return null;
  }
}

/** The verdicts on the images of a batch, given their digests. @param {ByHand} byHand @param {string[]} digests @returns {Verdicts} */
export function verdictsOn({ keep, reject }, digests) {
  const indices = (/** @type {(string | number)[]} */ named) => {
    const all = new Set(named);
    return digests.map((_, index) => index).filter((index) => all.has(index) || all.has(digests[index]));
  };
  return { keep: indices(keep), reject: indices(reject) };
}

/** What was decided by hand for an image; null if the rule decides. @param {Verdicts} verdicts @param {number} index @returns {"keep" | "reject" | null} */
export function verdictOn({ keep, reject }, index) {
  return keep.includes(index) ? "keep" : reject.includes(index) ? "reject" : null;
}

/**
 * The text after one more verdict.
 *
 * @param {ByHand} byHand
 * @param {number} index of the image
 * @param {string[]} digests of its batch
 * @param {"keep" | "reject" | null} verdict null: the rule decides again
 * @param {boolean} alone whether the run had no other batch; verdicts on images of other runs are then forgotten
 */
export function decide(byHand, index, digests, verdict, alone) {
  const stays = (/** @type {string | number} */ named) =>
    named !== index && named !== digests[index] && !(alone && typeof named === "string" && !digests.includes(named));
  const changed = { keep: byHand.keep.filter(stays), reject: byHand.reject.filter(stays) };
  if (verdict) changed[verdict].push(digests[index]);
  return changed.keep.length + changed.reject.length ? JSON.stringify(changed) : "";
}

/**
 * The text that answers for all images of a run: those that are kept, and all others rejected.
 *
 * @param {{digests: string[], kept: number[]}[]} batches
 */
export function answer(batches) {
  const all = batches.flatMap(({ digests, kept }) => digests.map((digest, index) => ({ digest, kept: kept.includes(index) })));
  const named = (/** @type {boolean} */ kept) => all.filter((image) => image.kept === kept).map(({ digest }) => digest);
  return JSON.stringify({ keep: named(true), reject: named(false) });
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
