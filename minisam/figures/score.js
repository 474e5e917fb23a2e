// The page's side of ScoreFigure (score.py): a mask over the truth, to be moved and painted, and what it scores.
// Everything is counted here, so that the figure needs no Python; a test compares the counts with the kernels'. shared/canvas.js comes before.

// ---- COCO's run lengths: down the columns, first how many zeros, then how many ones … ------------------------------------

/** from_string of rle_text.py: COCO's text -> counts. */
export function fromText(text) {
  const counts = [];
  let d = 0, shift = 0;
  for (const letter of text) {
    const group = letter.charCodeAt(0) - 48;
    d |= (group & 31) << shift;
    shift += 5;
    if (group & 32) continue;
    if (group & 16) d |= -1 << shift; // the last group's highest bit is the sign
    counts.push(d + (counts.length > 2 ? counts.at(-2) : 0));
    d = shift = 0;
  }
  return counts;
}

/** to_string of rle_text.py: counts -> COCO's text. */
export function toText(counts) {
  let text = "";
  counts.forEach((count, i) => {
    let d = count - (i > 2 ? counts[i - 2] : 0), more = true;
    while (more) {
      const group = d & 31;
      d >>= 5;
      more = d !== (group & 16 ? -1 : 0);
      text += String.fromCharCode(48 + group + (more ? 32 : 0));
    }
  });
  return text;
}

/** counts -> Uint8Array of height · width zeros and ones, row by row. */
export function decodeRuns(counts, width, height) {
  const mask = new Uint8Array(width * height);
  let at = 0, value = 0;
  for (const count of counts) {
    if (value) for (let n = at; n < at + count; n++) mask[(n % height) * width + Math.floor(n / height)] = 1;
    at += count;
    value ^= 1;
  }
  return mask;
}

/** The inverse of decodeRuns. */
export function encodeRuns(mask, width, height) {
  const counts = [];
  let value = 0, run = 0;
  for (let x = 0; x < width; x++) for (let y = 0; y < height; y++) {
    if (mask[y * width + x] !== value) { counts.push(run); run = 0; value ^= 1; }
    run++;
  }
  return [...counts, run];
}

// ---- what is counted -----------------------------------------------------------------------------------------------------

/** The four kinds of pixels: in both, in the truth only, in the mask only, in neither. */
export function countPixels(mask, truth) {
  let both = 0, missed = 0, spilled = 0, neither = 0;
  for (let i = 0; i < mask.length; i++) {
    if (truth[i]) { if (mask[i]) both++; else missed++; }
    else if (mask[i]) spilled++;
    else neither++;
  }
  return { both, missed, spilled, neither };
}

/** IoU, Dice and pixel accuracy of the four counts; 0/0 is NaN. */
export function scores({ both, missed, spilled, neither }) {
  return {
    iou: both / (both + missed + spilled),
    dice: (2 * both) / (2 * both + missed + spilled),
    accuracy: (both + neither) / (both + missed + spilled + neither),
  };
}

/** The pixels whose square of 2d + 1 pixels lies wholly in the mask; what is outside the image is not in the mask. */
export function erode(mask, width, height, d) {
  const along = (from, to, lines, length, line, step) => {
    for (let l = 0; l < lines; l++) {
      let run = 0; // how many ones end here
      for (let n = 0; n < length; n++) {
        run = from[l * line + n * step] ? run + 1 : 0;
        if (run > 2 * d) to[l * line + (n - d) * step] = 1;
      }
    }
    return to;
  };
  const rows = along(mask, new Uint8Array(mask.length), height, width, width, 1);
  return along(rows, new Uint8Array(mask.length), width, height, 1, width);
}

/** The pixels with a pixel of the mask in their square of 2d + 1. */
export function dilate(mask, width, height, d) {
  const wide = width + 2 * d, high = height + 2 * d, outside = new Uint8Array(wide * high).fill(1);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) outside[(y + d) * wide + x + d] = 1 - mask[y * width + x];
  const kept = erode(outside, wide, high, d), grown = new Uint8Array(mask.length);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) grown[y * width + x] = 1 - kept[(y + d) * wide + x + d];
  return grown;
}

/** IoU of the two rims: the pixels of each mask that lie within d pixels of its outline. */
export function boundaryIou(mask, truth, width, height, d) {
  const rim = (of) => { const core = erode(of, width, height, d); return of.map((bit, i) => bit & ~core[i]); };
  return scores(countPixels(rim(mask), rim(truth))).iou;
}

// ---- what can be done to a mask ------------------------------------------------------------------------------------------

/** The mask moved by (dx, dy) pixels; what leaves the image is gone. */
export function moved(mask, width, height, dx, dy) {
  const out = new Uint8Array(mask.length);
  for (let y = Math.max(0, dy); y < Math.min(height, height + dy); y++)
    for (let x = Math.max(0, dx); x < Math.min(width, width + dx); x++) out[y * width + x] = mask[(y - dy) * width + x - dx];
  return out;
}

/** The mask with a disc of radius r round (x, y) set to value. */
export function dabbed(mask, width, height, x, y, r, value) {
  const out = mask.slice();
  for (let j = Math.max(0, y - r); j <= Math.min(height - 1, y + r); j++)
    for (let i = Math.max(0, x - r); i <= Math.min(width - 1, x + r); i++) if ((i - x) ** 2 + (j - y) ** 2 <= r * r) out[j * width + i] = value;
  return out;
}

// ---- the page ------------------------------------------------------------------------------------------------------------

// Okabe–Ito colours; every kind of pixel also has its own hatching.
const KINDS = {
  both: { name: "in both", rgb: [0, 158, 115], css: "repeating-linear-gradient(90deg, #009e73 0 3px, #009e7355 3px 8px)", hatch: (x) => x % 6 < 2 },
  missed: { name: "missed: only in the truth", rgb: [86, 180, 233], css: "repeating-linear-gradient(45deg, #56b4e9 0 3px, #56b4e955 3px 8px)", hatch: (x, y) => (x + y) % 6 < 2 },
  spilled: { name: "spilled: only in the mask", rgb: [230, 159, 0], css: "repeating-linear-gradient(135deg, #e69f00 0 3px, #e69f0055 3px 8px)", hatch: (x, y) => (x - y + 6000) % 6 < 2 },
  neither: { name: "in neither", rgb: null, css: "none" },
};
const MEASURES = { iou: "IoU", dice: "Dice", accuracy: "pixel accuracy", boundary: "boundary IoU" };
const COUNT = new Intl.NumberFormat("en").format;
const shown = (value) => (Number.isNaN(value) ? "0/0" : value.toFixed(3));

const HTML = `
  <div class="ms-top">
    <label class="ms-field">Object <select class="ms-picture"></select></label>
    <label class="ms-field">Mask <select class="ms-start"></select></label>
  </div>
  <div class="ms-main">
    <div class="ms-stage">
      <canvas class="ms-canvas" tabindex="0" role="application" aria-roledescription="mask to move and paint"></canvas>
      <p class="ms-readout" role="status"></p>
    </div>
    <div class="ms-side">
      <div class="ms-guess"><p></p>
        <label class="ms-field">My guess <input type="range" class="ms-slider ms-mine" min="0" max="1" step="0.05" value="0.5"><output>0.50</output></label>
        <button type="button" class="ms-reveal">Show the numbers</button></div>
      <div class="ms-numbers" hidden></div>
      <fieldset class="ms-tools"><legend>On the image</legend>
        <label><input type="radio" value="move" checked><span><b aria-hidden="true">✥</b> move</span></label>
        <label><input type="radio" value="add"><span><b aria-hidden="true">+</b> paint</span></label>
        <label><input type="radio" value="remove"><span><b aria-hidden="true">−</b> erase</span></label>
      </fieldset>
      <label class="ms-field">Brush <input type="range" class="ms-slider ms-brush" min="1" max="40" value="8"><output>8 px</output></label>
      <div class="ms-row">
        <button type="button" class="ms-grow">Grow 1 px</button><button type="button" class="ms-shrink">Shrink 1 px</button><button type="button" class="ms-undo">Undo</button>
      </div>
    </div>
  </div>
  <details class="ms-help"><summary>Mouse, touch and keys</summary>
    <ul>
      <li><b>Drag</b> on the image: moves the mask, or paints, or erases.</li>
      <li>With the image focused: <b>M</b>, <b>A</b>, <b>R</b> choose to move, paint (add) or erase (remove). <b>Arrow keys</b> move the mask or the brush by
        4 pixels, with <b>Alt</b> by 1; <b>Enter</b> or <b>Space</b> dabs, <b>Shift</b> + arrow keys paint on the way. <b>[</b> and <b>]</b> change the brush,
        <b>+</b> and <b>−</b> grow and shrink the mask, <b>Z</b> undoes.</li>
    </ul>
  </details>
  <p class="ms-source"></p>`;

function render({ model, el }) {
  const all = model.get("subjects"), subject = () => all[state.subject], size = () => [subject().width, subject().height];
  const figure = canvasFigure(el, "ms-click ms-score", HTML, size, () => paint());
  const { $, canvas } = figure;
  const state = { subject: 0, truth: null, base: null, by: [0, 0], tool: "move", brush: 8, cursor: [0, 0], keyboard: false, hover: null, drag: null, revealed: false, past: [] };
  const mask = () => moved(state.base, ...size(), ...state.by);

  function choose(index) {
    state.subject = index;
    const chosen = subject(), [width, height] = size();
    Object.assign(state, { truth: decodeRuns(fromText(chosen.truth), width, height), revealed: false, cursor: [...chosen.point], drag: null });
    state.outline = outline(state.truth, width, height);
    $(".ms-guess p").textContent = chosen.question;
    const menu = $(".ms-start");
    menu.replaceChildren(...chosen.starts.map(({ name }, i) => new Option(name, i)));
    menu.value = chosen.start;
    canvas.setAttribute("aria-label", `${chosen.alt} The true outline of ${chosen.title} and a mask to compare with it.`);
    figure.load(chosen.jpeg);
    begin();
  }

  function begin() {
    const start = subject().starts[Number($(".ms-start").value)];
    Object.assign(state, { base: decodeRuns(fromText(start.text), ...size()), by: [0, 0], past: [] });
    show();
  }

  // -- every change goes through here, so that Undo takes it back
  function remember() {
    state.past.push([state.base, [...state.by]]);
    if (state.past.length > 60) state.past.shift();
  }
  function commit(next) { state.base = next; state.by = [0, 0]; show(); }
  function change(next) { remember(); commit(next(mask(), ...size())); }
  function undo() { if (state.past.length) { [state.base, state.by] = state.past.pop(); show(); } }
  function dab([x, y]) { commit(dabbed(mask(), ...size(), x, y, state.brush, state.tool === "add" ? 1 : 0)); }
  function stroke(from, to) {
    const steps = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]), 1), value = state.tool === "add" ? 1 : 0;
    let next = mask();
    for (let s = 0; s <= steps; s += Math.max(1, state.brush >> 1))
      next = dabbed(next, ...size(), Math.round(from[0] + ((to[0] - from[0]) * s) / steps), Math.round(from[1] + ((to[1] - from[1]) * s) / steps), state.brush, value);
    commit(dabbed(next, ...size(), ...to, state.brush, value));
  }

  // -- what is seen, and the same in words
  function show() {
    const now = mask(), counts = countPixels(now, state.truth), values = scores(counts), runs = encodeRuns(now, ...size());
    values.boundary = boundaryIou(now, state.truth, ...size(), subject().band);
    $(".ms-guess").hidden = state.revealed;
    $(".ms-numbers").hidden = !state.revealed;
    const list = (items) => { const dl = document.createElement("dl"); dl.append(...items.flat()); return dl; };
    const term = (text, css) => { const dt = document.createElement("dt"); if (css) { const i = document.createElement("i"); i.style.background = css; dt.append(i); } dt.append(text); return dt; };
    const number = (text, part) => { const dd = document.createElement("dd"); if (part !== undefined) { const bar = document.createElement("b"); bar.style.width = `${100 * (part || 0)}%`; dd.append(bar); } dd.append(text); return dd; };
    $(".ms-numbers").replaceChildren(
      list(Object.entries(KINDS).map(([kind, { name, css }]) => [term(name, css), number(COUNT(counts[kind]))])),
      list(Object.entries(MEASURES).map(([key, name]) => [term(name), number(shown(values[key]), values[key])])));
    $(".ms-undo").disabled = !state.past.length;
    const pixels = `${COUNT(counts.both)} pixels in both, ${COUNT(counts.missed)} missed, ${COUNT(counts.spilled)} spilled, ${COUNT(counts.neither)} in neither.`;
    const words = Object.entries(MEASURES).map(([key, name]) => `${name} ${shown(values[key])}`).join(", ");
    $(".ms-readout").textContent = state.revealed
      ? `${pixels} ${words}. As run lengths: ${COUNT(runs.length)} numbers, ${COUNT(toText(runs).length)} characters.`
      : "Make a guess, then show the numbers.";
    state.values = values;
    paint(now);
  }

  function paint(now = mask()) {
    const u = figure.drawPhoto(false), { truth } = state;
    if (!u) return;
    figure.drawPixels((i, x, y) => {
      const kind = truth[i] ? (now[i] ? KINDS.both : KINDS.missed) : now[i] ? KINDS.spilled : null;
      return kind && [...kind.rgb, kind.hatch(x, y) ? 215 : 80];
    });
    figure.stroke(state.outline, 3.5 * u, 1.7 * u);
    const at = state.keyboard ? state.cursor : state.hover;
    if (state.tool !== "move" && at) {
      const disc = new Path2D();
      disc.arc(at[0] + 0.5, at[1] + 0.5, state.brush + 0.5, 0, 7);
      figure.stroke(disc, 4 * u, 2 * u);
    }
  }

  function outline(of, width, height) {
    const path = new Path2D();
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const bit = of[y * width + x];
      if (bit !== (x ? of[y * width + x - 1] : 0)) { path.moveTo(x, y); path.lineTo(x, y + 1); }
      if (bit !== (y ? of[(y - 1) * width + x] : 0)) { path.moveTo(x, y); path.lineTo(x + 1, y); }
    }
    return path;
  }

  // -- mouse, touch, keys
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    state.keyboard = false;
    state.drag = { last: figure.pixelAt(event), from: figure.pixelAt(event), by: [...state.by] };
    remember();
    if (state.tool !== "move") dab(state.drag.last);
  });
  canvas.addEventListener("pointermove", (event) => {
    const pixel = figure.pixelAt(event);
    state.hover = pixel;
    if (!state.drag) return paint();
    if (state.tool === "move") { state.by = [0, 1].map((k) => state.drag.by[k] + pixel[k] - state.drag.from[k]); show(); }
    else stroke(state.drag.last, pixel);
    state.drag.last = pixel;
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { state.drag = null; });
  canvas.addEventListener("pointerleave", () => { state.hover = null; paint(); });

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey) return;
    const step = ARROWS[event.key], key = event.key.toLowerCase();
    if (step) {
      const far = step.map((v) => v * (event.altKey ? 1 : 4));
      if (state.tool === "move") { remember(); state.by = state.by.map((v, k) => v + far[k]); show(); }
      else {
        const from = [...state.cursor];
        state.cursor = state.cursor.map((v, k) => inside(v + far[k], size()[k]));
        if (event.shiftKey) { remember(); stroke(from, state.cursor); }
        else { $(".ms-readout").textContent = `Brush at (${state.cursor.join(", ")}), radius ${state.brush} pixels. Enter ${state.tool === "add" ? "paints" : "erases"}.`; paint(); }
      }
    } else if ((key === "enter" || key === " ") && state.tool !== "move") { remember(); dab(state.cursor); }
    else if (key === "m" || key === "a" || key === "r") pick({ m: "move", a: "add", r: "remove" }[key]);
    else if (key === "[" || key === "]") brush(state.brush + (key === "]" ? 2 : -2));
    else if (key === "+" || key === "=") change((m, w, h) => dilate(m, w, h, 1));
    else if (key === "-" || key === "−") change((m, w, h) => erode(m, w, h, 1));
    else if (key === "z") undo();
    else return;
    event.preventDefault();
    event.stopPropagation(); // a notebook has keys of its own
    state.keyboard = true;
    paint();
  });

  function pick(tool) {
    state.tool = tool;
    figure.checkTool(tool);
    canvas.style.cursor = tool === "move" ? "move" : "crosshair";
    paint();
  }
  function brush(radius) {
    state.brush = Math.min(Math.max(radius, 1), 40);
    $(".ms-brush").value = state.brush;
    $(".ms-brush").nextElementSibling.textContent = `${state.brush} px`;
    paint();
  }

  $(".ms-brush").addEventListener("input", (event) => brush(Number(event.target.value)));
  $(".ms-mine").addEventListener("input", (event) => { event.target.nextElementSibling.textContent = Number(event.target.value).toFixed(2); });
  $(".ms-reveal").addEventListener("click", () => {
    state.revealed = true;
    show();
    $(".ms-readout").textContent = `You guessed ${Number($(".ms-mine").value).toFixed(2)}; the IoU is ${shown(state.values.iou)}. ${$(".ms-readout").textContent}`;
    canvas.focus({ preventScroll: true });
  });
  $(".ms-grow").addEventListener("click", () => change((m, w, h) => dilate(m, w, h, 1)));
  $(".ms-shrink").addEventListener("click", () => change((m, w, h) => erode(m, w, h, 1)));
  $(".ms-undo").addEventListener("click", undo);
  $(".ms-start").addEventListener("change", begin);
  figure.connect({
    tool: pick, titles: all.map(({ title }) => title), choose, focus: (seen) => { state.keyboard = seen; },
    words: "Counted in this page. Source of this figure: ", files: "minisam/figures/score.py, score.js, shared/canvas.js", href: model.get("source"),
  });
  choose(0);
  pick("move");
  return figure.end;
}

export default { render };
