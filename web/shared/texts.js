/**
 * The views' texts in the user's language. The English text is the key and stays in the code; web/texts/ has a table of translations
 * for every other language. What has no translation is shown in English.
 */

import { ask } from "./server.js";

/** What the languages call themselves. @type {Record<string, string>} */
export const LANGUAGES = {
  en: "English",
  zh: "简体中文",
  "zh-TW": "繁體中文",
  fr: "Français",
  de: "Deutsch",
  ja: "日本語",
  ko: "한국어",
  es: "Español",
};

/** @typedef {string | Partial<Record<Intl.LDMLPluralRule, string>>} Translation in one form, or in the forms that numbers need */

/** The language of the views. */
export const LANGUAGE = await language();

/** With the region that the browser tells, which decides how dates and numbers are written. */
export const REGION = navigator.languages.find((tag) => spoken(tag) === LANGUAGE) ?? LANGUAGE;

/** @type {Map<string, Translation>} */
const table = new Map(Object.entries(LANGUAGE === "en" ? {} : await translations()));

const NUMBER = new Intl.NumberFormat(REGION);
const AMOUNT = new Intl.PluralRules(LANGUAGE);
const RANK = new Intl.PluralRules(LANGUAGE, { type: "ordinal" });
const NTH = { one: "{number}st", two: "{number}nd", few: "{number}rd", other: "{number}th" };

/** The setting of this pack, or else that of ComfyUI, or else what the browser prefers. */
async function language() {
  const settings = (await ask("/settings").catch(() => null)) ?? {}; // the server refuses to tell a user it does not know
  const [own, comfy] = [settings["Uncertainty.Language"], settings["Comfy.Locale"]];
  if (Object.hasOwn(LANGUAGES, own)) return own;
  return (comfy ? [comfy] : navigator.languages).map(spoken).find(Boolean) ?? "en";
}

/** Which of the languages a tag such as de-AT or zh-Hant means. @param {string} tag */
function spoken(tag) {
  try {
    const { language, script } = new Intl.Locale(tag).maximize();
    const name = script === "Hant" ? "zh-TW" : language;
    return Object.hasOwn(LANGUAGES, name) ? name : undefined;
  } catch {
    return undefined; // no language at all
  }
}

/** @returns {Promise<Record<string, Translation>>} */
async function translations() {
  try {
    return await (await fetch(new URL(`../texts/${LANGUAGE}.json`, import.meta.url), { cache: "no-cache" })).json();
  } catch (error) {
    console.warn(`The table of ${LANGUAGE} cannot be read, so that the views of uncertainty are in English:`, error);
    return {};
  }
}

/** A text. @param {string} english @param {Record<string, string | number>} [values] of its {placeholders} */
export function t(english, values = {}) {
  return fill(table.get(english) ?? english, "other", values);
}

/**
 * A text that depends on a number, which it may name as {count}. The key is the English text for many.
 *
 * @param {number} number
 * @param {string} one
 * @param {string} many
 * @param {Record<string, string | number>} [values]
 */
export function tn(number, one, many, values = {}) {
  return fill(table.get(many) ?? { one, other: many }, AMOUNT.select(number), { count: count(number), ...values });
}

/** A place in a ranking, such as 3rd. @param {number} number */
export function nth(number) {
  return fill(table.get(NTH.other) ?? NTH, RANK.select(number), { number: count(number) });
}

/** A number of things, in groups of digits. @param {number} value */
export function count(value) {
  return NUMBER.format(value);
}

/** @param {Translation} forms @param {Intl.LDMLPluralRule} form @param {Record<string, string | number>} values */
function fill(forms, form, values) {
  const text = typeof forms === "string" ? forms : (forms[form] ?? forms.other ?? "");
  return text.replace(/\{(\w+)\}/g, (placeholder, name) => String(values[name] ?? placeholder));
}
