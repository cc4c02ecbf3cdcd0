/** The selected rows. Rows stay selected when they are out of view and when the list is loaded again. */

/** @typedef {import("./query.js").Row} Row */

export class Selection {
  constructor() {
    /** @type {Map<number, Row>} */
    this.rows = new Map();
    /** Id of the row where a range starts. @type {number | null} */
    this.pivot = null;
  }

  /** @param {Row} row */
  has(row) {
    return this.rows.has(row.id);
  }

  clear() {
    this.rows.clear();
    this.pivot = null;
  }

  /** Select only this row. @param {Row} row */
  only(row) {
    this.rows.clear();
    this.rows.set(row.id, row);
    this.pivot = row.id;
  }

  /** @param {Row} row */
  toggle(row) {
    if (!this.rows.delete(row.id)) this.rows.set(row.id, row);
    this.pivot = row.id;
  }

  /** Select from the last selected row to this one. @param {Row[]} list @param {number} to */
  range(list, to) {
    const pivot = list.findIndex((row) => row.id === this.pivot);
    const from = pivot < 0 ? to : pivot;
    this.rows.clear();
    for (const row of list.slice(Math.min(from, to), Math.max(from, to) + 1)) this.rows.set(row.id, row);
    this.pivot = list[from].id;
  }

  /** @param {Row[]} list */
  all(list) {
    for (const row of list) this.rows.set(row.id, row);
  }

  /** Update the selected rows after the list was loaded again. @param {Row[]} list */
  renew(list) {
    for (const row of list) if (this.rows.has(row.id)) this.rows.set(row.id, row);
  }
}
