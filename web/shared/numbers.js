/** Formats measured numbers for display. They have a decimal point in every language, as in the nodes and in saved files. */

import { t } from "./texts.js";

/** Three significant digits without trailing zeros. @param {number | null} value */
export function short(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 1e-4 || size >= 1e5 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

/** A score ± its standard error. @param {number} value @param {number} error @param {number} [digits] significant digits of the error */
export function measured(value, error, digits = 2) {
  if (!Number.isFinite(value)) return t("no score");
  if (!(error > 0)) return short(value);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(error)));
  if (decimals > 7 && Math.abs(value) < 1e-3) return `${value.toExponential(2)} ± ${error.toExponential(0)}`;
  if (decimals > 8) return `${value.toPrecision(7)} ± ${error.toExponential(0)}`;
  return `${value.toFixed(decimals)} ± ${error.toFixed(decimals)}`;
}
