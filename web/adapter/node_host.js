/** A node of the graph, as seen by the view inside it. */

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { t } from "../shared/texts.js";
import { dependents, isOutput, promptOf } from "./runs.js";
import { isOfAnotherWorkflow, noteHeard, noteHome, noteHost, workflows } from "./results.js";
import { NO_ROOM } from "./widgets.js";

/**
 * @typedef {import("./types").Node} Node
 * @typedef {import("./types").Saved} Saved
 * @typedef {import("./types").SavedNode} SavedNode
 * @typedef {import("../shared/server.js").FileRef} FileRef
 */

// The node property that holds the state of its view; it is saved with the workflow and copied with the node.
const MEMORY = "uncertainty_view";

export class NodeHost {
  /** @param {Node} node */
  constructor(node) {
    this.node = node;
    /** Minimum height of the view in pixels. */
    this.minHeight = 0;
    /** @type {HTMLElement | null} */
    this.element = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.noting = undefined;
    /** @type {((name: string, value: unknown) => void)[]} */
    this.listeners = [];
    /** @type {(files: FileRef[], output?: Record<string, any>) => void} */
    this.show = () => {};
    /** What the view does for a command, by name; each returns whether there was something to do. @type {Record<string, () => boolean>} */
    this.actions = {};
    for (const widget of node.widgets ?? []) this.#listen(widget);
    noteHost(node, this);
  }

  /** Notify `listeners` when a value changes, whether by the user or by `set`.
   * @param {NonNullable<Node["widgets"]>[number]} widget */
  #listen(widget) {
    const before = widget.callback;
    widget.callback = (...args) => {
      before?.apply(widget, args);
      for (const listener of this.listeners) listener(widget.name, widget.value);
    };
  }

  /**
   * Put the view's element into the node, below its widgets.
   *
   * @param {HTMLElement} element
   * @param {string} label what App mode calls it
   */
  attach(element, label) {
    this.element = element;
    // In Nodes 2.0 the view is part of the graph, in App mode of a list. In the canvas renderer it lies over the graph, so the wheel
    // must be passed on.
    element.addEventListener("wheel", (event) => {
      if (element.closest(".dom-widget")) app.canvas.processMouseWheel(event);
    });
    const widget = this.node.addDOMWidget("view", "uncertainty_view", element, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => this.minHeight,
    });
    widget.label = label;
  }

  /**
   * Enlarge the node so that the view fits; never shrink it.
   *
   * @param {number} width
   * @param {number} height of the view
   */
  grow(width, height) {
    this.minHeight = height;
    if (this.element) this.element.style.minHeight = `${height}px`; // Nodes 2.0 uses this
    const [least, needed] = this.node.computeSize();
    this.node.setSize([Math.max(this.node.size[0], width, least), Math.max(this.node.size[1], needed)]);
    const [wide, high] = this.node.size;
    this.#inEveryState((saved) => (saved.size = [Math.max(saved.size[0], wide), Math.max(saved.size[1], high)]));
    this.node.setDirtyCanvas(true, true);
  }

  /**
   * Call back with the files of the node's results: after each run, and when the node is restored from a file, a copy or an undo.
   *
   * @param {(files: FileRef[], output?: Record<string, any>) => void} listener gets one file for each batch, because a node whose inputs
   *   are lists runs once per batch; and after a run all that the node told of it
   */
  onResults(listener) {
    this.show = listener;
    this.#hidePictures();
    const executed = this.node.onExecuted;
    this.node.onExecuted = (output) => {
      executed?.call(this.node, output);
      // Afterwards, because the front-end may not have recorded yet to which workflow the results belong.
      queueMicrotask(() => isOfAnotherWorkflow(output) || this.deliver(output));
    };
    this.#onConfigured(() => {
      this.#takePlace();
      if (this.memory.results) listener(this.memory.results);
    });
  }

  /** Hide ComfyUI's own preview of the node's pictures, which the view shows already. */
  #hidePictures() {
    this.node.onDrawBackground = () => {}; // draws them in the canvas renderer
    Object.assign(this.node, { hideOutputImages: true }); // in Nodes 2.0; the style sheet does it in older front-ends
  }

  /** Call back when the node has the values of a file, a copy or an undo. Its links may come later. @param {() => void} listener */
  #onConfigured(listener) {
    const before = this.node.onConfigure;
    this.node.onConfigure = (info) => {
      before?.call(this.node, info);
      listener();
    };
  }

  /** Call back when the node is restored with its links. @param {() => void} listener */
  onRestored(listener) {
    this.#onConfigured(() => queueMicrotask(listener));
  }

  /** Replace the view of the node that an undo replaced by this one: Nodes 2.0 goes on to show it. */
  #takePlace() {
    // A copy is configured with the id of its original, before it is in the graph.
    if (this.node.graph?.getNodeById(this.node.id) !== this.node) return;
    const shown = document.querySelector(`[data-node-id="${CSS.escape(String(this.node.id))}"] .unc`);
    if (this.element && shown && shown !== this.element) shown.replaceWith(this.element);
  }

  /** Show the results of a run. @param {Record<string, any>} output of the node */
  deliver(output) {
    /** @type {string[]} */
    const names = output.uncertainty_view ?? [];
    if (!names.length) return;
    const files = names.map((filename) => ({ filename, subfolder: "uncertainty", type: "temp" }));
    noteHeard(output);
    this.keep({ results: files });
    this.show(files, output);
  }

  /**
   * Queue the prompt of a run once more, in front of all others, with another value of one input. Seeds and all else are as they were;
   * outputs that do not depend on this node are not made again.
   *
   * @param {{prompt: string, node: string}} run its prompt, and this node's name in it
   * @param {string} input
   * @param {string} value
   * @returns {Promise<string>} the new prompt
   * @throws {Error} ComfyUI knows the run no longer, or refuses it
   */
  async queueAgain(run, input, value) {
    const home = workflows().activeWorkflow; // another may be open when the answers come
    const [, , output, { extra_pnginfo }] = await promptOf(run.prompt);
    if (!output[run.node]) throw new Error(t("another node made this one while the workflow ran: set its inputs there"));
    output[run.node].inputs[input] = value;
    const workflow = extra_pnginfo?.workflow;
    const saved = workflow && this.#savedIn(workflow);
    const place = this.node.widgets?.findIndex(({ name }) => name === input) ?? -1;
    if (saved?.type === this.node.type && saved.widgets_values) saved.widgets_values[place] = value; // for the files that the run saves
    const partialExecutionTargets = [...dependents(output, run.node)].filter((id) => isOutput(output[id].class_type));
    const { prompt_id } = await api.queuePrompt(-1, { output, workflow }, { partialExecutionTargets }).catch((error) => {
      throw new Error(error.response?.error?.message ?? error.message);
    });
    noteHome(prompt_id, home);
    return prompt_id;
  }

  /**
   * Change this node in the workflow's whole history as well: what a run brings is no step of it, and no undo takes it back.
   *
   * @param {(saved: SavedNode) => void} change
   */
  #inEveryState(change) {
    const history = workflows().activeWorkflow?.changeTracker;
    const { graph } = this.node;
    if (!history || !graph) return;
    for (const state of new Set([history.initialState, history.activeState, ...history.undoQueue, ...history.redoQueue])) {
      const saved = this.#savedIn(state);
      if (saved) change(saved);
    }
    api.dispatchCustomEvent("graphChanged", /** @type {any} */ (history.activeState)); // so that a reload of the page finds it
  }

  /** This node in a saved workflow. @param {Saved} workflow @returns {SavedNode | undefined} */
  #savedIn(workflow) {
    const { graph } = this.node;
    const home = !graph || graph.isRootGraph ? workflow : workflow?.definitions?.subgraphs?.find((each) => each.id === graph.id);
    return home?.nodes.find((each) => String(each.id) === String(this.node.id));
  }

  /** @param {() => void} listener */
  onRemove(listener) {
    const before = this.node.onRemoved;
    this.node.onRemoved = () => {
      before?.call(this.node);
      listener();
    };
  }

  /** Call back when the value of a widget changed. @param {(name: string, value: unknown) => void} listener */
  onValue(listener) {
    this.listeners.push(listener);
  }

  /** Call back when a link to the node was made or removed, or the node was muted, bypassed or neither. @param {() => void} listener */
  onWiring(listener) {
    const before = this.node.onConnectionsChange;
    this.node.onConnectionsChange = (...args) => {
      before?.apply(this.node, args);
      listener();
    };
    let { off } = this;
    // ComfyUI reports changes of the mode to nobody.
    const watch = setInterval(() => {
      if (this.off === off) return;
      off = this.off;
      listener();
    }, 300);
    this.onRemove(() => clearInterval(watch));
  }

  /** Why the node does not run; empty if it does. */
  get off() {
    return { 2: t("muted"), 4: t("bypassed") }[/** @type {number} */ (this.node.mode)] ?? "";
  }

  /** Whether a link gives the value of an input: its widget then has no effect. @param {string} name */
  isLinked(name) {
    return this.node.inputs?.some((input) => input.widget?.name === name && input.link != null) ?? false;
  }

  /** Whether the node has a widget of this name. @param {string} name */
  has(name) {
    return this.node.widgets?.some((each) => each.name === name) ?? false;
  }

  /** @param {string} name */
  #widget(name) {
    const widget = this.node.widgets?.find((each) => each.name === name);
    if (!widget) throw new Error(`${this.node.type} has no widget ${name}`);
    return widget;
  }

  /** The value of a widget. @param {string} name */
  get(name) {
    return this.#widget(name).value;
  }

  /** Set a widget as if the user had typed the value. @param {string} name @param {string | number | boolean} value */
  set(name, value) {
    const widget = this.#widget(name);
    if (widget.value === value) return;
    widget.value = value;
    widget.callback?.(value);
    if (widget.value !== value) {
      // Number widgets round to the decimals they show, which is meant for typed values.
      widget.value = value;
      for (const listener of this.listeners) listener(name, value);
    }
    this.node.setDirtyCanvas(true, true);
    this.#noteChange();
  }

  /** Hide a widget for good, because the view shows its value. @param {string} name */
  hide(name) {
    this.setShown(name, false);
    Object.assign(this.#widget(name).options, { hidden: true }); // in Nodes 2.0 of older front-ends, which reads it once
  }

  /**
   * Show or hide a widget. A hidden one is saved, queued and undone like any other. Nodes 2.0 of older front-ends shows all.
   *
   * @param {string} name
   * @param {boolean} shown
   */
  setShown(name, shown) {
    const widget = this.#widget(name);
    if (Boolean(widget.hidden) !== shown) return;
    widget.hidden = !shown;
    if (shown) delete widget.computeSize;
    else widget.computeSize = () => NO_ROOM;
    if (shown) this.node.setSize([this.node.size[0], Math.max(this.node.size[1], this.node.computeSize()[1])]);
    this.node.setDirtyCanvas(true, true);
  }

  /** The state of the view that is saved with the workflow. @returns {Record<string, any>} */
  get memory() {
    return /** @type {Record<string, any>} */ (this.node.properties?.[MEMORY] ?? {});
  }

  /** Add to that state. @param {Record<string, any>} changed JSON-able */
  remember(changed) {
    this.#set(changed);
    this.#noteChange();
  }

  /** Add to that state something that is no step of undo. @param {Record<string, any>} changed JSON-able */
  keep(changed) {
    this.#set(changed);
    this.#inEveryState((saved) => {
      saved.properties = { ...saved.properties, [MEMORY]: { ...saved.properties?.[MEMORY], ...changed } };
    });
  }

  /** @param {Record<string, any>} changed */
  #set(changed) {
    this.node.properties ??= {};
    this.node.properties[MEMORY] = { ...this.memory, ...changed };
  }

  /** Tell ComfyUI shortly afterwards that the workflow changed; its own check runs before a click in a view takes effect. */
  #noteChange() {
    clearTimeout(this.noting);
    this.noting = setTimeout(() => this.#tellChange(), 300);
  }

  #tellChange() {
    clearTimeout(this.noting);
    app.canvas.emitBeforeChange();
    app.canvas.emitAfterChange();
  }
}
