/** Helpers for DOM elements. */

/**
 * Create an element with its properties and children.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [properties] set on the element; names with a dash become attributes, `on…` are event handlers
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else if (name === "style") element.style.cssText = value;
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children);
  return element;
}

/** Change the text of an element, unless it is the same: writing it again would trigger a new layout. @param {HTMLElement} element @param {string} text */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Scroll a list just far enough to show one of its elements. scrollIntoView and focus would also scroll the page.
 *
 * @param {HTMLElement} list
 * @param {HTMLElement} item
 */
export function reveal(list, item) {
  const [left, top] = [item.offsetLeft - list.offsetLeft, item.offsetTop - list.offsetTop];
  list.scrollLeft = nearest(list.scrollLeft, list.clientWidth, left, item.offsetWidth);
  list.scrollTop = nearest(list.scrollTop, list.clientHeight, top, item.offsetHeight);
}

/** The scroll position that shows an element with the least movement. @param {number} scrolled @param {number} seen @param {number} start @param {number} size */
function nearest(scrolled, seen, start, size) {
  return start < scrolled ? start : Math.max(scrolled, start + size - seen);
}

/** Load style sheets that are not loaded yet. @param {...string} urls */
export function loadStyles(...urls) {
  for (const href of urls) {
    if (!document.querySelector(`link[href="${href}"]`)) document.head.append(h("link", { rel: "stylesheet", href }));
  }
}
