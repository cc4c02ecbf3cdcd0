/** What can be done in the culling view: one table gives the keys, the buttons and the list of keys. */

import { overlayDialog } from "../shared/dialog.js";
import { h, write } from "../shared/dom.js";
import { t } from "../shared/texts.js";

/**
 * @typedef {{
 *   keys: string[], sign?: Text, word?: Text, label: string, bar?: string, run: (key: string) => void,
 *   off?: () => string, shown?: () => boolean, pressed?: () => boolean
 * }} Command `sign` and `word` are on its button, which is in the toolbar `bar`; without one it has keys alone. `off` says why it
 *   cannot be done now, empty if it can
 * @typedef {string | (() => string)} Text
 */

// Bars whose keys go on to the next image: one that is held down does not decide on those that nobody has seen.
const JUDGING = ["decide", "stars"];
/** @type {Record<string, string>} */
const KEY_SIGNS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };
const MOUSE = [
  [t("wheel, pinch"), t("Zoom")],
  [t("double click"), t("1:1 and back")],
  [t("drag"), t("Move the enlarged picture; otherwise swipe to the next image")],
];

export class Commands {
  /** @param {Command[]} commands the last one closes the view @param {(why: string) => void} refuse told why a command cannot be done */
  constructor(commands, refuse) {
    this.refuse = refuse;
    const help = { keys: ["F1", "?"], sign: "?", label: t("List of keys"), bar: "view", run: () => this.#help() };
    /** @type {Command[]} */
    this.commands = [...commands.slice(0, -1), help, ...commands.slice(-1)];
    /** @type {Map<Command, {button: HTMLButtonElement, sign: HTMLElement, word: HTMLElement}>} */
    this.made = new Map();
  }

  /** The buttons of a toolbar. @param {string} bar */
  buttons(bar) {
    return this.commands.filter((command) => command.bar === bar).map((command) => this.#button(command));
  }

  /** @param {Command} command */
  #button(command) {
    const { keys, label } = command;
    const title = keys.length ? `${label} (${keys.map(signOf).join(", ")})` : label;
    const sign = h("span", { "aria-hidden": "true" });
    const word = h("span", { className: "unc-culling-word" });
    const onclick = () => this.#run(command, "");
    const button = h("button", { type: "button", className: "unc-button unc-culling-button", title, "aria-label": label, onclick }, sign, word);
    this.made.set(command, { button, sign, word });
    return button;
  }

  /** Bring the buttons up to date. They are never disabled, because a disabled button would lose the focus. */
  show() {
    for (const [command, { button, sign, word }] of this.made) {
      const hidden = command.shown?.() === false;
      if (hidden && button === document.activeElement) button.closest("dialog")?.focus(); // first: hiding takes the focus away
      if (button.hidden !== hidden) button.hidden = hidden;
      attribute(button, "aria-disabled", Boolean(command.off?.()));
      if (command.pressed) attribute(button, "aria-pressed", command.pressed());
      write(sign, read(command.sign));
      write(word, read(command.word));
    }
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const name = event.key.length === 1 ? event.key.toUpperCase() : event.key;
    const key = event.shiftKey && name.startsWith("Arrow") ? `Shift ${name}` : name;
    const found = this.commands.find(({ keys, shown }) => keys.includes(key) && shown?.() !== false);
    if (!found || (key === "Enter" && event.target instanceof HTMLButtonElement)) return;
    event.preventDefault();
    if (event.repeat && JUDGING.includes(found.bar ?? "")) return;
    this.#run(found, key);
  }

  /** @param {Command} command @param {string} key */
  #run({ off, run }, key) {
    const why = off?.();
    if (why) this.refuse(why);
    else run(key);
  }

  #help() {
    const row = (/** @type {(Node | string)[]} */ how, /** @type {string} */ what) => h("tr", {}, h("th", { scope: "row" }, ...how), h("td", {}, what));
    const keyed = this.commands.filter(({ keys, shown }) => keys.length && shown?.() !== false);
    const rows = keyed.map(({ keys, label }) => row(keys.map((key) => h("kbd", {}, signOf(key))), label));
    const table = h("table", {}, ...rows, ...MOUSE.map(([how, what]) => row([how], what)));
    const dialog = overlayDialog(t("Keys"), h("div", { className: "unc-culling-keys" }, h("h2", {}, t("Keys")), table));
    dialog.addEventListener("keydown", (event) => {
      if (!["F1", "?"].includes(event.key)) return;
      event.preventDefault();
      dialog.close();
    });
  }
}

/** @param {HTMLElement} element @param {string} name @param {boolean} value */
function attribute(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** @param {Text} [text] */
function read(text = "") {
  return typeof text === "function" ? text() : text;
}

/** @param {string} key */
function signOf(key) {
  const [name, shift] = key.split(" ").reverse();
  return `${shift ? "⇧" : ""}${KEY_SIGNS[name] ?? name}`;
}
