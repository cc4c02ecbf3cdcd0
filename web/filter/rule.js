/** Which images pass: the rule of uncertainty/selection.py, so that marks follow the cut before anything is queued. */

/**
 * @typedef {{mode: string, keep: number, percentile: number, threshold: number, reject: string, whenNonePass: string}} Rule
 */

/**
 * Image indices, best first; ties keep their order, images without a valid score come last.
 *
 * @param {(number | null)[]} scores
 * @param {string} reject highest or lowest
 */
export function order(scores, reject) {
  const sign = reject === "highest" ? 1 : -1;
  const badness = scores.map((score) => (score === null ? Infinity : sign * score));
  return scores.map((_, index) => index).sort((a, b) => (badness[a] === badness[b] ? a - b : badness[a] - badness[b]));
}

/**
 * Images that are kept; null where this cannot be told without the server (mode reference).
 *
 * @param {(number | null)[]} scores
 * @param {Rule} rule
 * @returns {Set<number> | null}
 */
export function passing(scores, { mode, keep, percentile, threshold, reject, whenNonePass }) {
  const valid = order(scores, reject).filter((index) => scores[index] !== null);
  const count = { keep_best: keep, percentile: Math.ceil((valid.length * percentile) / 100) }[mode];
  let kept;
  if (count !== undefined) kept = valid.slice(0, count);
  else if (mode === "threshold") {
    const limit = Math.fround(threshold); // scores are single precision
    kept = valid.filter((index) => {
      const score = /** @type {number} */ (scores[index]);
      return reject === "highest" ? score <= limit : score >= limit;
    });
  } else return null;
  if (!kept.length && whenNonePass === "keep_best_one") kept = valid.slice(0, 1);
  return new Set(kept);
}

/**
 * A threshold with as few digits as tell its two neighbours apart.
 *
 * @param {number} low
 * @param {number} high
 */
export function between(low, high) {
  const middle = (low + high) / 2;
  for (let digits = 2; digits < 17; digits++) {
    const rounded = Number(middle.toPrecision(digits));
    if (low < Math.fround(rounded) && Math.fround(rounded) < high) return rounded;
  }
  return middle;
}

/**
 * The threshold that cuts where a value lies: halfway between the scores beside it, or beyond the last.
 *
 * @param {(number | null)[]} scores
 * @param {number} value
 */
export function cutAt(scores, value) {
  const ordered = /** @type {number[]} */ (scores.filter((score) => score !== null)).sort((a, b) => a - b);
  const above = ordered.findIndex((score) => score > value);
  const margin = (ordered[ordered.length - 1] - ordered[0]) / 20 || Math.abs(ordered[0]) / 20 || 1;
  if (above === 0) return between(ordered[0] - 2 * margin, ordered[0]);
  if (above < 0) return between(ordered[ordered.length - 1], ordered[ordered.length - 1] + 2 * margin);
  return between(ordered[above - 1], ordered[above]);
}
