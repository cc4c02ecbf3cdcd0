/** Widgets of nodes: which are in sight, and what they hold. */

import { app } from "../../../scripts/app.js";

/**
 * @typedef {import("./types").Node} Node
 * @typedef {import("./types").LGraphNode} LGraphNode
 */

// Size of a widget that is out of sight. Older front-ends would leave room for it.
export const NO_ROOM = /** @type {[number, number]} */ ([0, -4]);

/**
 * Fold the inputs that few need in the canvas renderer too, which asks the widget where Nodes 2.0 asks its options. In a loaded
 * workflow they are in sight if one of them is linked and the user has not folded them.
 *
 * @param {Node} node
 */
export function foldAdvanced(node) {
  const folded = (node.widgets ?? []).filter((widget) => /** @type {{advanced?: boolean}} */ (widget.options).advanced);
  if (!folded.length) return;
  for (const widget of folded) {
    widget.advanced = true;
    widget.computeSize = () => (node.showAdvanced ? [0, window.LiteGraph.NODE_WIDGET_HEIGHT] : NO_ROOM);
  }
  node.setSize([node.size[0], node.computeSize()[1]]);
  const names = folded.map(({ name }) => name);
  const configured = node.onConfigure;
  node.onConfigure = (info) => {
    configured?.call(node, info);
    // Afterwards, because newer front-ends make the links last.
    queueMicrotask(() => {
      const linked = node.inputs?.some(({ widget, link }) => widget && names.includes(widget.name) && link != null);
      if (linked) node.showAdvanced = info.showAdvanced ?? true;
    });
  };
}

/**
 * Queue a text with its placeholders filled in, such as %date:yyyy-MM-dd% or %KSampler.seed%. ComfyUI does this for its own nodes
 * alone, in the same way. The widget keeps the pattern.
 *
 * @param {Node} node
 * @param {string} name of the widget
 */
export function fillPlaceholders(node, name) {
  const widget = node.widgets?.find((each) => each.name === name);
  if (!widget) return;
  /** @type {{serializeValue?: () => unknown}} */ (widget).serializeValue = () => {
    // Not imported from scripts/utils.js, which warns in the console. Without the function, the server fills in the date.
    const fill = window.comfyAPI?.utils?.applyTextReplacements;
    return fill && typeof widget.value === "string" ? fill(app, widget.value) : widget.value;
  };
}

/** Set widgets that a node has. @param {LGraphNode} node @param {Record<string, string | number>} values */
export function setWidgets(node, values) {
  for (const widget of node.widgets ?? []) {
    if (widget.name in values) {
      widget.value = values[widget.name];
      widget.callback?.(widget.value);
    }
  }
}
