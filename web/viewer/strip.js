/** The images of a batch as a row of small pictures with their scores. */

import { stepButton } from "../shared/dialog.js";
import { h, reveal } from "../shared/dom.js";
import { towards } from "../shared/keys.js";
import { measured } from "../shared/numbers.js";
import { t } from "../shared/texts.js";
import { keepWheel } from "../shared/wheel.js";

/** @param {(by: number) => void} browse moves by that many images */
export function batchStrip(browse) {
  const list = h("div", { className: "unc-badges", role: "listbox", "aria-label": t("Images of the batch") });
  const element = h(
    "div",
    { className: "unc-strip" },
    stepButton("‹", t("Previous image"), () => browse(-1)),
    list,
    stepButton("›", t("Next image"), () => browse(1)),
  );
  let shown = 0;
  list.addEventListener("keydown", (event) => {
    const by = towards(event);
    if (!by) return;
    browse(by);
    /** @type {HTMLElement} */ (list.children[shown]).focus({ preventScroll: true });
  });
  const wheelBack = keepWheel(list, "row");
  return {
    element,
    /**
     * @param {{value: number, error: number}[]} scores
     * @param {number} current
     * @param {(image: number) => string | null} picture URL of an image's small picture, if there is one
     */
    show(scores, current, picture) {
      shown = current;
      element.hidden = scores.length < 2;
      while (list.children.length > scores.length) list.lastElementChild?.remove();
      while (list.children.length < scores.length) {
        const image = list.children.length;
        const small = h("img", { alt: "", draggable: false, loading: "lazy", decoding: "async" });
        list.append(h("button", { type: "button", role: "option", onclick: () => browse(image - shown) }, small, h("b"), h("span")));
      }
      scores.forEach(({ value, error }, image) => {
        const badge = /** @type {HTMLElement} */ (list.children[image]);
        badge.setAttribute("aria-selected", String(image === current));
        badge.tabIndex = image === current ? 0 : -1;
        const [small, number, text] = badge.children;
        const url = picture(image);
        /** @type {HTMLElement} */ (small).hidden = !url;
        if (url && small.getAttribute("src") !== url) small.setAttribute("src", url);
        const label = t("Image {image}, score {score}", { image, score: measured(value, error) });
        if (badge.getAttribute("aria-label") === label) return; // writing the same text would trigger a new layout
        badge.setAttribute("aria-label", label);
        const [score, margin] = measured(value, error).split(" ± ");
        number.textContent = `${image}`;
        text.replaceChildren(score, ...(margin ? [h("small", {}, `± ${margin}`)] : []));
      });
      reveal(list, /** @type {HTMLElement} */ (list.children[current]));
    },
    destroy: wheelBack,
  };
}
