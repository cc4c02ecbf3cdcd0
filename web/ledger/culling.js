/** Opens the listed images in the culling view. */

import { openCulling } from "../culling/view.js";
import { t } from "../shared/texts.js";
import { heatmapUrl, pictureUrl, thumbnailUrl, whyNoHeatmap } from "./query.js";
import { STATES, stateOf } from "./verdicts.js";
import { drawn, path, rank, score } from "./words.js";

/**
 * @typedef {import("./query.js").Row} Row
 * @typedef {import("../culling/view.js").Verdict} Verdict
 */

/** @type {Partial<Record<Row["state"], Verdict>>} */
const BY_HAND = { kept: "keep", rejected: "reject" };

/**
 * @param {() => Row[]} rows the rows loaded so far
 * @param {Row} first the row to start with
 * @param {{shown: (index: number) => void, judge: (row: Row, said: import("./verdicts.js").Said) => Promise<void>}} told called with
 *   the index of the row shown, and with what was said of a row: `rows` then holds the changed row; rejected if it could not be stored
 */
export function cullRows(rows, first, { shown, judge }) {
  const places = new Places(rows);
  const row = (/** @type {import("../culling/view.js").Id} */ id) => rows()[places.of(id)];
  return openCulling(
    {
      name: t("Recorded images"),
      ids: () => rows().map(({ id }) => id),
      item: (id) => item(row(id)),
      verdicts: {
        undecided: t("Leave it undecided, and go on"),
        locked: () => "",
        decide: (id, verdict) => judge(row(id), { state: stateOf(verdict) }),
      },
      star: (id, stars) => judge(row(id), { stars }),
      shown: (id) => shown(places.of(id)),
    },
    first.id,
  );
}

/** The places of rows by their ids. */
class Places {
  /** @type {Row[]} */
  #known = [];
  /** @type {Map<import("../culling/view.js").Id, number>} */
  #places = new Map();

  /** @param {() => Row[]} rows */
  constructor(rows) {
    this.rows = rows;
  }

  /** @param {import("../culling/view.js").Id} id */
  of(id) {
    const rows = this.rows();
    if (rows !== this.#known) {
      this.#known = rows;
      this.#places = new Map(rows.map((row, place) => [row.id, place]));
    }
    return /** @type {number} */ (this.#places.get(id));
  }
}

/** @param {Row} row @returns {import("../culling/view.js").Item} */
function item(row) {
  return {
    id: row.id,
    name: path(row),
    small: row.missing ? "" : thumbnailUrl(row),
    large: pictureUrl(row),
    facts: [score(row), rank(row), row.state === "sorted_out" ? STATES.sorted_out.badge : "", row.away ? t("in the folder rejected") : ""].filter(Boolean),
    kept: row.state === "unreviewed" ? null : row.state === "kept",
    byHand: BY_HAND[row.state] ?? null,
    prompt: row.prompt ?? "",
    seed: drawn(row),
    stars: row.stars,
    maps: [{ name: "heatmap", label: t("Heatmap"), url: heatmapUrl(row), why: () => whyNoHeatmap(row) }],
  };
}
