/**
 * The library: lists the ledger's images, sorts and filters them, and moves rejected ones away or back. It is shown in the sidebar and
 * on a page of its own, which differ in what `Host` says.
 */

import { h } from "../shared/dom.js";
import { MOST_STARS } from "../shared/said.js";
import { LANGUAGE, count, t, tn } from "../shared/texts.js";
import { Controls } from "./controls.js";
import { cullRows } from "./culling.js";
import { Grid } from "./grid.js";
import { openMenu } from "./menu.js";
import { act, inWords, settings } from "./query.js";
import { Rows } from "./rows.js";
import { starsInWords } from "./verdicts.js";
import { images, path, progress } from "./words.js";

/**
 * @typedef {import("./query.js").Row} Row
 * @typedef {"reject" | "restore" | "take-off" | "put-back"} Action
 * @typedef {import("./verdicts.js").Said} Said
 * @typedef {import("./menu.js").Command} Command
 * @typedef {{
 *   onChange: (listener: () => void) => () => void, commands: (row: Row) => Command[], page?: string
 * }} Host `onChange` calls back when there may be new images and returns what stops it; `commands` can be done with one image there,
 *   and what they throw or are rejected with is shown; `page` is the URL of the library's own page, unless this is it
 */

const NAME = "Uncertainty"; // in every language, as the tab is called
const OTHER = /** @type {const} */ ({ reject: "restore", restore: "reject", "take-off": "put-back", "put-back": "take-off" });
/** What is going on with how many images. @type {Record<Action, (images: string) => string>} */
const DOING = {
  reject: (images) => t("Moving to rejected: {images} …", { images }),
  restore: (images) => t("Restoring: {images} …", { images }),
  "take-off": (images) => t("Removing from the list: {images} …", { images }),
  "put-back": (images) => t("Putting back: {images} …", { images }),
};
/** What was done with how many. @type {Record<Action, (images: string) => string>} */
const DONE = {
  reject: (images) => t("Moved to rejected: {images}", { images }),
  restore: (images) => t("Restored: {images}", { images }),
  "take-off": (images) => t("Removed from the list, files untouched: {images}", { images }),
  "put-back": (images) => t("On the list again: {images}", { images }),
};
const LISTED = 50; // failures that are listed by name

export class Library {
  /** @param {Host} host */
  constructor(host) {
    this.host = host;
    this.rows = new Rows(() => this.controls.wish);
    this.controls = new Controls(() => this.#asked());
    this.grid = new Grid({
      more: () => this.#more(),
      chosen: () => this.#showChoice(),
      all: () => this.#chooseAll(),
      open: (index) => this.#enlarge(index),
      judge: (rows, said) => this.#judge(rows, said),
      menu: (x, y) => this.#menu(x, y),
      section: (row) => (this.controls.wish.sort === "prompt" ? { key: row.prompt_digest ?? "", title: row.prompt ?? t("Prompt without text") } : null),
    });
    /** @type {ReturnType<typeof cullRows> | null} */
    this.culling = null;
    /** While rows are moved or all are being selected, the list is not refreshed. */
    this.busy = false;
    this.missed = false;
    /** How many verdicts the server does not know yet. */
    this.unsaid = 0;
    /** How many times the list is being loaded again. */
    this.refreshing = 0;
    /** Verdicts are sent one after the other. @type {Promise<unknown>} */
    this.saying = Promise.resolve();
    this.status = h("span", { role: "status" });
    this.everything = button(t("Select all"), () => this.#chooseAll());
    this.more = button(t("More …"), () => this.#menuBelow(this.more), "unc-ledger-more");
    this.more.setAttribute("aria-haspopup", "menu");
    this.error = h("div", { className: "unc-ledger-error", role: "alert", hidden: true });
    this.hint = h("p", { className: "unc-ledger-hint", hidden: true }, t("Scores compare only within one prompt and the same settings. Select an image and press Only this prompt."));
    this.empty = h("div", { className: "unc-ledger-empty", hidden: true });
    this.gone = h("div", { className: "unc-ledger-bar unc-ledger-done", role: "status", hidden: true });
    this.choice = h("div", { className: "unc-ledger-bar", role: "toolbar", "aria-label": t("Selected images"), hidden: true });
    this.done = h("div", { className: "unc-ledger-bar unc-ledger-done", role: "status", hidden: true });
    this.element = h(
      "section",
      { className: "unc unc-ledger", lang: LANGUAGE, "aria-label": NAME },
      h("header", {}, h("h2", {}, NAME), this.status, this.everything, ...pageLink(host.page)),
      this.controls.element,
      this.hint,
      this.error,
      this.empty,
      this.grid.element,
      this.gone,
      this.done,
      this.choice,
    );
    // Keys pressed here must not trigger ComfyUI's shortcuts.
    for (const kind of ["keydown", "keyup", "keypress", "copy", "paste"]) this.element.addEventListener(kind, (event) => event.stopPropagation());
  }

  /** @param {HTMLElement} home */
  open(home) {
    home.classList.add("unc-ledger-home");
    home.append(this.element);
    this.grid.attached();
    this.#refresh();
    const stop = this.host.onChange(() => this.#refresh());
    return () => {
      stop();
      this.element.remove();
    };
  }

  /** The wish changed: clear the selection, which may be out of view, and start from the top. */
  async #asked() {
    this.grid.selection.clear();
    this.#showChoice();
    await this.saying;
    if (await this.#load(() => this.rows.start())) {
      this.grid.toTop();
      this.#show();
    }
  }

  /** Load the list again, to show new images. */
  async #refresh() {
    this.missed = this.busy || this.unsaid > 0;
    if (this.missed) return;
    this.refreshing++;
    const known = await this.#load(async () => {
      this.known = await settings();
      this.controls.know(this.known);
      return true;
    });
    if (known && (await this.#load(() => this.rows.start(this.grid.end)))) this.#show();
    this.refreshing--;
  }

  async #more() {
    if (this.rows.next && (await this.#load(() => this.rows.more()))) {
      this.grid.extend(this.rows.list, this.rows.total);
      this.#showGone();
      this.culling?.refresh();
    }
  }

  /**
   * Load from the server and show any error.
   *
   * @param {() => Promise<boolean>} question
   */
  async #load(question) {
    try {
      const answered = await question();
      if (answered) this.error.hidden = true;
      return answered;
    } catch (error) {
      this.error.replaceChildren(h("span", {}, inWords(error)), button(t("Try again"), () => this.#refresh()));
      this.error.hidden = false;
      return false;
    }
  }

  #show() {
    const { total, list } = this.rows;
    this.grid.show(list, total);
    this.controls.counted(this.rows.counts);
    this.grid.element.hidden = total === 0;
    this.empty.hidden = total > 0;
    this.everything.disabled = total === 0;
    const { wish, filters } = this.controls;
    this.hint.hidden = wish.sort !== "score" || list.every((row) => comparable(row, list[0]));
    if (total === 0) this.empty.replaceChildren(...this.#whyEmpty(filters));
    this.#showGone();
    this.#showChoice();
    this.culling?.refresh();
  }

  /** Say how many files are gone, as far as the list is loaded, and offer to clean up. */
  #showGone() {
    const gone = this.rows.list.filter((row) => row.missing).length;
    this.gone.hidden = gone === 0;
    const text = h("span", {}, tn(gone, "The file of {count} image is gone.", "The files of {count} images are gone."));
    this.gone.replaceChildren(text, button(t("Remove from the list"), () => this.#cleanUp()));
  }

  /** Take every image off the list whose file is gone, also those that are not loaded yet. */
  async #cleanUp() {
    if (!(await this.#loadAll())) return;
    const gone = this.rows.list.filter((row) => row.missing);
    await this.#do("take-off", gone, { only_missing: true });
  }

  /** The commands for the selected images. @returns {Command[]} */
  #commands() {
    const chosen = [...this.grid.selection.rows.values()];
    const [first] = chosen;
    /** @type {Command[]} */
    const commands = [{
      text: chosen.length > 1 ? t("Remove {count} from the list", { count: count(chosen.length) }) : t("Remove from the list"),
      run: () => this.#do("take-off", chosen),
    }];
    const { prompt } = first;
    // Browsers have no clipboard for pages that come from another computer without https.
    if (prompt && navigator.clipboard && chosen.every((row) => row.prompt === prompt)) {
      commands.unshift({ text: t("Copy prompt"), run: () => this.#try(() => navigator.clipboard.writeText(prompt)) });
    }
    if (chosen.length === 1 && !first.missing) {
      commands.unshift(...this.host.commands(first).map(({ text, run }) => ({ text, run: () => this.#try(run) })));
    }
    return commands;
  }

  /** @param {number} x @param {number} y place in the window */
  #menu(x, y) {
    openMenu(t("Selected images"), this.#commands(), x, y);
  }

  /** @param {HTMLElement} element */
  #menuBelow(element) {
    const { left, bottom } = element.getBoundingClientRect();
    this.#menu(left, bottom);
  }

  /** Do something that may fail, and say why. @param {() => unknown} what */
  async #try(what) {
    try {
      await what();
    } catch (error) {
      this.#report(inWords(error), [], [], new Map());
    }
  }

  /** @param {number} filters */
  #whyEmpty(filters) {
    if (filters) return [h("p", {}, t("No images match these filters.")), button(t("Clear filters"), () => this.controls.clear())];
    if (!this.known?.some((each) => each.images > 0)) {
      return [
        h("p", {}, t("No saved images yet.")),
        h("p", {}, t("Replace “Save Image” with “Save Image (Uncertainty)” and connect the sampler’s output “uncertainty” to it. Every image it saves is listed here with its score.")),
      ];
    }
    return [h("p", {}, t("No images in these states. Others are counted above."))];
  }

  #showChoice() {
    const chosen = [...this.grid.selection.rows.values()];
    const away = chosen.filter((row) => row.away);
    const here = chosen.filter((row) => !row.away);
    this.status.textContent = chosen.length ? t("{count} of {total} selected", { count: count(chosen.length), total: count(this.rows.total) }) : images(this.rows.total);
    this.choice.hidden = chosen.length === 0;
    const buttons = [];
    if (here.length) buttons.push(button(t("Move {count} to rejected", { count: count(here.length) }), () => this.#do("reject", here), "unc-ledger-main"));
    if (away.length) buttons.push(button(t("Restore {count}", { count: count(away.length) }), () => this.#do("restore", away), "unc-ledger-main"));
    const [first] = chosen;
    const narrowed = Boolean(this.controls.wish.prompt_digest && this.controls.wish.fingerprint);
    if (first?.prompt_digest && !narrowed && chosen.every((row) => comparable(row, first))) {
      buttons.push(button(t("Only this prompt"), () => this.controls.narrow(first)));
    }
    buttons.push(button(t("Deselect"), () => this.#chooseNone()), this.more);
    for (const each of buttons) each.disabled = this.busy;
    this.choice.replaceChildren(...this.#verdictButtons(chosen), ...buttons);
    this.grid.mark();
  }

  /** Buttons for what the keys P, X, U and 0 to 5 say. @param {Row[]} chosen */
  #verdictButtons(chosen) {
    const all = (/** @type {(row: Row) => unknown} */ of) => chosen.every((row) => of(row) === of(chosen[0])) && chosen.length > 0;
    const states = /** @type {const} */ ([[t("✓ Keep"), "kept", "P"], [t("✕ Reject"), "rejected", "X"], [t("Undecided"), "unreviewed", "U"]]);
    const verdicts = states.map(([text, state, key]) => {
      const each = button(text, () => this.#judge(chosen, { state }));
      each.title = t("Key {key}", { key });
      each.setAttribute("aria-pressed", String(all((row) => row.state) && chosen[0].state === state));
      return each;
    });
    const given = all((row) => row.stars) ? chosen[0].stars : 0;
    const stars = Array.from({ length: MOST_STARS }, (_, index) => {
      const value = index + 1;
      const each = button(value <= given ? "★" : "☆", () => this.#judge(chosen, { stars: value === given ? 0 : value }), "unc-ledger-star");
      each.title = value === given ? t("Remove the stars (key 0)") : t("Key {key}", { key: value });
      each.setAttribute("aria-label", starsInWords(value));
      each.setAttribute("aria-pressed", String(value === given));
      return each;
    });
    return [...verdicts, h("span", { className: "unc-ledger-rating", role: "group", "aria-label": t("Stars") }, ...stars)];
  }

  #chooseNone() {
    this.grid.selection.clear();
    this.#showChoice();
    this.grid.element.focus({ preventScroll: true });
  }

  /** Select all images that match the filters, including those not loaded yet. */
  async #chooseAll() {
    if (await this.#loadAll()) this.grid.selection.all(this.rows.list);
    this.#showChoice();
    if (this.missed) this.#refresh();
  }

  /** Load all images that match the filters. @returns {Promise<boolean>} whether that succeeded */
  async #loadAll() {
    if (this.busy) return false;
    this.busy = true;
    const { generation } = this.rows;
    let loaded = true;
    while (loaded && this.rows.next && generation === this.rows.generation) {
      this.status.textContent = t("Loading {images} …", { images: progress(this.rows.list.length, this.rows.total) });
      loaded = await this.#load(() => this.rows.more());
    }
    this.busy = false;
    const whole = loaded && generation === this.rows.generation;
    if (whole) this.grid.extend(this.rows.list, this.rows.total);
    return whole;
  }

  /** @param {Action} action @param {Row[]} rows @param {{only_missing: true} | {}} [more] of the request */
  async #do(action, rows, more = {}) {
    if (this.busy) return;
    this.busy = true;
    this.#showChoice();
    const byId = new Map(rows.map((row) => [row.id, row]));
    this.#say(h("span", {}, DOING[action](images(rows.length))));
    await this.saying;
    const { done, failed } = await act(action, [...byId.keys()], (done) => {
      this.#say(h("span", {}, DOING[action](progress(done, rows.length))));
    }, more);
    this.busy = false;
    for (const id of done) this.grid.selection.rows.delete(id);
    const doneRows = done.flatMap((id) => byId.get(id) ?? []);
    const success = DONE[action](images(done.length));
    const told = failed.length ? t("{success}, not moved: {count}", { success, count: count(failed.length) }) : success;
    this.#report(told, done.length ? [button(t("Undo"), () => this.#do(OTHER[action], doneRows))] : [], failed, byId);
    await this.#refresh();
    this.#showChoice();
  }

  /**
   * Say something of images: shown at once, and sent to the server in the order of the keys.
   *
   * @param {Row[]} rows
   * @param {Said} said
   * @returns {Promise<{id: number, reason: string}[]>} images that could not be changed
   */
  #judge(rows, said) {
    const before = new Map(rows.map((row) => [row.id, row]));
    this.#changed(rows.map((row) => ({ ...row, .../** @type {Partial<Row>} */ (said) })));
    this.unsaid++;
    if (this.refreshing) {
      this.rows.generation++; // those rows may have been read before the verdict
      this.missed = true;
    }
    const answered = this.saying.then(async () => {
      const { failed } = await act("judge", [...before.keys()], undefined, said);
      this.unsaid--;
      if (failed.length) {
        this.#changed(failed.flatMap(({ id }) => before.get(id) ?? []));
        this.#report(t("Not changed: {images}", { images: images(failed.length) }), [], failed, before);
      }
      if (this.missed) this.#refresh();
      return failed;
    });
    this.saying = answered;
    return answered;
  }

  /** Show changed rows. @param {Row[]} rows */
  #changed(rows) {
    this.rows.replace(rows);
    this.culling?.refresh();
    this.grid.selection.renew(rows);
    this.grid.show(this.rows.list, this.rows.total);
    this.controls.counted(this.rows.counts);
    this.#showChoice();
  }

  /**
   * Say what was done, and name the images for which it failed.
   *
   * @param {string} text
   * @param {HTMLElement[]} buttons
   * @param {{id: number, reason: string}[]} failed
   * @param {Map<number, Row>} byId
   */
  #report(text, buttons, failed, byId) {
    const close = button("×", () => (this.done.hidden = true), "unc-ledger-x");
    close.setAttribute("aria-label", t("Close this message"));
    const named = failed.slice(0, LISTED).map(({ id, reason }) => {
      const row = byId.get(id);
      return h("li", {}, `${row ? path(row) : t("image {image}", { image: id })}: ${reason}`);
    });
    if (failed.length > LISTED) named.push(h("li", {}, t("and {count} more", { count: count(failed.length - LISTED) })));
    this.#say(h("span", {}, text), ...buttons, close, ...(named.length ? [h("ul", {}, ...named)] : []));
  }

  /** @param {...HTMLElement} what */
  #say(...what) {
    this.done.replaceChildren(...what);
    this.done.hidden = false;
  }

  /** Look at the listed images one by one, from the active one on. @returns {Promise<boolean>} whether there are any @throws {Error} the list could not be loaded */
  async cull() {
    if (!this.element.isConnected || !this.rows.list.length) await this.#refresh();
    if (!this.error.hidden) throw new Error(this.error.firstElementChild?.textContent ?? "");
    if (!this.rows.list.length) return false;
    this.#enlarge(Math.max(0, this.rows.list.findIndex(({ id }) => id === this.grid.active)));
    return true;
  }

  /** @param {number} index */
  #enlarge(index) {
    this.culling = cullRows(() => this.rows.list, this.rows.list[index], {
      shown: (at) => {
        this.grid.activate(at);
        if (at >= this.rows.list.length - 2) this.#more();
      },
      judge: async (row, said) => {
        const [failed] = await this.#judge([row], said);
        if (failed) throw new Error(`${path(row)}: ${failed.reason}`); // the list's own message is behind the view
      },
    });
  }
}

/** Whether the scores of two images compare. @param {Row} one @param {Row} other */
function comparable(one, other) {
  return one.prompt_digest === other.prompt_digest && one.fingerprint === other.fingerprint;
}

/** @param {string} [href] */
function pageLink(href) {
  const title = t("Open on a page of its own: for a second monitor or a phone");
  return href ? [h("a", { className: "unc-ledger-button", href, target: "_blank", title, "aria-label": title }, "↗")] : [];
}

/** @param {string} text @param {() => void} pressed @param {string} [kind] */
function button(text, pressed, kind = "") {
  return h("button", { type: "button", className: `unc-ledger-button ${kind}`, onclick: pressed }, text);
}
