/**
 * The library on a page of its own, for a second monitor or a phone. ComfyUI's page, which loads every script of a pack, loads this one
 * too, without effect.
 */

import { h } from "../shared/dom.js";
import { fileUrl, serverUrl } from "../shared/server.js";
import { LANGUAGE, t } from "../shared/texts.js";
import { Library } from "./library.js";

const AGAIN_MS = 3000; // until a lost connection is made again

const home = /** @type {HTMLElement | null} */ (document.querySelector("main.unc-page"));
if (home) {
  document.documentElement.lang = LANGUAGE;
  new Library({ onChange, commands }).open(home);
}

/**
 * What works without a graph: the file holds the workflow, which ComfyUI opens when the file is dropped onto it.
 *
 * @param {import("./query.js").Row} row
 */
function commands({ file }) {
  return [{ text: t("Download the file"), run: () => h("a", { href: fileUrl(file), download: file.filename }).click() }];
}

/**
 * Call back whenever the queue has become shorter, whoever queued, after a lost connection, and when the page is looked at again.
 *
 * @param {() => void} listener
 */
function onChange(listener) {
  const looked = () => document.visibilityState === "visible" && listener();
  const connect = () => {
    let remaining = Infinity;
    const socket = new WebSocket(serverUrl("/ws").replace(/^http/, "ws"));
    socket.addEventListener("message", ({ data }) => {
      const { type, data: told } = typeof data === "string" ? JSON.parse(data) : {}; // previews are binary
      if (type !== "status") return;
      const before = remaining;
      remaining = told.status.exec_info.queue_remaining;
      if (remaining < before) listener();
    });
    socket.addEventListener("close", () => setTimeout(connect, AGAIN_MS));
  };
  connect();
  document.addEventListener("visibilitychange", looked);
  addEventListener("focus", looked);
  return () => {}; // the page is never closed by itself
}
