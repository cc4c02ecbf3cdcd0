/** The queue, and runs: those that end, and those that ComfyUI remembers. */

import { api } from "../../../scripts/api.js";
import { ask } from "../shared/server.js";
import { t } from "../shared/texts.js";

/**
 * @typedef {import("./types").Prompt} Prompt
 * @typedef {import("../shared/server.js").FileRef} FileRef
 */

// A run that fails or is stopped may have saved images before.
const ENDS = /** @type {const} */ (["execution_success", "execution_error", "execution_interrupted"]);

/**
 * Call back when a node has saved images, and after every run.
 *
 * @param {() => void} listener
 * @returns {() => void} stops the calls
 */
export function onSaved(listener) {
  const executed = (/** @type {CustomEvent<{output?: {images?: FileRef[]} | null}>} */ { detail }) => {
    if (detail.output?.images?.some(({ type }) => type === "output")) listener();
  };
  api.addEventListener("executed", /** @type {any} */ (executed));
  const stop = onRunEnded(listener);
  return () => {
    api.removeEventListener("executed", /** @type {any} */ (executed));
    stop();
  };
}

/**
 * Call back when prompts were added to ComfyUI's queue, or left it.
 *
 * @param {() => void} listener
 * @returns {() => void} stops the calls
 */
export function onQueueChanged(listener) {
  const changed = (/** @type {CustomEvent<unknown>} */ { detail }) => detail && listener(); // null: there is no server
  api.addEventListener("status", changed);
  return () => api.removeEventListener("status", changed);
}

/** The prompts that wait or run. @returns {Promise<Set<string>>} */
export async function queuedPrompts() {
  const { queue_running, queue_pending } = await ask("/queue");
  return new Set([...queue_running, ...queue_pending].map(([, id]) => id));
}

/**
 * Call back after every run, however it ended.
 *
 * @param {(prompt: string) => void} listener
 * @returns {() => void} stops the calls
 */
export function onRunEnded(listener) {
  const ended = (/** @type {CustomEvent<{prompt_id: string}>} */ { detail }) => listener(detail.prompt_id);
  for (const end of ENDS) api.addEventListener(end, ended);
  return () => {
    for (const end of ENDS) api.removeEventListener(end, ended);
  };
}

/**
 * A prompt as ComfyUI keeps it: number, id, graph, what goes with it, and its output nodes.
 *
 * @param {string} id
 * @returns {Promise<[number, string, Prompt, Record<string, any>, string[]]>}
 */
export async function promptOf(id) {
  const finished = async () => (await ask(`/history/${encodeURIComponent(id)}`))[id]?.prompt;
  const running = async () => (await ask("/queue")).queue_running.find((/** @type {unknown[]} */ [, each]) => each === id);
  const found = (await finished()) ?? (await running()) ?? (await finished()); // it may end between the two questions
  if (!found) throw new Error(t("it is not in ComfyUI's history any more"));
  return found;
}

/** Whether nodes of a type are outputs of a workflow, such as Save Image. @param {string} type */
export const isOutput = (type) => Boolean(window.LiteGraph.registered_node_types[type]?.nodeData?.output_node);

/** A node of a prompt and all that depend on it. @param {Prompt} prompt @param {string} node @returns {Set<string>} */
export function dependents(prompt, node) {
  const found = new Set([node]);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const [id, { inputs }] of Object.entries(prompt)) {
      if (Object.values(inputs).some((value) => Array.isArray(value) && found.has(String(value[0])))) found.add(id);
    }
  }
  return found;
}
