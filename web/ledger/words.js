/** Describes a row of the ledger in words. */

import { measured } from "../shared/numbers.js";

/** @typedef {import("./query.js").Row} Row */

const YEAR = new Date().getFullYear();
const FEWEST = 20; // a rank among fewer other images says little, as in uncertainty/choosing/standing.py
const NUMBER = new Intl.NumberFormat();
/** @type {Intl.DateTimeFormatOptions} */
const SHORT = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };

/** @param {number} value */
export function count(value) {
  return NUMBER.format(value);
}

/** @param {number} value @param {string} [noun] */
export function images(value, noun = "image") {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** @param {Row} row */
export function score(row) {
  return row.score === null ? "no score" : measured(row.score, row.standard_error ?? 0);
}

/** @param {Row} row */
export function rank(row) {
  if (row.score === null) return "not ranked";
  if (row.rank === null) return "prompt unknown";
  const among = row.across_prompts ? "all prompts" : (row.prompt ?? "this prompt");
  return row.of === 1 ? `the only one of ${among}` : `${place(row.rank)} of ${row.of > FEWEST ? "" : "only "}${count(row.of)} · ${among}`;
}

/** The text "3rd", as in uncertainty/choosing/standing.py. @param {number} number */
function place(number) {
  const ending = [11, 12, 13].includes(number % 100) ? "th" : (["th", "st", "nd", "rd"][number % 10] ?? "th");
  return `${count(number)}${ending}`;
}

/** @param {Row} row */
export function date(row) {
  const when = new Date(row.created * 1000);
  return when.toLocaleString(undefined, when.getFullYear() === YEAR ? SHORT : { ...SHORT, year: "numeric" });
}

/** @param {Row} row */
export function path(row) {
  return row.file.subfolder ? `${row.file.subfolder}/${row.file.filename}` : row.file.filename;
}
