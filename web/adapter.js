/**
 * The only file that touches ComfyUI's front-end API: nodes, widgets, properties, sidebar tabs, messages, requests.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

/**
 * @typedef {{filename: string, subfolder: string, type: string}} FileRef a file in one of ComfyUI's folders
 * @typedef {import("@comfyorg/comfyui-frontend-types").ComfyExtension} Extension
 * @typedef {Parameters<NonNullable<Extension["nodeCreated"]>>[0]} LGraphNode
 * @typedef {LGraphNode & {
 *   onExecuted?: (output: Record<string, any>) => void,
 *   addDOMWidget: (name: string, type: string, element: HTMLElement, options: object) => unknown
 * }} Node a graph node with what the published types leave out
 * @typedef {{id: string, title: string, icon: string, tooltip: string, render: (element: HTMLElement) => () => void}} SidebarTab
 *   `render` fills the element and returns what undoes it
 */

// One property of the node holds what its view remembers; it is saved with the workflow and copied with the node.
const MEMORY = "uncertainty_view";

// Results that arrived, by the file they name. ComfyUI hands all of them out anew after every undo.
const heard = new Set();

/** @param {Record<string, any> | null} output */
const reference = (output) => output?.uncertainty_view?.[0]?.filename;

/**
 * Register this pack with ComfyUI.
 *
 * @param {string} name of the extension
 * @param {Record<string, (host: NodeHost) => void>} views by node id: what builds the view inside a new node of that kind
 * @param {SidebarTab[]} tabs
 */
export function registerPack(name, views, tabs) {
  app.registerExtension({
    name,
    nodeCreated(node) {
      const build = views[node.comfyClass ?? ""];
      if (build) build(new NodeHost(/** @type {Node} */ (node)));
    },
    // Back in a workflow that ran while another one was open: its nodes were not told.
    onNodeOutputsUpdated(/** @type {Record<string, Record<string, any>>} */ outputs) {
      for (const [locator, output] of Object.entries(outputs)) {
        const [id, subgraph] = String(locator).split(":").reverse();
        const graph = subgraph ? app.rootGraph.subgraphs.get(subgraph) : app.rootGraph;
        const node = /** @type {Node | null | undefined} */ (graph?.getNodeById(id));
        if (node?.comfyClass && node.comfyClass in views && !heard.has(reference(output))) node.onExecuted?.(output);
      }
    },
    setup() {
      for (const tab of tabs) registerTab(tab);
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
      undo(); // some versions render again without destroying
      undo = render(element);
    },
    destroy() {
      undo();
      undo = () => {};
    },
  });
}

/** A node of the graph, as far as the view inside it needs to know. */
export class NodeHost {
  /** @param {Node} node */
  constructor(node) {
    this.node = node;
    /** The least height of the view in pixels; the node is never lower. */
    this.minHeight = 0;
    /** @type {HTMLElement | null} */
    this.element = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.noting = undefined;
    /** @type {((name: string, value: unknown) => void)[]} */
    this.listeners = [];
    for (const widget of node.widgets ?? []) this.#listen(widget);
  }

  /** Tell `listeners` when a value is changed, by hand or by `set`.
   * @param {NonNullable<Node["widgets"]>[number]} widget */
  #listen(widget) {
    const before = widget.callback;
    widget.callback = (...args) => {
      before?.apply(widget, args);
      for (const listener of this.listeners) listener(widget.name, widget.value);
    };
  }

  /**
   * Put the view's element into the node, under its widgets.
   *
   * @param {HTMLElement} element
   */
  attach(element) {
    this.element = element;
    // In Nodes 2.0 the view lies inside the graph; in the canvas renderer it lies over it, and the wheel has to be passed on.
    element.addEventListener("wheel", (event) => {
      if (!element.closest("[data-node-id]")) app.canvas.processMouseWheel(event);
    });
    this.node.addDOMWidget("view", "uncertainty_view", element, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => this.minHeight,
    });
  }

  /**
   * The view has something to show now: make the node large enough, never smaller.
   *
   * @param {number} width
   * @param {number} height of the view
   */
  grow(width, height) {
    this.minHeight = height;
    if (this.element) this.element.style.minHeight = `${height}px`; // what Nodes 2.0 goes by
    const [least, needed] = this.node.computeSize();
    this.node.setSize([Math.max(this.node.size[0], width, least), Math.max(this.node.size[1], needed)]);
    this.node.setDirtyCanvas(true, true);
  }

  /** What the node reported after it ran. @param {(output: Record<string, any>) => void} listener */
  onResult(listener) {
    const before = this.node.onExecuted;
    this.node.onExecuted = (output) => {
      before?.call(this.node, output);
      heard.add(reference(output));
      listener(output);
      this.#tellChange(); // at once: the next thing may be that another workflow is opened
    };
  }

  /** The node came out of a file, a copy or an undo: widgets and memory are set. @param {() => void} listener */
  onRestore(listener) {
    const before = this.node.onConfigure;
    this.node.onConfigure = (info) => {
      before?.call(this.node, info);
      listener();
    };
  }

  /** @param {() => void} listener */
  onRemove(listener) {
    const before = this.node.onRemoved;
    this.node.onRemoved = () => {
      before?.call(this.node);
      listener();
    };
  }

  /** A value typed into the node changed. @param {(name: string, value: unknown) => void} listener */
  onValue(listener) {
    this.listeners.push(listener);
  }

  /** @param {string} name */
  #widget(name) {
    const widget = this.node.widgets?.find((each) => each.name === name);
    if (!widget) throw new Error(`${this.node.type} has no widget ${name}`);
    return widget;
  }

  /** Value of a widget. @param {string} name */
  get(name) {
    return this.#widget(name).value;
  }

  /** As if it had been typed in. @param {string} name @param {string | number | boolean} value */
  set(name, value) {
    const widget = this.#widget(name);
    if (widget.value === value) return;
    widget.value = value;
    widget.callback?.(value);
    if (widget.value !== value) {
      // Number widgets round to the decimals they show, which is right for what is typed.
      widget.value = value;
      for (const listener of this.listeners) listener(name, value);
    }
    this.node.setDirtyCanvas(true, true);
    this.#noteChange();
  }

  /** What the view remembers with the workflow. @returns {Record<string, any>} */
  get memory() {
    return /** @type {Record<string, any>} */ (this.node.properties?.[MEMORY] ?? {});
  }

  /** Remember more of it. @param {Record<string, any>} changed JSON-able */
  remember(changed) {
    this.node.properties ??= {};
    this.node.properties[MEMORY] = { ...this.memory, ...changed };
    this.#noteChange();
  }

  /** Let ComfyUI see, in a moment, that the workflow changed: by itself it looks before a click in a view has done anything. */
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
 * Where the browser gets a file from. Of a temporary file that is gone there is an answer without content (204).
 *
 * @param {FileRef} file
 */
export function fileUrl(file) {
  if (file.type === "temp") return api.apiURL(`/uncertainty/temporary/${encodeURIComponent(file.filename)}`);
  return api.apiURL(`/view?${new URLSearchParams({ ...file })}`);
}

/**
 * Where the browser gets something else of the server from.
 *
 * @param {string} path begins with a slash
 */
export function serverUrl(path) {
  return api.apiURL(path);
}

/**
 * Ask the server; the answer's JSON.
 *
 * @param {string} path begins with a slash
 * @param {unknown} [body] sent as JSON by POST; without it, GET
 * @returns {Promise<any>}
 * @throws {Error} with the server's own words if it refuses
 */
export async function ask(path, body) {
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await api.fetchApi(path, body === undefined ? {} : post);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `${path}: ${response.status} ${response.statusText}`);
  return answer;
}

/**
 * Call back whenever a run ended well.
 *
 * @param {() => void} listener
 * @returns {() => void} stops it
 */
export function onRunFinished(listener) {
  api.addEventListener("execution_success", listener);
  return () => api.removeEventListener("execution_success", listener);
}
