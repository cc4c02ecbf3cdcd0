/** Elements in one expression. */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [properties] set on the element; names with a dash become attributes, `on…` take functions
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

/** Load this pack's style sheets, once. @param {...string} urls */
export function loadStyles(...urls) {
  for (const href of urls) {
    if (!document.querySelector(`link[href="${href}"]`)) document.head.append(h("link", { rel: "stylesheet", href }));
  }
}
