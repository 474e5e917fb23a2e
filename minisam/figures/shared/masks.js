// Masks on a page, shared by figures (blind_rater.js, words.js): Python puts this text before theirs.

/** COCO's text -> Uint8Array of height · width zeros and ones, row by row (rle_text.py). */
export function decodeText(text, width, height) {
  const counts = [], mask = new Uint8Array(width * height);
  let d = 0, shift = 0, at = 0, value = 0;
  for (const letter of text) {
    const group = letter.charCodeAt(0) - 48;
    d |= (group & 31) << shift;
    shift += 5;
    if (group & 32) continue;
    if (group & 16) d |= -1 << shift; // the last group's highest bit is the sign
    counts.push(d + (counts.length > 2 ? counts.at(-2) : 0));
    d = shift = 0;
  }
  for (const count of counts) {
    if (value) for (let n = at; n < at + count; n++) mask[(n % height) * width + Math.floor(n / height)] = 1;
    at += count;
    value ^= 1;
  }
  return mask;
}

/** The outline of a mask as closed paths along the edges of its pixels, which are scale wide; the image's border counts as outside. */
function outlinePath(mask, width, height, scale) {
  const next = new Map(), path = new Path2D(), row = width + 1; // from a corner to the next, the mask on the right
  const add = (from, to) => { if (next.has(from)) next.get(from).push(to); else next.set(from, [to]); };
  const bit = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (!mask[y * width + x]) continue;
    const corner = y * row + x;
    if (!bit(x, y - 1)) add(corner, corner + 1);
    if (!bit(x + 1, y)) add(corner + 1, corner + 1 + row);
    if (!bit(x, y + 1)) add(corner + 1 + row, corner + row);
    if (!bit(x - 1, y)) add(corner + row, corner);
  }
  for (const start of next.keys()) {
    while (next.get(start)?.length) {
      path.moveTo((start % row) * scale, Math.floor(start / row) * scale);
      for (let at = next.get(start).pop(); ; at = next.get(at).pop()) {
        path.lineTo((at % row) * scale, Math.floor(at / row) * scale);
        if (at === start) break;
      }
      path.closePath();
    }
  }
  return path;
}
