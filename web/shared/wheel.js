/** The wheel scrolls an element instead of zooming the graph. */

/**
 * While the element has something to scroll, ComfyUI does not hear of the wheel over it. Nodes 2.0 takes every turn of the wheel
 * on its way down to the element: it has to be kept from the top of the page.
 *
 * @param {HTMLElement} element
 * @returns {() => void} undoes it
 */
export function keepWheel(element) {
  const keep = (/** @type {WheelEvent} */ event) => {
    const zooming = event.ctrlKey || event.metaKey;
    const inside = event.target instanceof Node && element.contains(event.target);
    if (inside && !zooming && element.scrollHeight > element.clientHeight) event.stopPropagation();
  };
  window.addEventListener("wheel", keep, { capture: true, passive: true });
  return () => window.removeEventListener("wheel", keep, { capture: true });
}
