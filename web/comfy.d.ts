// Types of the modules that ComfyUI serves beside this pack's files. Only the type check reads this file, no browser.
declare module "*/scripts/app.js" {
  import type { ComfyApp } from "@comfyorg/comfyui-frontend-types";
  export const app: ComfyApp;
}
declare module "*/scripts/api.js" {
  import type { ComfyApi } from "@comfyorg/comfyui-frontend-types";
  export const api: ComfyApi;
}
/** What the front-end also shares with extensions. */
interface Window {
  LiteGraph: {
    NODE_WIDGET_HEIGHT: number;
    createNode(type: string): any;
    registered_node_types: Record<string, { nodeData?: { output_node?: boolean } } | undefined>;
  };
  comfyAPI?: { utils?: { applyTextReplacements?: (app: unknown, text: string) => string } };
}
