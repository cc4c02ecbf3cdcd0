/**
 * The culling view: the pictures of a list in the whole window, looked at and decided one after the other.
 *
 * Any list of pictures can open it. The view keeps nothing that the list knows: it asks for each image whenever it shows it, and when
 * something changed, such as a verdict that was carried out, the list calls `refresh`. A list that grows while it is looked at loads
 * more in `shown` and calls `refresh` too. An image that leaves the list makes room for the next. In a few lines:
 *
 *     this.culling = openCulling(
 *       {
 *         name: "Recorded images",
 *         ids: () => rows.map((row) => row.id),
 *         item: (id) => ({ id, name: path(row), small, large, facts: [rank(row), score(row)], kept: !row.rejected, byHand: null }),
 *         verdicts: {
 *           undecided: "Leave it without a verdict, and go on",
 *           locked: () => "",
 *           decide: (id, verdict) => …, // may return a promise; what it is rejected with is shown
 *         }, // without them, there is nothing to decide
 *         star: (id, stars) => …, // without it, the view has no stars
 *         shown: (id) => …,
 *         closed: (id) => …, // gives the focus to the card of the image seen last
 *       },
 *       id,
 *     );
 */

import { modalDialog } from "../shared/dialog.js";
import { h, write } from "../shared/dom.js";
import { MOST_STARS } from "../shared/said.js";
import { t, tn } from "../shared/texts.js";
import { Commands } from "./commands.js";
import { Lineup, MOST } from "./lineup.js";
import { source } from "./pane.js";
import { picture } from "./pictures.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { details, mark, summary } from "./words.js";

/**
 * @typedef {string | number} Id
 * @typedef {import("../shared/said.js").Verdict} Verdict null: not decided by hand
 * @typedef {{
 *   name: string, label: string, url: string, why?: () => Promise<string>, opacity?: number, paint?: () => Promise<Painted | null>
 * }} Overlay a map to lay over the picture; `why` says why it could not be loaded; `paint` draws what has no file, and `url` then only
 *   names it
 * @typedef {{element: HTMLElement, read?: (u: number, v: number) => string}} Painted a canvas, or a picture; `read` tells the value at a point, from 0 to 1
 * @typedef {{
 *   id: Id, name: string, small: string, large: string, clip?: string, facts: string[], kept: boolean | null, byHand: Verdict,
 *   prompt?: string, seed?: string, stars?: number, maps?: Overlay[]
 * }} Item an image: URLs of its picture, small and large, empty if there is none, and of the clip that plays instead; what is said of
 *   it, such as rank and score; whether it is kept, null if nothing is known yet
 * @typedef {{undecided: string, locked: () => string, decide: (id: Id, verdict: Verdict) => unknown}} Verdicts `undecided` says what U
 *   does; `locked` says why nothing can be decided, empty if it can
 * @typedef {{
 *   name: string, ids: () => Id[], item: (id: Id, quantity: string) => Item, verdicts?: Verdicts, star?: (id: Id, stars: number) => unknown,
 *   shown?: (id: Id) => void, closed?: (id: Id) => void, map?: string
 * }} List `map` is the quantity of the map that is shown at first; `item` is told which quantity is shown
 */

/**
 * Open the view. It closes by itself when the list becomes empty.
 *
 * @param {List} list not empty
 * @param {Id} first the image to start with
 * @returns {{refresh: () => void, close: () => void}}
 */
export function openCulling(list, first) {
  const view = new CullingView(list, first);
  return { refresh: () => view.refresh(), close: () => view.close() };
}

/** Whether maps are shown, and of which quantity: kept from one opening to the next, unless the list says it. */
const remembered = { on: false, quantity: "" };

class CullingView {
  /** @param {List} list @param {Id} first */
  constructor(list, first) {
    this.list = list;
    this.maps = list.map === undefined ? remembered : { on: true, quantity: list.map };
    this.lineup = new Lineup(list.ids(), first);
    /** The image looked at. */
    this.item = this.#ask(first);
    /** The image that the list was told of. @type {Id | null} */
    this.told = null;
    /** @type {Stage} */
    this.stage = new Stage({
      swipe: (by) => this.#go(by),
      pick: (pane) => this.#look(this.lineup.shown[pane]),
      changed: () => {
        this.#showPlace();
        this.commands.show();
      },
      actual: () => this.stage.current?.actual ?? NaN,
    });
    this.strip = new Strip((id) => this.#ask(id), (id) => this.#look(id));
    /** Why the last thing done did nothing; it stays until the next thing is done, even if the list changes meanwhile. */
    this.problem = "";
    this.commands = new Commands(this.#offered(), (why) => this.#complain(why));
    this.place = h("b", { className: "unc-culling-place" });
    this.status = h("p", { className: "unc-culling-status", role: "status", "aria-live": "polite" });
    this.details = h("p", { className: "unc-culling-details" });
    const bar = (/** @type {string} */ label, /** @type {string[]} */ ...names) =>
      h("div", { className: "unc-culling-bar", role: "toolbar", "aria-label": label }, ...names.flatMap((name) => this.commands.buttons(name)));
    this.dialog = modalDialog(
      "unc unc-culling",
      list.name,
      h("header", {}, this.place, bar(t("View"), "view")),
      this.stage.element,
      h("footer", {}, this.status, this.details, bar(t("Verdict"), "back", "decide", "on"), bar(t("Stars"), "stars"), this.strip.element),
    );
    this.dialog.addEventListener("keydown", (event) => this.commands.press(event));
    this.stage.element.addEventListener("pointermove", (event) => this.#read(event));
    this.stage.element.addEventListener("pointerleave", () => this.#showDetails());
    // The gesture that goes back on a phone.
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    this.dialog.addEventListener("close", () => this.strip.end());
    this.#show();
    this.strip.begin();
    this.stage.zoom.begin();
  }

  /** What can be done here, in the order of the buttons and of the list of keys. @returns {import("./commands.js").Command[]} */
  #offered() {
    return [...this.#browsing(), ...this.#deciding(), ...this.#stars(), ...this.#zooming(), ...this.#comparing(), ...this.#mapping(), { keys: ["Escape"], sign: "×", label: t("Close"), bar: "view", run: () => this.close() }];
  }

  /** @returns {import("./commands.js").Command[]} */
  #browsing() {
    return [
      { keys: ["ArrowLeft"], sign: "‹", label: t("Previous image"), bar: "back", run: () => this.#go(-1) },
      { keys: ["ArrowRight"], sign: "›", label: t("Next image"), bar: "on", run: () => this.#go(1) },
      { keys: ["Home"], label: t("First image"), run: () => this.#go(-Infinity) },
      { keys: ["End"], label: t("Last image"), run: () => this.#go(Infinity) },
    ];
  }

  /** @returns {import("./commands.js").Command[]} */
  #deciding() {
    const { verdicts } = this.list;
    if (!verdicts) return [];
    const decide = (/** @type {Verdict} */ verdict) => ({
      bar: "decide",
      run: () => this.#decide((id) => verdicts.decide(id, verdict)),
      off: () => verdicts.locked(),
      pressed: () => this.item.byHand === verdict,
    });
    return [
      { keys: ["P"], sign: "✓", word: t("Keep"), label: t("Keep it and go on"), ...decide("keep") },
      { keys: ["U"], sign: "○", word: t("Neither"), label: verdicts.undecided, ...decide(null) },
      { keys: ["X"], sign: "✕", word: t("Reject"), label: t("Reject it and go on"), ...decide("reject") },
    ];
  }

  /** @returns {import("./commands.js").Command[]} */
  #stars() {
    const { list } = this;
    if (!list.star) return [];
    return Array.from({ length: MOST_STARS + 1 }, (_, stars) => ({
      keys: [String(stars)],
      sign: () => (stars === 0 ? "–" : (this.item.stars ?? 0) >= stars ? "★" : "☆"),
      label: stars === 0 ? t("No stars, and go on") : tn(stars, "{count} star, and go on", "{count} stars, and go on"),
      bar: "stars",
      run: () => this.#decide((id) => list.star?.(id, stars)),
      off: () => list.verdicts?.locked() ?? "",
      pressed: () => (this.item.stars ?? 0) === stars,
    }));
  }

  /** @returns {import("./commands.js").Command[]} */
  #zooming() {
    const { zoom } = this.stage;
    /** @type {Record<string, [number, number]>} */
    const ways = { "Shift ArrowLeft": [1, 0], "Shift ArrowRight": [-1, 0], "Shift ArrowUp": [0, 1], "Shift ArrowDown": [0, -1] };
    return [
      { keys: ["Z"], sign: "⌕", word: "1:1", label: t("1:1, and back to the whole picture"), bar: "view", run: () => zoom.toggle(), pressed: () => zoom.enlarged },
      { keys: ["+", "="], label: t("Zoom in"), run: () => zoom.step(true) },
      { keys: ["-"], label: t("Zoom out"), run: () => zoom.step(false) },
      { keys: Object.keys(ways), label: t("Move the enlarged picture"), run: (key) => zoom.move(ways[key][0] / 6, ways[key][1] / 6) },
    ];
  }

  /** @returns {import("./commands.js").Command[]} */
  #comparing() {
    const { lineup } = this;
    const comparing = () => lineup.champion !== null;
    return [
      {
        keys: ["C"],
        sign: "◫",
        word: () => `${lineup.count}`,
        label: t("Compare side by side: one more each time, then one alone"),
        bar: "view",
        run: () => this.#compare(lineup.count < Math.min(MOST, lineup.ids.length) ? lineup.count + 1 : 1),
        pressed: comparing,
      },
      { keys: ["Enter"], sign: "♛", label: t("The challenger becomes the champion, which stays"), bar: "view", run: () => this.#crown(), shown: comparing },
      { keys: ["ArrowUp"], label: t("Look at the champion"), run: () => this.#look(/** @type {Id} */ (lineup.champion)), shown: comparing },
      { keys: ["ArrowDown"], label: t("Look at the challenger"), run: () => this.#look(lineup.challenger), shown: comparing },
    ];
  }

  /** @returns {import("./commands.js").Command[]} */
  #mapping() {
    return [
      { keys: ["M"], sign: "▦", word: t("Map"), label: t("Uncertainty map"), bar: "view", run: () => this.#map(!this.maps.on), shown: () => Boolean(this.#overlay && this.item.large), pressed: () => this.maps.on },
      {
        keys: ["Q"],
        word: () => this.#overlay?.label ?? "",
        sign: "⇄",
        label: t("Next quantity of the map"),
        bar: "view",
        run: () => this.#nextQuantity(),
        shown: () => this.maps.on && (this.item.maps?.length ?? 0) > 1,
      },
    ];
  }

  /** Ask the list again. */
  refresh() {
    if (!this.dialog.open) return;
    const ids = this.list.ids();
    if (!ids.length) {
      this.dialog.close();
      return;
    }
    this.lineup.renew(ids);
    this.#show(this.problem);
  }

  close() {
    if (!this.dialog.open) return;
    this.dialog.close();
    this.list.closed?.(this.lineup.id); // at once: the next key may already be meant for the card
  }

  /** @param {Id} id */
  #ask(id) {
    return this.list.item(id, this.maps.quantity);
  }

  /** The map of the image looked at, if it has one. */
  get #overlay() {
    return overlayOf(this.item, this.maps.quantity);
  }

  /** @param {number} by */
  #go(by) {
    this.lineup.go(by);
    this.#show();
  }

  /** @param {Id} id */
  #look(id) {
    if (id === this.lineup.id) return;
    this.lineup.look(id);
    this.#show();
  }

  /** @param {number} count */
  #compare(count) {
    this.lineup.compare(count);
    this.#show();
  }

  #crown() {
    this.lineup.crown();
    this.#show();
  }

  /** @param {boolean} on */
  #map(on) {
    this.maps.on = on;
    this.#show();
  }

  #nextQuantity() {
    const names = (this.item.maps ?? []).map(({ name }) => name);
    this.maps.quantity = names[(names.indexOf(this.#overlay?.name ?? "") + 1) % names.length];
    this.#show();
  }

  /** Decide on the image looked at, and go on; the champion stays. @param {(id: Id) => unknown} action */
  async #decide(action) {
    const { id, champion } = this.lineup;
    if (id !== champion) this.lineup.go(1); // first, because the image may leave the list
    try {
      const done = action(id);
      this.#show();
      await done;
    } catch (error) {
      this.#complain(/** @type {Error} */ (error).message);
    }
  }

  /** @param {string} problem */
  #complain(problem) {
    this.problem = problem;
    write(this.status, problem);
  }

  /** @param {Item} item that may be looked at next */
  #fetchAhead(item) {
    const url = source(item, this.maps.on && Boolean(item.maps?.length));
    if (url) picture(url);
  }

  /** Say what the map tells at the pointer. @param {PointerEvent} event */
  #read(event) {
    const pane = this.stage.panes.find(({ element }) => element.contains(/** @type {Node} */ (event.target)));
    const read = pane?.read(event);
    if (read) write(this.details, read);
    else this.#showDetails();
  }

  #showDetails() {
    write(this.details, details(this.item));
  }

  #showPlace() {
    const { ids, index } = this.lineup;
    const { scale, enlarged } = this.stage.zoom;
    const actual = this.stage.current?.actual ?? NaN;
    const percent = enlarged && actual > 0 ? ` · ${Math.round((100 * scale) / actual)} %` : "";
    write(this.place, `${t("{number} of {count}", { number: index + 1, count: ids.length })}${percent}`);
  }

  /** @param {string} [problem] that is still said */
  #show(problem = "") {
    this.problem = problem;
    const { ids, id, index, shown, champion } = this.lineup;
    this.item = this.#ask(id);
    const items = shown.map((each) => (each === id ? this.item : this.#ask(each)));
    const caption = (/** @type {Item} */ item) => [item.id === champion && t("champion"), item.name, mark(item)].filter(Boolean).join(" · ");
    this.stage.show(
      items.map((item) => ({ item, caption: champion === null ? "" : caption(item), overlay: this.maps.on ? overlayOf(item, this.maps.quantity) : null, current: item.id === id })),
    );
    this.#showPlace();
    write(this.status, problem || summary(this.item, index, ids.length));
    this.#showDetails();
    this.strip.show(ids, index, new Set(shown.map((each) => ids.indexOf(each))));
    this.commands.show();
    for (const near of [index + 1, index - 1]) if (ids[near] !== undefined) this.#fetchAhead(this.#ask(ids[near]));
    const told = this.told === id;
    this.told = id; // first, because the list may refresh the view
    if (!told) this.list.shown?.(id);
  }
}

/** The map of a quantity, or the first. @param {Item} item @param {string} quantity @returns {Overlay | null} */
function overlayOf({ maps = [] }, quantity) {
  return maps.find(({ name }) => name === quantity) ?? maps[0] ?? null;
}
