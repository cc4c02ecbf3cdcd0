/** The wheel scrolls an element instead of zooming the graph. */

/**
 * While the element has something to scroll, ComfyUI does not hear of the wheel over it. Nodes 2.0 takes every turn of the wheel
 * on its way down to the element: it has to be kept from the top of the page. A row scrolls sideways by the same turn.
 *
 * @param {HTMLElement} element
 * @param {"list" | "row"} kind
 * @returns {() => void} undoes it
 */
export function keepWheel(element, kind) {
  const keep = (/** @type {WheelEvent} */ event) => {
    const zooming = event.ctrlKey || event.metaKey;
    const inside = event.target instanceof Node && element.contains(event.target);
    const scrolls = kind === "row" ? element.scrollWidth > element.clientWidth : element.scrollHeight > element.clientHeight;
    if (!inside || zooming || !scrolls) return;
    event.stopPropagation();
    if (kind === "row") element.scrollLeft += event.deltaY; // sideways turns scroll it by themselves
  };
  window.addEventListener("wheel", keep, { capture: true, passive: true });
  return () => window.removeEventListener("wheel", keep, { capture: true });
}
