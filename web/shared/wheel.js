/** Makes the wheel scroll an element instead of zooming the graph. */

/**
 * While the element can scroll, keep wheel events over it from ComfyUI. Nodes 2.0 handles them in the capture phase, so they must be
 * stopped at the window. A row scrolls sideways.
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
    if (kind === "row") element.scrollLeft += event.deltaY; // horizontal wheel events scroll it without help
  };
  window.addEventListener("wheel", keep, { capture: true, passive: true });
  return () => window.removeEventListener("wheel", keep, { capture: true });
}
