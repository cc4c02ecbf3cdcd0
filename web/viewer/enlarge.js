/** Looks at the maps of a batch in the whole window: in the culling view, drawn as in the node. */

import { openCulling } from "../culling/view.js";
import { SCORES } from "../shared/quantities.js";
import { t } from "../shared/texts.js";
import { Stage } from "./stage.js";

/**
 * @typedef {import("./data.js").MapIndex} MapIndex
 * @typedef {import("./stage.js").Shown} Shown
 * @typedef {{
 *   index: MapIndex, shown: (image: number, quantity: string) => Shown, facts: (image: number, quantity: string) => string[],
 *   look: (image: number) => unknown, closed: () => void
 * }} Batch `shown` says how a map is drawn; `look` is told which image is looked at
 */

// More than are side by side.
const KEPT = 8;

/**
 * @param {Batch} batch
 * @param {number} first the image to begin with
 * @param {string} quantity the map to begin with
 */
export function enlarge(batch, first, quantity) {
  const { index, facts, look, closed } = batch;
  const painted = new Painted(batch);
  const images = Array.from({ length: index.images }, (_, image) => image);
  return openCulling(
    {
      name: t("Uncertainty maps"),
      ids: () => images,
      item: (id, shown) => {
        const image = Number(id);
        const [small, large, clip] = [index.thumbnailUrl(image), index.pictureUrl(image, batch.shown(image, shown).frame), index.clipUrl(image)];
        const maps = index.names.map((name) => painted.overlay(image, name));
        return { id, name: t("image {image}", { image }), small: small ?? "", large: large ?? "", clip: clip ?? "", facts: facts(image, shown), kept: null, byHand: null, maps };
      },
      shown: (id) => look(Number(id)),
      closed,
      map: quantity,
    },
    first,
  );
}

/** Maps that were drawn. */
class Painted {
  /** In the order of their last use; without the files that they were drawn from. @type {Map<string, import("../culling/view.js").Painted>} */
  #painted = new Map();

  /** @param {Batch} batch */
  constructor({ index, shown }) {
    this.index = index;
    this.shown = shown;
  }

  /** @param {number} image @param {string} quantity @returns {import("../culling/view.js").Overlay} */
  overlay(image, quantity) {
    const shown = this.shown(image, quantity);
    const { frame, step, range, colormap, opacity } = shown;
    const colours = colormap.subarray(colormap.length / 2, colormap.length / 2 + 6); // the ends of several are black and white
    const url = [image, quantity, frame, step, range, colours, opacity].join(" ");
    return { name: quantity, label: SCORES[quantity].label, url, opacity: 1, paint: () => this.#paint(url, shown) };
  }

  /** @param {string} url @param {Shown} shown @returns {Promise<import("../culling/view.js").Painted | null>} null if the server has deleted the files */
  async #paint(url, shown) {
    const found = this.#painted.get(url) ?? (await drawn(this.index, shown));
    if (!found) return null;
    this.#painted.delete(url);
    this.#painted.set(url, found);
    for (const old of this.#painted.keys()) if (this.#painted.size > KEPT) this.#painted.delete(old);
    return found;
  }
}

/** @param {MapIndex} index @param {Shown} shown */
async function drawn(index, shown) {
  const stage = new Stage(() => {});
  await stage.show(index, shown);
  const { canvas, reading } = stage;
  return reading && { element: canvas, read: (/** @type {number} */ u, /** @type {number} */ v) => reading.at(u, v) };
}
