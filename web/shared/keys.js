/** Arrow keys. */

/** One on or one back for an arrow key, which then does nothing else; 0 for any other. @param {KeyboardEvent} event */
export function towards(event) {
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key] ?? 0;
  if (by) event.preventDefault();
  return by;
}
