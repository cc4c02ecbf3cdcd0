/** Pictures that were shown last or come next, decoded, so that they appear at once. */

import { h } from "../shared/dom.js";

// The images side by side, their neighbours, and those passed a moment ago.
const KEPT = 16;

/** @typedef {{image: HTMLImageElement, ready: Promise<boolean>, done: boolean}} Picture `ready` is false if it cannot be loaded */

/** In the order of their last use. @type {Map<string, Picture>} */
const kept = new Map();

/** @param {string} url @returns {Picture} */
export function picture(url) {
  const found = kept.get(url) ?? load(url);
  kept.delete(url);
  kept.set(url, found);
  for (const [old, { image }] of kept) {
    if (kept.size <= KEPT) break;
    kept.delete(old);
    if (!image.isConnected) image.removeAttribute("src"); // which stops loading it
  }
  return found;
}

/** @param {string} url @returns {Picture} */
function load(url) {
  const image = h("img", { alt: "", draggable: false, decoding: "async", src: url });
  const made = { image, done: false, ready: Promise.resolve(false) };
  made.ready = image.decode().then(
    () => (made.done = true),
    () => false,
  );
  return made;
}
