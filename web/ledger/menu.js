/** The commands for images, in a menu at the pointer or at the card with the focus. */

import { h } from "../shared/dom.js";
import { towards } from "../shared/keys.js";
import { LANGUAGE } from "../shared/texts.js";

/** @typedef {{text: string, run: () => void}} Command */

/**
 * Open the menu. Escape, a click outside or a command closes and removes it; the browser then gives the focus back.
 *
 * @param {string} label
 * @param {Command[]} commands
 * @param {number} x @param {number} y place in the window
 */
export function openMenu(label, commands, x, y) {
  const items = commands.map(({ text, run }) =>
    h("button", { type: "button", role: "menuitem", onclick: () => {
      menu.hidePopover();
      run();
    } }, text),
  );
  const menu = h("div", { className: "unc unc-ledger-menu", lang: LANGUAGE, role: "menu", "aria-label": label, popover: "auto" }, ...items);
  menu.addEventListener("toggle", (event) => /** @type {ToggleEvent} */ (event).newState === "closed" && menu.remove());
  menu.addEventListener("contextmenu", (event) => event.preventDefault());
  menu.addEventListener("keydown", (event) => {
    event.stopPropagation(); // no ComfyUI shortcuts
    const by = towards(event);
    const at = items.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    if (by) items[(at + by + items.length) % items.length].focus();
    else if (event.key === "Tab") menu.hidePopover();
  });
  document.body.append(menu);
  menu.showPopover();
  menu.style.left = `${Math.max(0, Math.min(x, innerWidth - menu.offsetWidth))}px`;
  menu.style.top = `${Math.max(0, Math.min(y, innerHeight - menu.offsetHeight))}px`;
  items[0].focus();
}
