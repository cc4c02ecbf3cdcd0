/** The rows of the ledger that were asked for so far, from the first on. */

import { page } from "./query.js";

/** @typedef {import("./query.js").Row} Row @typedef {import("./query.js").Wish} Wish */

const FIRST = 60;
const FURTHER = 500; // the most the server gives at once

export class Rows {
  /** @param {() => Wish} wish */
  constructor(wish) {
    this.wish = wish;
    /** @type {Row[]} */
    this.list = [];
    this.total = 0;
    /** @type {string | null} */
    this.next = null;
    // Answers that were overtaken by a newer question find their number outdated.
    this.generation = 0;
    /** @type {Promise<boolean> | null} */
    this.loading = null;
  }

  /**
   * Ask anew, from the first row on. What was there stays until all of it has come.
   *
   * @param {number} [seen] so many rows of the old ones are needed again
   * @returns {Promise<boolean>} false when it was overtaken
   */
  async start(seen = 0) {
    const generation = ++this.generation;
    this.loading = null;
    let { rows, total, next } = await page(this.wish(), FIRST, null);
    const needed = seen && seen + Math.max(0, total - this.total); // new ones may have come before them
    while (next && rows.length < needed && generation === this.generation) {
      const more = await page(this.wish(), FURTHER, next);
      rows = rows.concat(more.rows);
      next = more.next;
    }
    if (generation !== this.generation) return false;
    Object.assign(this, { list: rows, total, next });
    return true;
  }

  /** The next rows, if there are any. @returns {Promise<boolean>} whether some came */
  more() {
    if (!this.next) return Promise.resolve(false);
    if (!this.loading) {
      const loading = this.#append(this.next).finally(() => {
        if (this.loading === loading) this.loading = null;
      });
      this.loading = loading;
    }
    return this.loading;
  }

  /** @param {string} after */
  async #append(after) {
    const { generation } = this;
    const { rows, total, next } = await page(this.wish(), FURTHER, after);
    if (generation !== this.generation) return false;
    this.list = this.list.concat(rows);
    Object.assign(this, { total, next });
    return true;
  }
}
