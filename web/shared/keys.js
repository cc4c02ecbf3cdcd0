/** Arrow keys for browsing. */

/** 1 or -1 for an arrow key, whose default action is prevented; 0 for any other key. @param {KeyboardEvent} event */
export function towards(event) {
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key] ?? 0;
  if (by) event.preventDefault();
  return by;
}
