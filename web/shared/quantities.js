/** The quantities that this pack measures, as the server declares them: asked once, when the pack loads. */

import { ask } from "../adapter.js";

/** @typedef {{name: string, label: string, meaning: string, high_is_sure: boolean}} Quantity */

/** @type {{quantities: Quantity[], default: string}} */
const declared = await ask("/uncertainty/quantities");

/** By name, in the order in which they are offered. @type {Record<string, Quantity>} */
export const QUANTITIES = Object.fromEntries(declared.quantities.map((quantity) => [quantity.name, quantity]));

/** Name of the one that is shown first. */
export const DEFAULT_QUANTITY = declared.default;
