/** The rule of uncertainty/choosing/cut.py, so that the view shows which images pass before the node runs again. */

/**
 * @typedef {(number | null)[]} Scores in single precision; null for an image without a valid score
 * @typedef {{mode: string, keep: number, percentile: number, threshold: number, reject: string, when_none_pass: string,
 *   across_prompts: boolean}} Rule
 *   the values of the node's inputs
 */

/**
 * Image indices, best first. Ties keep their order; images without a valid score come last.
 *
 * @param {Scores} scores
 * @param {string} reject highest or lowest
 */
export function order(scores, reject) {
  const sign = reject === "highest" ? 1 : -1;
  const badness = scores.map((score) => (score === null ? Infinity : sign * score));
  return scores.map((_, index) => index).sort((a, b) => (badness[a] === badness[b] ? a - b : badness[a] - badness[b]));
}

/** Images with a valid score, best first. @param {Scores} scores @param {string} reject */
export function validFirst(scores, reject) {
  return order(scores, reject).filter((index) => scores[index] !== null);
}

/** How many of `count` images a mode keeps, or null if it keeps no fixed number. @param {number} count @param {Pick<Rule, "mode" | "keep" | "percentile">} rule */
export function numberKept(count, { mode, keep, percentile }) {
  if (mode === "keep_best") return keep;
  return mode === "percentile" ? Math.ceil((count * percentile) / 100) : null;
}

/**
 * Images that pass: none in mode choose, null in mode reference, where only the server knows.
 *
 * @param {Scores} scores
 * @param {Rule} rule
 * @returns {number[] | null}
 */
export function passing(scores, { mode, keep, percentile, threshold, reject }) {
  if (mode === "choose") return [];
  const valid = validFirst(scores, reject);
  const number = numberKept(valid.length, { mode, keep, percentile });
  if (number !== null) return valid.slice(0, number);
  if (mode !== "threshold") return null;
  const limit = Math.fround(threshold);
  return valid.filter((index) => {
    const score = /** @type {number} */ (scores[index]);
    return reject === "highest" ? score <= limit : score >= limit;
  });
}

/**
 * The threshold for a cut at a value: halfway between the neighbouring scores, or just beyond the outermost one.
 *
 * @param {Scores} scores not all null
 * @param {number} value
 * @param {string} reject highest or lowest
 */
export function cutAt(scores, value, reject) {
  const ordered = /** @type {number[]} */ (scores.filter((score) => score !== null)).sort((a, b) => a - b);
  const [low, high] = [ordered[0], ordered[ordered.length - 1]];
  const spread = high - low || Math.abs(low) || 1;
  const beyond = Math.max(spread / 10, Math.max(Math.abs(low), Math.abs(high)) / 1e6); // more than the precision of the scores
  const above = ordered.find((score) => score > value) ?? high + beyond;
  const below = ordered.findLast((score) => score <= value) ?? low - beyond;
  // No number lies between single-precision neighbours: the kept score itself is then the threshold.
  return between(below, above) ?? (reject === "highest" ? below : above);
}

/** A number near the middle with as few digits as possible. @param {number} low @param {number} high */
function between(low, high) {
  const middle = (low + high) / 2;
  for (let digits = 2; digits <= 17; digits++) {
    const rounded = Number(middle.toPrecision(digits));
    const single = Math.fround(rounded);
    if (low < single && single < high && Math.abs(rounded - middle) <= (high - low) / 20) return rounded;
  }
  return undefined;
}
