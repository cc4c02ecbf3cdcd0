/** Where the cards of a list lie: in lines of equal height, with a heading above each section. */

/**
 * @typedef {{key: string, title: string}} Section
 * @typedef {{top: number, title: string, key: string}} Heading
 */

export const GAP = 8;
const HEADING = 26; // height of a heading with the gap below it, as in ledger.css

export class Places {
  constructor() {
    this.count = 0;
    this.lineHeight = GAP;
    this.height = 0;
    /** Index of the first card of each line. @type {number[]} */
    this.starts = [];
    /** Top of each line. @type {number[]} */
    this.tops = [];
    /** The headings, by the line below them. @type {Map<number, Heading>} */
    this.headings = new Map();
  }

  /**
   * @template Row
   * @param {Row[]} rows
   * @param {number} columns
   * @param {number} cardHeight
   * @param {(row: Row) => Section | null} sectionOf null if the list has no sections
   */
  arrange(rows, columns, cardHeight, sectionOf) {
    Object.assign(this, { count: rows.length, lineHeight: cardHeight + GAP, starts: [], tops: [], headings: new Map() });
    let top = 0;
    let inLine = columns;
    /** @type {string | undefined} */
    let before;
    rows.forEach((row, index) => {
      const section = sectionOf(row);
      const begins = section !== null && section.key !== before;
      if (begins) {
        this.headings.set(this.starts.length, { ...section, top });
        top += HEADING;
        before = section.key;
      }
      if (begins || inLine === columns) {
        this.starts.push(index);
        this.tops.push(top);
        top += this.lineHeight;
        inLine = 0;
      }
      inLine++;
    });
    this.height = Math.max(0, top - GAP);
  }

  /** The last line that begins at or above a value of an ascending list; 0 if there is none. @param {number[]} values @param {number} value */
  static #last(values, value) {
    let [low, high] = [0, values.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] <= value) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** The line of a card. @param {number} index */
  line(index) {
    return Places.#last(this.starts, index);
  }

  /** The line at a height. @param {number} y */
  lineAt(y) {
    return Places.#last(this.tops, y);
  }

  /** Index of the first card of a line, the number of cards after the last. @param {number} line */
  start(line) {
    return line < this.starts.length ? this.starts[Math.max(0, line)] : this.count;
  }

  /** Top of a card. @param {number} index */
  top(index) {
    return this.tops[this.line(index)];
  }

  /** Top of what must be in view to see a card: with the heading of its section if it is in the first line. @param {number} index */
  topWithHeading(index) {
    return this.headings.get(this.line(index))?.top ?? this.top(index);
  }

  /** Column of a card. @param {number} index */
  column(index) {
    return index - this.start(this.line(index));
  }

  /** The card as many lines below, or above if negative, in the same column as far as possible. @param {number} index @param {number} lines */
  below(index, lines) {
    const line = Math.min(this.starts.length - 1, Math.max(0, this.line(index) + lines));
    return Math.min(this.start(line) + this.column(index), this.start(line + 1) - 1);
  }
}
