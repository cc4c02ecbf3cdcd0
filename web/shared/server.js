/** Requests to ComfyUI's server. They need nothing of ComfyUI's page, because the library has a page of its own. */

/** @typedef {{filename: string, subfolder: string, type: string}} FileRef a file in one of ComfyUI's folders */

// ComfyUI, perhaps below a path of a proxy, serves this file as extensions/<pack>/shared/server.js.
const ROOT = new URL("../../../", import.meta.url);

/** The library's own page. */
export const PAGE = new URL("uncertainty", ROOT).href;

/**
 * URL of a route of the server.
 *
 * @param {string} path starts with a slash
 */
export function serverUrl(path) {
  return new URL(`api${path}`, ROOT).href;
}

/**
 * URL of a file. For a temporary file that was deleted, the server answers 204 (no content).
 *
 * @param {FileRef} file
 */
export function fileUrl(file) {
  if (file.type === "temp") return serverUrl(`/uncertainty/temporary/${encodeURIComponent(file.filename)}`);
  return serverUrl(`/view?${new URLSearchParams({ ...file })}`);
}

/**
 * Send a request to the server and return its JSON.
 *
 * @param {string} path starts with a slash
 * @param {unknown} [body] sent as JSON by POST; without it, the request is a GET
 * @returns {Promise<any>}
 * @throws {Error} with the server's message if the request fails
 */
export async function ask(path, body) {
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(serverUrl(path), { cache: "no-cache", ...(body === undefined ? {} : post) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `${path}: ${response.status} ${response.statusText}`);
  return answer;
}
