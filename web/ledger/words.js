/** Describes a row of the ledger in words. */

import { measured } from "../shared/numbers.js";
import { REGION, count, nth, t, tn } from "../shared/texts.js";

/** @typedef {import("./query.js").Row} Row */

const YEAR = new Date().getFullYear();
const FEWEST = 20; // a rank among fewer other images says little, as in uncertainty/choosing/standing.py
/** @type {Intl.DateTimeFormatOptions} */
const SHORT = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };

/** @param {number} value */
export function images(value) {
  return tn(value, "{count} image", "{count} images");
}

/** How far something has come. @param {number} done @param {number} all */
export function progress(done, all) {
  return tn(all, "{done} of {count} image", "{done} of {count} images", { done: count(done) });
}

/** @param {Row} row */
export function score(row) {
  return row.score === null ? t("no score") : measured(row.score, row.standard_error ?? 0);
}

/** @param {Row} row */
export function rank(row) {
  if (row.score === null) return t("not ranked");
  if (row.rank === null) return t("prompt unknown");
  const among = row.across_prompts ? t("all prompts") : (row.prompt ?? t("this prompt"));
  const place = { place: nth(row.rank), count: count(row.of) };
  if (row.of === 1) return `${t("the only one")} · ${among}`;
  return `${row.of > FEWEST ? t("{place} of {count}", place) : t("{place} of only {count}", place)} · ${among}`;
}

/** Score and rank. @param {Row} row */
export function scored(row) {
  return row.score === null ? t("no score") : t("score {score}, {rank}", { score: score(row), rank: rank(row) });
}

/** What the image was drawn from, to draw it again; empty if that is unknown. @param {Row} row */
export function drawn({ seed, index }) {
  return seed ? t("seed {seed}, image {image}", { seed, image: index }) : "";
}

/** @param {Row} row */
export function date(row) {
  const when = new Date(row.created * 1000);
  return when.toLocaleString(REGION, when.getFullYear() === YEAR ? SHORT : { ...SHORT, year: "numeric" });
}

/** @param {Row} row */
export function path(row) {
  return row.file.subfolder ? `${row.file.subfolder}/${row.file.filename}` : row.file.filename;
}
