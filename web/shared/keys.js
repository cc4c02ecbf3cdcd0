/** Arrow keys for browsing, and the keys of the pack's commands. */

/** 1 or -1 for an arrow key, whose default action is prevented; 0 for any other key. @param {KeyboardEvent} event */
export function towards(event) {
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key] ?? 0;
  if (by) event.preventDefault();
  return by;
}

/** Pressed with Shift, unless the user binds others. */
export const COMMAND_KEYS = { cull: "c", rejectWorst: "x" };

/** Keep keys pressed in an element from ComfyUI's shortcuts, except those of the pack's commands. @param {HTMLElement} element */
export function keepKeys(element) {
  element.addEventListener("keydown", (event) => {
    const command = event.shiftKey && Object.values(COMMAND_KEYS).includes(event.key.toLowerCase());
    if (!command) event.stopPropagation();
  });
}
