/** The quantities that this pack measures, as the server declares them: asked once, when the pack loads. */

import { ask } from "./server.js";
import { t } from "./texts.js";

/** @typedef {{name: string, label: string, meaning: string, high_is_sure: boolean}} Quantity */

/** @type {{quantities: Quantity[], baselines: Quantity[], default: string}} */
const declared = await ask("/uncertainty/quantities");

/** In the user's language. @param {Quantity} quantity @returns {Quantity} */
const translated = (quantity) => ({ ...quantity, label: t(quantity.label), meaning: t(quantity.meaning) });

/** @param {Quantity[]} listed @returns {Record<string, Quantity>} by name, in the order in which they are offered */
const byName = (listed) => Object.fromEntries(listed.map((quantity) => [quantity.name, translated(quantity)]));

export const QUANTITIES = byName(declared.quantities);

/** Quantities and baselines. */
export const SCORES = byName([...declared.quantities, ...declared.baselines]);

/** Name of the one that is shown first. */
export const DEFAULT_QUANTITY = declared.default;
