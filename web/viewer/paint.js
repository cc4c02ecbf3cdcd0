/** Draws heatmap and overlay with the same arithmetic as uncertainty/images/heatmaps.py, so that the view matches the node's outputs. */

/** @typedef {{data: Float32Array, height: number, width: number}} Picture */

/**
 * Resize bilinearly; pixels beyond an edge have the value at the edge.
 *
 * @param {Picture} picture
 * @param {number} height
 * @param {number} width
 * @returns {Picture}
 */
export function resize(picture, height, width) {
  if (picture.height === height && picture.width === width) return picture;
  const data = new Float32Array(height * width);
  const columns = positions(picture.width, width);
  const rows = positions(picture.height, height);
  for (let y = 0; y < height; y++) {
    const [top, bottom, v] = rows[y];
    const [above, below] = [top * picture.width, bottom * picture.width];
    for (let x = 0; x < width; x++) {
      const [left, right, u] = columns[x];
      const upper = (1 - u) * picture.data[above + left] + u * picture.data[above + right];
      const lower = (1 - u) * picture.data[below + left] + u * picture.data[below + right];
      data[y * width + x] = (1 - v) * upper + v * lower;
    }
  }
  return { data, height, width };
}

/**
 * For each pixel of the new side, its two neighbours on the old side and the weight of the second.
 *
 * @param {number} from
 * @param {number} to
 * @returns {[number, number, number][]}
 */
function positions(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const place = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const first = Math.min(Math.floor(place), from - 1);
    return [first, Math.min(first + 1, from - 1), place - first];
  });
}

/** Grey values of a picture, 0 to 255. @param {ImageData} image */
export function greyOf({ width, height, data }) {
  return Uint8Array.from({ length: width * height }, (_, i) => Math.round(0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]));
}

/**
 * Draw the heatmap, over a grey picture if there is one.
 *
 * @param {Picture} values
 * @param {[number, number]} range lowest and highest value of the colour scale
 * @param {Uint8Array} colormap 256 × 3
 * @param {Uint8Array | null} grey of the same size
 * @param {number} opacity of the heatmap, 0 to 1
 */
export function paint(values, [low, high], colormap, grey, opacity) {
  const image = new ImageData(values.width, values.height);
  const pixels = image.data;
  const scale = 255 / Math.max(high - low, 1e-38);
  const heat = grey ? opacity : 1;
  const colours = Float32Array.from(colormap, (level) => heat * level);
  for (let i = 0; i < values.data.length; i++) {
    const value = Number.isFinite(values.data[i]) ? values.data[i] : 0;
    const colour = 3 * Math.round(Math.min(255, Math.max(0, (value - low) * scale)));
    const under = grey ? (1 - heat) * grey[i] : 0;
    pixels[4 * i] = colours[colour] + under;
    pixels[4 * i + 1] = colours[colour + 1] + under;
    pixels[4 * i + 2] = colours[colour + 2] + under;
    pixels[4 * i + 3] = 255;
  }
  return image;
}

/**
 * The fraction of values that are lower than a value, 0 to 1.
 *
 * @param {Float32Array} ordered ascending
 * @param {number} value
 */
export function rank(ordered, value) {
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ordered[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low / ordered.length;
}
