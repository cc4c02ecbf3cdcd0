/** The row of mode choose: what there is to do, and the buttons Send and Cancel. */

import { h, write } from "../shared/dom.js";
import { t, tn } from "../shared/texts.js";

const SEND = t("Run what comes behind this node, with the chosen images and the seeds of this run. It is the next in ComfyUI's queue");
const CANCEL = t("Send nothing on");
/**
 * @typedef {{count: number, open: boolean, waits: boolean, same: boolean, sent: boolean, further: number, problem: string}} Choice
 *   `count` images are chosen; the run can be cancelled (`open`), stopped at the node (`waits`), or went on with the same images;
 *   `sent`: it is about to go on; `further` runs wait; `problem`: why it cannot be sent on
 */

/** Height in pixels, with the gap below. */
const HEIGHT = 36;

export class SendRow {
  /** @param {{send: () => void, cancel: () => void}} actions */
  constructor({ send, cancel }) {
    this.note = h("p", { className: "unc-send-note", role: "status" });
    this.cancel = h("button", { type: "button", className: "unc-button", title: CANCEL, onclick: cancel }, t("Cancel"));
    this.send = h("button", { type: "button", className: "unc-button unc-send-button", title: SEND, onclick: send });
    this.element = h("div", { className: "unc-send", role: "group", "aria-label": t("Choice"), hidden: true }, this.note, this.cancel, this.send);
  }

  /** Height in pixels; 0 while the row is hidden. */
  get height() {
    return this.element.hidden ? 0 : HEIGHT;
  }

  /**
   * @param {Choice | null} choice null hides the row
   */
  show(choice) {
    this.element.hidden = !choice;
    if (!choice) return;
    const { count, open, same, sent, further } = choice;
    const more = further > 0 ? ` ${tn(further, "{count} more run waits.", "{count} more runs wait.")}` : "";
    write(this.note, words(choice) + more);
    write(this.send, t("Send {count}", { count }));
    this.send.disabled = !count || same || sent;
    this.cancel.hidden = !open;
  }
}

/** @param {Choice} choice */
function words({ open, waits, same, sent, problem }) {
  if (problem) return problem;
  if (sent) return t("Sent: it is the next in ComfyUI's queue.");
  if (open) return t("Click the images to choose, then send them on.");
  if (waits) return t("Cancelled: nothing was sent on.");
  return same ? t("These were sent on.") : t("Not sent on yet.");
}
