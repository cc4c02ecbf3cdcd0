// Types of the front-end, with the members that the published types lack. Only the type check reads this file, no browser.
import type { ComfyExtension } from "@comfyorg/comfyui-frontend-types";

export type Extension = ComfyExtension;
export type LGraphNode = Parameters<NonNullable<ComfyExtension["nodeCreated"]>>[0];

/** A graph node. */
export type Node = LGraphNode & {
  onExecuted?: (output: Record<string, any>) => void;
  addDOMWidget: (name: string, type: string, element: HTMLElement, options: object) => { label?: string };
};

/** A node in a saved workflow. */
export type SavedNode = {
  id: string | number;
  type: string;
  size: [number, number];
  properties?: Record<string, any>;
  widgets_values?: unknown[];
};

/** A saved workflow. */
export type Saved = { nodes: SavedNode[]; definitions?: { subgraphs?: { id: string; nodes: SavedNode[] }[] } };

/** Of a workflow: the states that undo and redo go to. */
export type History = {
  nodeOutputs?: Record<string, Record<string, any>>;
  initialState: Saved;
  activeState: Saved;
  undoQueue: Saved[];
  redoQueue: Saved[];
};
export type Workflow = { changeTracker?: History | null };
export type Workflows = { activeWorkflow: Workflow | null; openWorkflows: Workflow[] };

/** A graph in API format. */
export type Prompt = Record<string, { class_type: string; inputs: Record<string, unknown> }>;

/** `render` fills the element and returns a function that undoes it. */
export type SidebarTab = { id: string; title: string; icon: string; tooltip: string; render: (element: HTMLElement) => () => void };

/** In ComfyUI's dialog. */
export type Setting = { id: string; category: string[]; name: string; tooltip: string } & (
  | { type: "boolean"; defaultValue: boolean }
  | { type: "combo"; defaultValue: string; options: { text: string; value: string }[] }
);

/** In ComfyUI's list of keys; `key` is pressed with Shift until the user binds another. */
export type Command = { id: string; label: string; key?: string; run: () => unknown };
