/** What the tab asks the server's ledger. */

import { ask, fileUrl, serverUrl } from "../adapter.js";
import { DEFAULT_QUANTITY } from "../shared/quantities.js";

/**
 * @typedef {import("../adapter.js").FileRef} FileRef
 * @typedef {{
 *   id: number, created: number, seed: string | null, index: number, model: string, fingerprint: string,
 *   score: number | null, standard_error: number | null, better_than: number | null, of: number,
 *   file: FileRef, rejected: boolean, missing: boolean
 * }} Row an image of the ledger; it is better than that fraction `of` so many others with its settings
 * @typedef {{
 *   sort: string, order: string, quantity: string, state: string, model: string, fingerprint: string,
 *   since: string, until: string, score_min: string, score_max: string
 * }} Wish which images, in which order; "" for what is not restricted, days as YYYY-MM-DD
 * @typedef {{fingerprint: string, model: string, images: number, label: string}} Settings
 * @typedef {{rows: Row[], total: number, next: string | null}} Page
 */

const LEDGER = "/uncertainty/ledger";
// So many ids go to the server at once: progress can be shown, and no request takes long.
const AT_ONCE = 200;

/** @type {Readonly<Wish>} */
export const EVERYTHING = {
  sort: "date",
  order: "desc",
  quantity: DEFAULT_QUANTITY,
  state: "kept",
  model: "",
  fingerprint: "",
  since: "",
  until: "",
  score_min: "",
  score_max: "",
};

/** A day in seconds since 1970, by the clock on the wall. @param {string} day @param {number} more days later */
function seconds(day, more) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + more).getTime() / 1000;
}

/**
 * @param {Wish} wish
 * @param {number} limit
 * @param {string | null} after the cursor where the page before ended
 * @returns {Promise<Page>}
 */
export function page(wish, limit, after) {
  const { since, until, ...plain } = wish;
  const query = new URLSearchParams({ limit: String(limit) });
  for (const [name, value] of Object.entries(plain)) if (value) query.set(name, value);
  if (since) query.set("since", String(seconds(since, 0)));
  if (until) query.set("until", String(seconds(until, 1))); // the whole of that day
  if (after) query.set("after", after);
  return ask(`${LEDGER}?${query}`);
}

/** Every combination of settings that has images. @returns {Promise<Settings[]>} */
export async function settings() {
  return (await ask(`${LEDGER}/models`)).models;
}

/**
 * Move files into their `rejected` folder, or back.
 *
 * @param {"reject" | "restore"} action
 * @param {number[]} ids
 * @param {(done: number) => void} progress
 * @returns {Promise<{moved: number[], failed: {id: number, reason: string}[]}>} what the server could not be asked any more has
 *   failed, with the reason
 */
export async function move(action, ids, progress) {
  /** @type {{moved: number[], failed: {id: number, reason: string}[]}} */
  const all = { moved: [], failed: [] };
  for (let i = 0; i < ids.length; i += AT_ONCE) {
    try {
      const { moved, failed } = await ask(`${LEDGER}/${action}`, { ids: ids.slice(i, i + AT_ONCE) });
      all.moved.push(...moved);
      all.failed.push(...failed);
    } catch (error) {
      const reason = inWords(error);
      all.failed.push(...ids.slice(i).map((id) => ({ id, reason })));
      break;
    }
    progress(Math.min(i + AT_ONCE, ids.length));
  }
  return all;
}

/** The picture, small or as it is. @param {Row} row @param {boolean} small */
export function pictureUrl(row, small) {
  const url = fileUrl(row.file);
  // A later file may get the name of one that was moved by hand: `t` keeps the browser's cache apart.
  return `${url}&t=${row.created}${small ? `&preview=${encodeURIComponent("webp;80")}` : ""}`;
}

/** @param {Row} row */
export function heatmapUrl(row) {
  return serverUrl(`${LEDGER}/${row.id}/heatmap?t=${row.created}`); // a new ledger counts from 1 again
}

/** Why there is no heatmap, after its picture did not load. @param {Row} row */
export async function whyNoHeatmap(row) {
  try {
    await ask(`${LEDGER}/${row.id}/heatmap`);
    return "no map";
  } catch (error) {
    return inWords(error);
  }
}

/** @param {unknown} error */
export function inWords(error) {
  // What fetch throws when nobody answers says nothing to a person.
  if (error instanceof TypeError) return "The server does not answer. Is ComfyUI still running?";
  return error instanceof Error ? error.message : String(error);
}
