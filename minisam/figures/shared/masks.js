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

/** The edges between a mask's pixels and what is outside of it, or of the image, as a path; a pixel is scale wide. */
function outlinePath(mask, width, height, scale) {
  const line = new Path2D(), bit = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : mask[y * width + x]);
  for (let y = 0; y <= height; y++) for (let x = 0; x <= width; x++) {
    if (bit(x, y) !== bit(x - 1, y)) { line.moveTo(x * scale, y * scale); line.lineTo(x * scale, (y + 1) * scale); }
    if (bit(x, y) !== bit(x, y - 1)) { line.moveTo(x * scale, y * scale); line.lineTo((x + 1) * scale, y * scale); }
  }
  return line;
}
