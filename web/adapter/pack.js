/** Registers the pack with ComfyUI. This folder alone uses the API of its front-end: nodes, widgets, properties, sidebar tabs, messages. */

import { app } from "../../../scripts/app.js";
import { asOneChange } from "./graph.js";
import { NodeHost } from "./node_host.js";
import { takeDrops } from "./pictures.js";
import { deliverMissed, watchRuns } from "./results.js";
import { fillPlaceholders, foldAdvanced } from "./widgets.js";

/**
 * @typedef {import("./types").Extension} Extension
 * @typedef {import("./types").Node} Node
 * @typedef {import("./types").SidebarTab} SidebarTab
 * @typedef {import("./types").Setting} Setting
 * @typedef {import("./types").Command} Command
 */

/**
 * Register this pack with ComfyUI.
 *
 * @param {string} name of the extension
 * @param {{
 *   views: Record<string, (host: NodeHost) => void>, patterns: Record<string, string>, tabs: SidebarTab[], settings: Setting[],
 *   menu: (node: Node) => {label: string, act: () => void}[], commands: Command[]
 * }} pack `views` by node id, a function that builds the view inside a new node; `patterns` by node id, the text widget whose
 *   placeholders are filled in when the workflow is queued; `menu` is what the context menu of a node offers in addition
 */
export function registerPack(name, { views, patterns, tabs, settings, menu, commands }) {
  app.registerExtension({
    name,
    settings: /** @type {Extension["settings"]} */ (/** @type {unknown} */ (settings)), // the types know ComfyUI's own names alone
    nodeCreated(node) {
      const kind = node.comfyClass ?? "";
      if (kind.startsWith("Uncertainty")) foldAdvanced(/** @type {Node} */ (node));
      views[kind]?.(new NodeHost(/** @type {Node} */ (node)));
      if (patterns[kind]) fillPlaceholders(/** @type {Node} */ (node), patterns[kind]);
    },
    commands: commands.map(({ id, label, run }) => ({ id, label, function: () => void run() })),
    keybindings: commands.flatMap(({ id, key }) => (key ? [{ commandId: id, combo: { key, shift: true } }] : [])),
    getNodeMenuItems(node) {
      const item = (/** @type {{label: string, act: () => void}} */ { label, act }) => ({ content: label, callback: () => asOneChange(act) });
      return menu(/** @type {Node} */ (node)).map(item);
    },
    // Nodes of a workflow that ran in the background get their results when the workflow is opened again.
    onNodeOutputsUpdated: deliverMissed,
    setup() {
      for (const tab of tabs) registerTab(tab);
      takeDrops();
      watchRuns();
    },
  });
}

/** @param {SidebarTab} tab */
function registerTab({ id, title, icon, tooltip, render }) {
  let undo = () => {};
  app.extensionManager.registerSidebarTab({
    id,
    title,
    icon,
    tooltip,
    type: "custom",
    render(element) {
      undo(); // some versions render again without calling destroy
      undo = render(element);
    },
    destroy() {
      undo();
      undo = () => {};
    },
  });
}
