/** Which images are on the stage: one, or a champion beside its challengers. */

/** @typedef {import("./view.js").Id} Id */

/** Images side by side. */
export const MOST = 4;

export class Lineup {
  /** Side by side; 1 is a single image. */
  count = 1;
  /** The image that stays while others change; null with a single one. @type {Id | null} */
  champion = null;
  /** Place of the first challenger on the stage among all. */
  #from = 0;

  /** @param {Id[]} ids @param {Id} first */
  constructor(ids, first) {
    this.ids = ids;
    /** The image looked at: keys decide on it. */
    this.id = first;
    /** The challenger looked at last; a single image is its own. */
    this.challenger = first;
  }

  /** Its place in the list. */
  get index() {
    return this.ids.indexOf(this.id);
  }

  /** The images on the stage, the champion first. @returns {Id[]} */
  get shown() {
    return this.champion === null ? [this.id] : [this.champion, ...this.#others.slice(this.#from, this.#from + this.count - 1)];
  }

  /** Bring the challenger looked at onto the stage, and move the others only if it is not there. */
  #settle() {
    const others = this.#others;
    const page = this.count - 1;
    const here = others.indexOf(this.challenger);
    if (here < this.#from) this.#from = here - page + 1;
    else if (here >= this.#from + page) this.#from = here;
    this.#from = Math.max(0, Math.min(this.#from, others.length - page));
  }

  get #others() {
    return this.ids.filter((id) => id !== this.champion);
  }

  /** The list changed. An image that left it makes room for the one that took its place. @param {Id[]} ids not empty */
  renew(ids) {
    const place = Math.max(0, this.index);
    this.ids = ids;
    if (this.count > ids.length || (this.champion !== null && !ids.includes(this.champion))) this.compare(1);
    const others = this.#others;
    const found = (/** @type {Id} */ id) => (ids.includes(id) ? id : others[Math.min(place, others.length - 1)]);
    this.challenger = found(this.challenger);
    this.id = found(this.id);
    this.#settle();
  }

  /** @param {Id} id */
  look(id) {
    this.id = id;
    if (id !== this.champion) this.challenger = id;
    this.#settle();
  }

  /** Go on by that many images, at most to the ends; the champion stays. @param {number} by */
  go(by) {
    const ids = this.#others;
    const here = ids.indexOf(this.champion === null ? this.id : this.challenger);
    this.look(ids[Math.min(ids.length - 1, Math.max(0, here + by))]);
  }

  /** Compare the image looked at with others, or stop. @param {number} count */
  compare(count) {
    this.count = Math.min(count, this.ids.length);
    if (this.count === 1) {
      this.champion = null;
    } else if (this.champion === null) {
      const { index } = this;
      this.champion = this.id;
      this.#from = Math.min(index, this.ids.length - 2);
      this.look(this.ids[index + 1] ?? this.ids[index - 1]);
    }
    this.#settle();
  }

  /** Let the challenger looked at stay, and the next one challenge it. */
  crown() {
    if (this.champion === null || this.id === this.champion) return;
    const { index, count } = this;
    this.champion = null;
    this.id = this.ids[index];
    this.compare(count);
  }
}
