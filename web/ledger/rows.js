/** The rows of the ledger that are loaded so far, starting with the first. */

import { page } from "./query.js";

/** @typedef {import("./query.js").Row} Row @typedef {import("./query.js").Wish} Wish */

const FIRST = 60;
const FURTHER = 500; // the server's limit

export class Rows {
  /** @param {() => Wish} wish */
  constructor(wish) {
    this.wish = wish;
    /** @type {Row[]} */
    this.list = [];
    this.total = 0;
    /** @type {import("./query.js").Counts} */
    this.counts = {};
    /** @type {string | null} */
    this.next = null;
    // Increases with each new query, so that an older answer notices that it is outdated.
    this.generation = 0;
    /** @type {Promise<boolean> | null} */
    this.loading = null;
  }

  /**
   * Load the rows again from the first. The old rows stay until all new ones have arrived.
   *
   * @param {number} [seen] how many of the old rows to load again
   * @returns {Promise<boolean>} false if a newer query has replaced this one
   */
  async start(seen = 0) {
    const generation = ++this.generation;
    this.loading = null;
    let { rows, total, next, counts } = await page(this.wish(), FIRST, null);
    const needed = seen && seen + Math.max(0, total - this.total); // new rows may precede them
    while (next && rows.length < needed && generation === this.generation) {
      const more = await page(this.wish(), FURTHER, next);
      rows = rows.concat(more.rows);
      next = more.next;
    }
    if (generation !== this.generation) return false;
    Object.assign(this, { list: rows, total, next, counts });
    return true;
  }

  /** Load the next rows, if there are any. @returns {Promise<boolean>} whether rows were added */
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

  /** Put changed rows in the places of the old ones, also if they no longer match the wish. @param {Row[]} changed */
  replace(changed) {
    const byId = new Map(changed.map((row) => [row.id, row]));
    this.list = this.list.map((row) => {
      const now = byId.get(row.id) ?? row;
      this.counts[row.state]--;
      this.counts[now.state]++;
      return now;
    });
  }

  /** @param {string} after */
  async #append(after) {
    const { generation } = this;
    const { rows, total, next, counts } = await page(this.wish(), FURTHER, after);
    if (generation !== this.generation) return false;
    this.list = this.list.concat(rows);
    Object.assign(this, { total, next, counts });
    return true;
  }
}
