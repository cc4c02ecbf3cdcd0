/** Looks at the maps of a batch in the whole window: in the culling view, drawn as in the node. */

import { openCulling } from "../culling/view.js";
import { SCORES } from "../shared/quantities.js";
import { t } from "../shared/texts.js";
import { Stage } from "./stage.js";

/**
 * @typedef {import("./data.js").MapIndex} MapIndex
 * @typedef {import("./stage.js").Shown} Shown
 * @typedef {{
 *   index: MapIndex, shown: (image: number, quantity: string) => Shown, facts: (image: number) => string[],
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
      item: (id) => {
        const image = Number(id);
        const [small, large, clip] = [index.thumbnailUrl(image), index.pictureUrl(image, batch.shown(image, quantity).frame), index.clipUrl(image)];
        const maps = index.names.map((name) => painted.overlay(image, name));
        return { id, name: t("image {image}", { image }), small: small ?? "", large: large ?? "", clip: clip ?? "", facts: facts(image), kept: null, byHand: null, maps };
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
  /** In the order of their last use. @type {Map<string, Stage>} */
  #stages = new Map();

  /** @param {Batch} batch */
  constructor({ index, shown }) {
    this.index = index;
    this.shown = shown;
  }

  /** @param {number} image @param {string} quantity @returns {import("../culling/view.js").Overlay} */
  overlay(image, quantity) {
    const shown = this.shown(image, quantity);
    const { frame, step, range, colormap, opacity } = shown;
    const url = [image, quantity, frame, step, range, colormap.subarray(0, 12), opacity].join(" ");
    return {
      name: quantity,
      label: SCORES[quantity].label,
      url,
      opacity: 1,
      paint: () => this.#paint(url, shown),
      read: (u, v) => this.#stages.get(url)?.reading?.at(u, v) ?? "",
    };
  }

  /** @param {string} url @param {Shown} shown @returns {Promise<HTMLCanvasElement | null>} null if the server has deleted the files */
  async #paint(url, shown) {
    const stage = this.#stages.get(url) ?? new Stage(() => {});
    this.#stages.delete(url);
    this.#stages.set(url, stage);
    for (const old of this.#stages.keys()) if (this.#stages.size > KEPT) this.#stages.delete(old);
    return stage.reading || (await stage.show(this.index, shown)) ? stage.canvas : null;
  }
}
