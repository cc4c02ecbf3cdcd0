/** The controls that choose which images are listed, and in which order. */

import { h } from "../shared/dom.js";
import { QUANTITIES } from "../shared/quantities.js";
import { MOST_STARS } from "../shared/said.js";
import { count, t, tn } from "../shared/texts.js";
import { EVERYTHING } from "./query.js";
import { STATES } from "./verdicts.js";

/** @typedef {import("./query.js").Row} Row @typedef {import("./query.js").Wish} Wish @typedef {import("./query.js").Settings} Settings */

const SCORES = Object.fromEntries(Object.entries(QUANTITIES).map(([name, { label }]) => [name, label]));
const SORTS = {
  "date desc": t("Newest first"),
  "date asc": t("Oldest first"),
  "score asc": t("Lowest score"),
  "score desc": t("Highest score"),
  "prompt desc": t("By prompt, newest first"),
  "prompt asc": t("By prompt, oldest first"),
};
const PAUSE_MS = 250; // without a key, before the list is searched
const RANKED = { within_prompt: t("Within each prompt"), across_prompts: t("Across prompts: mixes easy and difficult ones") };
/** @type {Record<string, string>} */
const STARS = { "": t("Any stars") };
for (let stars = 1; stars < MOST_STARS; stars++) STARS[stars] = t("{stars} or more", { stars: "★".repeat(stars) });
STARS[MOST_STARS] = "★".repeat(MOST_STARS);

export class Controls {
  /** @param {() => void} changed called when the wish changed */
  constructor(changed) {
    this.changed = changed;
    /** @type {Wish} */
    this.wish = { ...EVERYTHING };
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.searching = undefined;
    this.sort = this.#choice(t("Order"), SORTS, (value) => {
      const [sort, order] = value.split(" ");
      this.#set({ sort, order });
    });
    this.quantity = this.#choice(t("Score"), SCORES, (quantity) => this.#set({ quantity }));
    this.settings = this.#choice(t("Made with"), { "": t("All models and settings") }, (value) => {
      const [kind, name] = [value.slice(0, value.indexOf(":")), value.slice(value.indexOf(":") + 1)];
      this.#set({ model: kind === "model" ? name : "", fingerprint: kind === "fingerprint" ? name : "" });
    });
    this.ranked = this.#choice(t("Ranks"), RANKED, (ranked) => this.#set({ ranked }));
    this.stars = this.#choice(t("Stars"), STARS, (stars_min) => this.#set({ stars_min }));
    this.states = Object.entries(STATES).map(([name, { label, title }]) => {
      const count = h("span");
      const button = h("button", { type: "button", title, onclick: () => this.#toggle(name) }, `${label} `, count);
      return { name, button, count };
    });
    const searched = t("Search prompt, seed or model");
    this.search = h("input", { type: "search", placeholder: searched, "aria-label": searched, maxLength: 200 });
    this.search.addEventListener("input", () => {
      clearTimeout(this.searching);
      this.searching = setTimeout(() => this.#set({ search: this.search.value.trim() }), PAUSE_MS);
    });
    this.fields = {
      since: this.#field(t("From date"), "date", "since"),
      until: this.#field(t("To date"), "date", "until"),
      score_min: this.#field(t("Score from"), "number", "score_min"),
      score_max: this.#field(t("Score to"), "number", "score_max"),
    };
    this.mark = h("span", { className: "unc-ledger-mark" });
    this.reset = h("button", { type: "button", className: "unc-ledger-button", onclick: () => this.clear() }, t("Clear filters"));
    const filters = h(
      "details",
      {},
      h("summary", {}, t("Filters"), this.mark),
      h(
        "div",
        { className: "unc-ledger-filters" },
        h("label", { className: "unc-ledger-wide" }, h("span", {}, t("Made with")), this.settings),
        h("label", { className: "unc-ledger-wide" }, h("span", {}, t("Ranks")), this.ranked),
        h("label", { className: "unc-ledger-wide" }, h("span", {}, t("Stars")), this.stars),
        ...Object.values(this.fields).map(({ label }) => label),
        this.reset,
      ),
    );
    this.element = h(
      "div",
      { className: "unc-ledger-controls" },
      this.search,
      h("div", { className: "unc-ledger-states", role: "group", "aria-label": t("Images to show") }, ...this.states.map(({ button }) => button)),
      h("div", { className: "unc-ledger-row" }, this.sort, this.quantity),
      filters,
    );
    this.#show();
  }

  /** Show or hide the images in a state. @param {string} name */
  #toggle(name) {
    const shown = new Set(this.wish.state.split(","));
    if (!shown.delete(name)) shown.add(name);
    this.#set({ state: this.states.map((each) => each.name).filter((each) => shown.has(each)).join(",") });
  }

  /** Say how many images are in each state. @param {import("./query.js").Counts} counts */
  counted(counts) {
    for (const each of this.states) each.count.textContent = count(counts[each.name] ?? 0);
  }

  /** Number of filters set, not counting the states. */
  get filters() {
    const { model, fingerprint, prompt_digest, search, stars_min, since, until, score_min, score_max } = this.wish;
    return [model || fingerprint, prompt_digest, search, stars_min, since, until, score_min, score_max].filter(Boolean).length;
  }

  /** Remove all filters except the states. */
  clear() {
    clearTimeout(this.searching);
    const { sort, order, quantity, state, ranked } = this.wish;
    this.#set({ ...EVERYTHING, sort, order, quantity, state, ranked });
  }

  /** List only the images whose scores compare with this one's: of its prompt and settings. @param {Row} row */
  narrow({ fingerprint, prompt_digest }) {
    this.#set({ model: "", fingerprint, prompt_digest: prompt_digest ?? "" });
  }

  /** Fill the choice "Made with". @param {Settings[]} all */
  know(all) {
    /** @type {Map<string, Settings[]>} */
    const models = new Map();
    for (const each of all) models.set(each.model, [...(models.get(each.model) ?? []), each]);
    const groups = [...models].map(([model, settings]) => {
      const name = model || t("Unknown model");
      const options = settings.map(({ fingerprint, label, images }) =>
        h("option", { value: `fingerprint:${fingerprint}` }, `${label} · ${count(images)}`),
      );
      // Scores can be compared only within the same settings; a whole model is for browsing.
      if (model && options.length > 1) options.unshift(h("option", { value: `model:${model}` }, t("{model}, all settings", { model: name })));
      return h("optgroup", { label: name }, ...options);
    });
    this.settings.replaceChildren(this.settings.options[0], ...groups);
    this.#showSettings(); // only this, because a run may end while the user types into a field
  }

  /** @param {Partial<Wish>} part */
  #set(part) {
    Object.assign(this.wish, part);
    this.#show();
    this.changed();
  }

  #show() {
    const { wish } = this;
    this.sort.value = `${wish.sort} ${wish.order}`;
    this.quantity.value = wish.quantity;
    this.ranked.value = wish.ranked;
    this.#showSettings();
    const shown = wish.state.split(",");
    for (const { name, button } of this.states) button.setAttribute("aria-pressed", String(shown.includes(name)));
    this.stars.value = wish.stars_min;
    if (document.activeElement !== this.search) this.search.value = wish.search; // a space at the end may be about to get a word
    for (const { input, name } of Object.values(this.fields)) input.value = wish[name];
    this.mark.textContent = this.filters ? tn(this.filters, "{count} set", "{count} set") : "";
    this.reset.disabled = this.filters === 0;
  }

  #showSettings() {
    const { model, fingerprint } = this.wish;
    this.settings.value = fingerprint ? `fingerprint:${fingerprint}` : model ? `model:${model}` : "";
  }

  /** @param {string} label @param {Record<string, string>} options @param {(value: string) => void} chosen */
  #choice(label, options, chosen) {
    const select = h("select", { "aria-label": label, title: label });
    select.append(...Object.entries(options).map(([value, text]) => h("option", { value }, text)));
    select.addEventListener("change", () => chosen(select.value));
    return select;
  }

  /** @param {string} text @param {string} type @param {"since" | "until" | "score_min" | "score_max"} name */
  #field(text, type, name) {
    const input = h("input", { type, step: "any" });
    input.addEventListener("change", () => this.#set({ [name]: input.value }));
    return { input, name, label: h("label", {}, h("span", {}, text), input) };
  }
}
