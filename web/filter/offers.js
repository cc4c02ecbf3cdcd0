/** The runs of a filter in mode choose that wait for a choice. They are saved with the workflow, so that none is lost. */

import { onQueueChanged, onRunEnded, queuedPrompts } from "../adapter/runs.js";

/**
 * @typedef {import("../shared/server.js").FileRef} FileRef
 * @typedef {{images: string, files: FileRef[]}} Offer the digests of its batches, and their files
 */

/** The prompts that carry on a run, by its first file, until they end. @type {Map<string, string>} */
const sent = new Map();

// The offers that were chosen from or cancelled in this browser, by the first file. The workflow in a saved picture tells what waited
// when it was queued.
const SETTLED = "Uncertainty.SettledChoices";
const MOST_SETTLED = 1000;

/** @returns {string[]} oldest first */
const settled = () => JSON.parse(localStorage.getItem(SETTLED) ?? "[]");

/** @param {FileRef[]} files of a run */
function settle(files) {
  localStorage.setItem(SETTLED, JSON.stringify([...settled().slice(1 - MOST_SETTLED), name(files)]));
}

/** @param {FileRef[]} files of a run */
const name = (files) => files[0]?.filename ?? "";

/** Called when one of them is over, however many filters there are. @type {Set<() => void>} */
const watching = new Set();

/** @param {(prompt: string) => boolean} over */
function forget(over) {
  const done = [...sent].filter(([, prompt]) => prompt && over(prompt));
  for (const [run] of done) sent.delete(run);
  if (done.length) for (const changed of watching) changed();
}

async function forgetRemoved() {
  if (!sent.size) return;
  const queued = await queuedPrompts();
  forget((prompt) => !queued.has(prompt));
}

onRunEnded((ended) => forget((prompt) => prompt === ended));
onQueueChanged(forgetRemoved);

export class Offers {
  /**
   * @param {import("../adapter/node_host.js").NodeHost} host remembers them
   * @param {() => void} changed called when a run that was sent on has ended, or was taken out of the queue
   */
  constructor(host, changed) {
    this.host = host;
    watching.add(changed);
    host.onRemove(() => watching.delete(changed));
  }

  /** Oldest first. @returns {Offer[]} */
  get #all() {
    const done = new Set(settled());
    return (this.host.memory.waiting ?? []).filter((/** @type {Offer} */ { files }) => !done.has(name(files)));
  }

  /** A run was carried out: it waits, or its images were chosen. @param {FileRef[]} files @param {Record<string, any>} output */
  take(files, { batch_digests, waits }) {
    const offer = { images: batch_digests.join(), files };
    const place = this.#all.findIndex(({ images }) => images === offer.images);
    const all = [...this.#all];
    if (place >= 0) settle(all[place].files); // these take its place
    all.splice(place < 0 ? all.length : place, place < 0 ? 0 : 1, ...(waits.includes(true) ? [offer] : []));
    if (all.length || this.host.memory.waiting?.length) this.host.keep({ waiting: all });
  }

  /** The runs that can be chosen from. @returns {FileRef[][]} */
  get open() {
    return this.#all.map(({ files }) => files).filter((files) => !this.isSent(files));
  }

  /** @param {FileRef[]} files */
  isOpen(files) {
    return this.open.some((each) => name(each) === name(files));
  }

  /** Whether its choice is on its way. @param {FileRef[]} files */
  isSent(files) {
    return sent.has(name(files));
  }

  /** A prompt carries the run on; an empty one is being queued. @param {FileRef[]} files @param {string} prompt */
  send(files, prompt) {
    sent.set(name(files), prompt);
    if (prompt) void forgetRemoved(); // it may have been taken out before its name was known
  }

  /** The choice that was sent does not count any more. @param {FileRef[]} files */
  unsend(files) {
    sent.delete(name(files));
  }

  /** Forget a run. @param {FileRef[]} files */
  drop(files) {
    settle(files);
    this.host.keep({ waiting: this.#all.filter((each) => name(each.files) !== name(files)) });
  }
}
