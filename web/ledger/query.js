/** Requests of the library to the server's ledger. */

import { DEFAULT_QUANTITY } from "../shared/quantities.js";
import { ask, fileUrl, serverUrl } from "../shared/server.js";
import { t } from "../shared/texts.js";

/**
 * @typedef {import("../shared/server.js").FileRef} FileRef
 * @typedef {{
 *   id: number, created: number, seed: string | null, index: number, model: string, fingerprint: string,
 *   prompt: string | null, prompt_digest: string | null,
 *   score: number | null, standard_error: number | null, rank: number | null, of: number, across_prompts: boolean,
 *   file: FileRef, state: keyof typeof import("./verdicts.js").STATES, stars: number, away: boolean, missing: boolean,
 *   relocated: boolean
 * }} Row an image of the ledger; `rank` is 1 for the surest among the `of` images with its settings and, unless across_prompts,
 *   its prompt, whose text is null if it is not kept; away: the file was moved to a folder `rejected`
 * @typedef {{
 *   sort: string, order: string, quantity: string, state: string, model: string, fingerprint: string, prompt_digest: string,
 *   search: string, stars_min: string, ranked: string, since: string, until: string, score_min: string, score_max: string
 * }} Wish the images asked for and their order; "" means no restriction, dates are YYYY-MM-DD,
 *   several states are separated by commas
 * @typedef {{fingerprint: string, model: string, images: number, label: string}} Settings
 * @typedef {Record<string, number>} Counts number of images in each state
 * @typedef {{rows: Row[], total: number, next: string | null, counts: Counts}} Page
 */

const LEDGER = "/uncertainty/ledger";
// Ids per request, so that progress can be shown and no request takes long.
const AT_ONCE = 200;

/** @type {Readonly<Wish>} */
export const EVERYTHING = {
  sort: "date",
  order: "desc",
  quantity: DEFAULT_QUANTITY,
  state: "unreviewed,kept",
  model: "",
  fingerprint: "",
  prompt_digest: "",
  search: "",
  stars_min: "",
  ranked: "within_prompt",
  since: "",
  until: "",
  score_min: "",
  score_max: "",
};

/** Start of a day in local time, in seconds since 1970. @param {string} day @param {number} more days to add */
function seconds(day, more) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + more).getTime() / 1000;
}

/**
 * @param {Wish} wish
 * @param {number} limit
 * @param {string | null} after cursor of the previous page
 * @returns {Promise<Page>}
 */
export async function page(wish, limit, after) {
  const { since, until, ...plain } = wish;
  const query = new URLSearchParams({ limit: String(limit) });
  for (const [name, value] of Object.entries(plain)) if (value) query.set(name, value);
  if (since) query.set("since", String(seconds(since, 0)));
  if (until) query.set("until", String(seconds(until, 1))); // including that day
  if (after) query.set("after", after);
  const found = await ask(`${LEDGER}?${query}`);
  const relocated = found.rows.filter((/** @type {Row} */ row) => row.relocated).map((/** @type {Row} */ row) => row.id);
  if (relocated.length === 0) return found;
  // Somebody moved these files by hand: the ledger records where they are, and the list is asked for again.
  await ask(`${LEDGER}/relocate`, { ids: relocated });
  return ask(`${LEDGER}?${query}`);
}

/** All combinations of settings that have images. @returns {Promise<Settings[]>} */
export async function settings() {
  return (await ask(`${LEDGER}/models`)).models;
}

/**
 * Do something with images: reject them and move their files into the folder `rejected`, or back; say something of them; take them
 * off the list, or put them back.
 *
 * @param {"reject" | "restore" | "judge" | "take-off" | "put-back"} action
 * @param {number[]} ids
 * @param {(done: number) => void} [progress]
 * @param {import("./verdicts.js").Said | {only_missing: true}} [said] more of the request; `only_missing`: only if the file is gone
 * @returns {Promise<{done: number[], failed: {id: number, reason: string}[]}>} after a failed request, all remaining ids count as
 *   failed
 */
export async function act(action, ids, progress = () => {}, said = {}) {
  /** @type {{done: number[], failed: {id: number, reason: string}[]}} */
  const all = { done: [], failed: [] };
  for (let i = 0; i < ids.length; i += AT_ONCE) {
    try {
      const { done, failed } = await ask(`${LEDGER}/${action}`, { ids: ids.slice(i, i + AT_ONCE), ...said });
      all.done.push(...done);
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

// `t` makes the URLs unique: a later file may get the name of one that the user moved away, and a new ledger numbers its images
// from 1 again.

/** URL of the picture in full size. @param {Row} row */
export function pictureUrl(row) {
  return `${fileUrl(row.file)}&t=${row.created}`;
}

/** @param {Row} row */
export function thumbnailUrl(row) {
  return serverUrl(`${LEDGER}/${row.id}/thumbnail?t=${row.created}`);
}

/** @param {Row} row */
export function heatmapUrl(row) {
  return serverUrl(`${LEDGER}/${row.id}/heatmap?t=${row.created}`);
}

/** The reason why a heatmap could not be loaded. @param {Row} row */
export async function whyNoHeatmap(row) {
  try {
    await ask(`${LEDGER}/${row.id}/heatmap`);
    return t("no map");
  } catch (error) {
    return inWords(error);
  }
}

/** @param {unknown} error */
export function inWords(error) {
  // fetch throws a TypeError without a helpful message when the server does not respond.
  if (error instanceof TypeError) return t("The server does not respond. Is ComfyUI still running?");
  return error instanceof Error ? error.message : String(error);
}
