/**
 * The only file that uses ComfyUI's front-end API: nodes, widgets, properties, sidebar tabs, messages.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { CARRIED } from "./shared/carry.js";
import { ask } from "./shared/server.js";
import { t } from "./shared/texts.js";

/**
 * @typedef {import("./shared/server.js").FileRef} FileRef
 * @typedef {import("@comfyorg/comfyui-frontend-types").ComfyExtension} Extension
 * @typedef {Parameters<NonNullable<Extension["nodeCreated"]>>[0]} LGraphNode
 * @typedef {LGraphNode & {
 *   onExecuted?: (output: Record<string, any>) => void,
 *   addDOMWidget: (name: string, type: string, element: HTMLElement, options: object) => {label?: string}
 * }} Node a graph node with the members that the published types lack
 * @typedef {{
 *   id: string | number, type: string, size: [number, number], properties?: Record<string, any>, widgets_values?: unknown[]
 * }} SavedNode a node in a saved workflow
 * @typedef {{nodes: SavedNode[], definitions?: {subgraphs?: {id: string, nodes: SavedNode[]}[]}}} Saved a saved workflow
 * @typedef {{
 *   nodeOutputs?: Record<string, Record<string, any>>, initialState: Saved, activeState: Saved, undoQueue: Saved[], redoQueue: Saved[]
 * }} History of a workflow: the states that undo and redo go to
 * @typedef {{changeTracker?: History | null}} Workflow
 * @typedef {Record<string, {class_type: string, inputs: Record<string, unknown>}>} Prompt a graph in API format
 * @typedef {{activeWorkflow: Workflow | null, openWorkflows: Workflow[]}} Workflows
 * @typedef {{id: string, title: string, icon: string, tooltip: string, render: (element: HTMLElement) => () => void}} SidebarTab
 *   `render` fills the element and returns a function that undoes it
 * @typedef {{type: "boolean", defaultValue: boolean} | {type: "combo", defaultValue: string, options: {text: string, value: string}[]}} Kind
 * @typedef {{id: string, category: string[], name: string, tooltip: string} & Kind} Setting in ComfyUI's dialog
 * @typedef {{id: string, label: string, key?: string, run: () => unknown}} Command in ComfyUI's list of keys; `key` is pressed with
 *   Shift until the user binds another
 */

// The node property that holds the state of its view; it is saved with the workflow and copied with the node.
const MEMORY = "uncertainty_view";

const TOLD_MS = 5000;

// Size of a widget that is out of sight. Older front-ends would leave room for it.
const NO_ROOM = /** @type {[number, number]} */ ([0, -4]);

/** Results of workflows while they were not shown, by node, oldest first: ComfyUI keeps the last of each. @type {WeakMap<Workflow, Record<string, Record<string, any>[]>>} */
const missed = new WeakMap();

// Results already delivered, by the file they name. ComfyUI delivers all of them again after every undo.
const heard = new Set();

/** The workflows whose runs the pack queued itself, by prompt; ComfyUI knows only those that its own buttons queued. @type {Map<string, Workflow | null>} */
const homes = new Map();

/** The views by their nodes. @type {WeakMap<object, NodeHost>} */
const hosts = new WeakMap();

/** @param {Record<string, any> | null} output */
const reference = (output) => output?.uncertainty_view?.[0];

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
    onNodeOutputsUpdated(/** @type {Record<string, Record<string, any>>} */ outputs) {
      for (const [locator, output] of Object.entries(outputs)) {
        const [id, subgraph] = String(locator).split(":").reverse();
        const graph = subgraph ? app.rootGraph.subgraphs.get(subgraph) : app.rootGraph;
        const node = graph?.getNodeById(id);
        for (const each of [...missedBefore(locator, output), output]) {
          if (node && !heard.has(reference(each))) hosts.get(node)?.deliver(each);
        }
      }
    },
    setup() {
      for (const tab of tabs) registerTab(tab);
      takeDrops();
      api.addEventListener("executed", ({ detail }) => {
        const tracker = homes.get(detail.prompt_id)?.changeTracker;
        if (tracker) (tracker.nodeOutputs ??= {})[detail.node] = detail.output;
        if (reference(detail.output)) queueMicrotask(() => noteMissed(detail.node, detail.output));
      });
    },
  });
}

/**
 * Fold the inputs that few need in the canvas renderer too, which asks the widget where Nodes 2.0 asks its options. In a loaded
 * workflow they are in sight if one of them is linked and the user has not folded them.
 *
 * @param {Node} node
 */
function foldAdvanced(node) {
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
function fillPlaceholders(node, name) {
  const widget = node.widgets?.find((each) => each.name === name);
  if (!widget) return;
  /** @type {{serializeValue?: () => unknown}} */ (widget).serializeValue = () => {
    // Not imported from scripts/utils.js, which warns in the console. Without the function, the server fills in the date.
    const fill = window.comfyAPI?.utils?.applyTextReplacements;
    return fill && typeof widget.value === "string" ? fill(app, widget.value) : widget.value;
  };
}

/** @returns {Workflows} */
const workflows = () => /** @type {any} */ (app.extensionManager).workflow;

/** A new node that is in no graph yet. @param {string} type @returns {Node} */
export function createNode(type) {
  return window.LiteGraph.createNode(type);
}

/** Change the graph so that one undo takes it back. @param {() => void} act */
function asOneChange(act) {
  app.canvas.emitBeforeChange();
  act();
  app.canvas.emitAfterChange();
  app.canvas.setDirty(true, true);
}

/**
 * Whether results belong to a workflow that is open but not shown. ComfyUI also gives them to the node of the same id in the workflow
 * that is shown.
 *
 * @param {Record<string, any>} output
 */
function isOfAnotherWorkflow(output) {
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

/** A node of the graph, as seen by the view inside it. */
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
    hosts.set(node, this);
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
    heard.add(reference(output));
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
    homes.set(prompt_id, home);
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

/**
 * A prompt as ComfyUI keeps it: number, id, graph, what goes with it, and its output nodes.
 *
 * @param {string} id
 * @returns {Promise<[number, string, Prompt, Record<string, any>, string[]]>}
 */
async function promptOf(id) {
  const finished = async () => (await ask(`/history/${encodeURIComponent(id)}`))[id]?.prompt;
  const running = async () => (await ask("/queue")).queue_running.find((/** @type {unknown[]} */ [, each]) => each === id);
  const found = (await finished()) ?? (await running()) ?? (await finished()); // it may end between the two questions
  if (!found) throw new Error(t("it is not in ComfyUI's history any more"));
  return found;
}

/**
 * Open the workflow in a saved picture, as if its file had been dropped onto the page.
 *
 * @param {FileRef} file
 */
export async function openWorkflow(file) {
  const response = await api.fetchApi(`/view?${new URLSearchParams({ ...file })}`);
  if (!response.ok) throw new Error(t("{file} cannot be read: {problem}", { file: file.filename, problem: `${response.status} ${response.statusText}` }));
  const picture = await response.blob();
  if (picture.type === "image/jpeg") {
    throw new Error(t("{file} keeps its workflow, but ComfyUI reads none from JPEG files: save as PNG or WebP.", { file: file.filename }));
  }
  await app.handleFile(new File([picture], file.filename, { type: picture.type }));
}

const SAMPLERS = ["UncertaintyKSampler", "UncertaintySamplerCustom", "UncertaintyKSamplerAdvanced"];

/**
 * Open the workflow in a saved picture, and draw this image of its batch again, alone: with its own noise.
 *
 * @param {FileRef} file
 * @param {number} place of the image in its batch
 */
export async function redraw(file, place) {
  await openWorkflow(file);
  const graph = app.rootGraph;
  const samplers = graph.nodes.filter((node) => SAMPLERS.includes(node.comfyClass ?? "") && !node.mode);
  const [sampler] = samplers;
  const slot = sampler?.findInputSlot("latent_image") ?? -1;
  const [source, link] = [sampler?.getInputNode(slot), sampler?.getInputLink(slot)];
  if (samplers.length !== 1 || !source || !link) {
    throw new Error(t("The workflow is open, but it is not clear which sampler drew the image: connect Latent From Batch before it."));
  }
  const one = window.LiteGraph.createNode("LatentFromBatch");
  one.pos = [sampler.pos[0] - 260, sampler.pos[1] - 130];
  graph.add(one);
  source.connect(link.origin_slot, one, 0);
  one.connect(0, sampler, slot);
  setWidgets(one, { batch_index: place, length: 1 });
  for (const node of graph.nodes) setWidgets(node, { control_after_generate: "fixed" });
  await app.queuePrompt(0);
}

/** Set widgets that a node has. @param {LGraphNode} node @param {Record<string, string | number>} values */
function setWidgets(node, values) {
  for (const widget of node.widgets ?? []) {
    if (widget.name in values) {
      widget.value = values[widget.name];
      widget.callback?.(widget.value);
    }
  }
}

/** Whether a picture from the library is over the empty canvas. Nodes take it by themselves. @param {DragEvent} event */
function isOverCanvas(event) {
  const [x, y] = app.canvas.convertEventToCanvasOffset(event);
  const carried = event.dataTransfer?.types.includes(CARRIED);
  return carried && event.target === app.canvas.canvas && !app.canvas.graph?.getNodeOnPos(x, y);
}

/** Say something in a corner of the window. @param {"info" | "error"} severity @param {string} summary */
export function tell(severity, summary) {
  app.extensionManager.toast.add({ severity, summary, life: severity === "info" ? TOLD_MS : undefined });
}

/** Do what the context menus of the selected nodes offer, as one change. @param {(node: Node) => {act: () => void}[]} menu */
export function actOnSelected(menu) {
  const nodes = /** @type {Node[]} */ (Object.values(app.canvas.selected_nodes));
  asOneChange(() => nodes.flatMap(menu).forEach(({ act }) => act()));
}

/** Whether nodes of a type are outputs of a workflow, such as Save Image. @param {string} type */
const isOutput = (type) => Boolean(window.LiteGraph.registered_node_types[type]?.nodeData?.output_node);

/** A node of a prompt and all that depend on it. @param {Prompt} prompt @param {string} node @returns {Set<string>} */
function dependents(prompt, node) {
  const found = new Set([node]);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const [id, { inputs }] of Object.entries(prompt)) {
      if (Object.values(inputs).some((value) => Array.isArray(value) && found.has(String(value[0])))) found.add(id);
    }
  }
  return found;
}

/**
 * Do something in a view of the graph in sight: in those of selected nodes first.
 *
 * @param {string} what
 * @returns {boolean} whether a view had something to do
 */
export function inView(what) {
  const nodes = [...Object.values(app.canvas.selected_nodes), ...(app.canvas.graph?.nodes ?? [])];
  return nodes.flatMap(withInner).some((node) => hosts.get(node)?.actions[what]?.());
}

/** A node and those inside it, if it is a subgraph. @param {any} node @returns {object[]} */
function withInner(node) {
  return [node, ...(node.subgraph?.nodes ?? []).flatMap(withInner)];
}

/** Pictures from the library become Load Image on the canvas; with Alt, their workflow is opened. */
function takeDrops() {
  addEventListener("dragover", (event) => isOverCanvas(event) && event.preventDefault(), true);
  addEventListener("drop", async (event) => {
      if (!isOverCanvas(event)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      const file = JSON.parse(event.dataTransfer?.getData(CARRIED) ?? "");
      if (!event.altKey) return addLoadImage(file, app.canvas.convertEventToCanvasOffset(event));
      await openWorkflow(file).catch((error) => tell("error", String(error.message)));
    }, true);
}

/** @param {FileRef} file @param {[number, number]} place */
function addLoadImage(file, place) {
  const node = window.LiteGraph.createNode("LoadImage");
  node.pos = place;
  app.canvas.graph?.add(node);
  setWidgets(node, { image: `${file.subfolder ? `${file.subfolder}/` : ""}${file.filename} [${file.type}]` });
}

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
