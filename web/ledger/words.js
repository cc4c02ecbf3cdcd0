/** Describes a row of the ledger in words. */

import { measured } from "../shared/numbers.js";

/** @typedef {import("./query.js").Row} Row */

const YEAR = new Date().getFullYear();
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
  if (row.better_than === null) return "the only image so far";
  const beaten = Math.round(row.better_than * row.of); // 0.29 * 100 would come out below 29
  return `better than ${Math.floor((100 * beaten) / row.of)} % of ${count(row.of)}`;
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
