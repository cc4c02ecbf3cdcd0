/** Which node, of which workflow, the results of a run belong to. */

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

/**
 * @typedef {import("./types").Workflow} Workflow
 * @typedef {import("./types").Workflows} Workflows
 */
/** @typedef {import("./node_host.js").NodeHost} NodeHost */

/** Results of workflows while they were not shown, by node, oldest first: ComfyUI keeps the last of each. @type {WeakMap<Workflow, Record<string, Record<string, any>[]>>} */
const missed = new WeakMap();

// Results already delivered, by the file they name. ComfyUI delivers all of them again after every undo.
const heard = new Set();

/** The workflows whose runs the pack queued itself, by prompt; ComfyUI knows only those that its own buttons queued. @type {Map<string, Workflow | null>} */
const homes = new Map();

/** The views by their nodes. @type {WeakMap<object, NodeHost>} */
const hosts = new WeakMap();

/** @returns {Workflows} */
export const workflows = () => /** @type {any} */ (app.extensionManager).workflow;

/** The view of a node. @param {object} node */
export const hostOf = (node) => hosts.get(node);

/** @param {object} node @param {NodeHost} host */
export const noteHost = (node, host) => hosts.set(node, host);

/** Note which workflow a prompt belongs to. @param {string} prompt @param {Workflow | null} workflow */
export const noteHome = (prompt, workflow) => homes.set(prompt, workflow);

/** Note that results were delivered. @param {Record<string, any>} output */
export const noteHeard = (output) => heard.add(reference(output));

/** Keep the results of workflows that are not shown. */
export function watchRuns() {
  api.addEventListener("executed", ({ detail }) => {
    const tracker = homes.get(detail.prompt_id)?.changeTracker;
    if (tracker) (tracker.nodeOutputs ??= {})[detail.node] = detail.output;
    if (reference(detail.output)) queueMicrotask(() => noteMissed(detail.node, detail.output));
  });
}

/** Deliver the results that nodes missed, when their workflow is opened again. @param {Record<string, Record<string, any>>} outputs the last of each node */
export function deliverMissed(outputs) {
  for (const [locator, output] of Object.entries(outputs)) {
    const [id, subgraph] = String(locator).split(":").reverse();
    const graph = subgraph ? app.rootGraph.subgraphs.get(subgraph) : app.rootGraph;
    const node = graph?.getNodeById(id);
    for (const each of [...missedBefore(locator, output), output]) {
      if (node && !heard.has(reference(each))) hostOf(node)?.deliver(each);
    }
  }
}

/**
 * Whether results belong to a workflow that is open but not shown. ComfyUI also gives them to the node of the same id in the workflow
 * that is shown.
 *
 * @param {Record<string, any>} output
 */
export function isOfAnotherWorkflow(output) {
  return Boolean(hiddenHome(output));
}

/** The workflow that results belong to, if it is not the one shown. @param {Record<string, any>} output */
function hiddenHome(output) {
  const { activeWorkflow, openWorkflows } = workflows();
  const has = (/** @type {Workflow | null} */ workflow) =>
    Object.values(workflow?.changeTracker?.nodeOutputs ?? {}).some((each) => reference(each) === reference(output));
  return has(activeWorkflow) ? undefined : openWorkflows.find(has);
}

/** @param {string} node @param {Record<string, any>} output */
function noteMissed(node, output) {
  const home = hiddenHome(output);
  if (!home) return;
  const of = missed.get(home) ?? {};
  missed.set(home, { ...of, [node]: [...(of[node] ?? []), output] });
}

/** The results of a node that were missed before its last. @param {string} node @param {Record<string, any>} last */
function missedBefore(node, last) {
  const home = workflows().openWorkflows.find(({ changeTracker }) => reference(changeTracker?.nodeOutputs?.[node] ?? null) === reference(last));
  return (reference(last) && home && missed.get(home)?.[node]) || [];
}

/** The file that names results. @param {Record<string, any> | null} output */
function reference(output) {
  return output?.uncertainty_view?.[0];
}
