// The page's side of ClickFigure (click.py): draws the image, its prompt and a mask; listens to mouse, touch and keys.
// Python answers a prompt if there is one; if not, the atlas does: masks of the same model, computed beforehand (shared/atlas.py). shared/canvas.js comes before.

const FOREGROUND = 1, BACKGROUND = 0;
// Okabe–Ito colours; each mask also has its own hatching, so that colour is never the only difference.
const STYLES = [
  { rgb: [230, 159, 0], css: "repeating-linear-gradient(135deg, #e69f00 0 3px, #e69f0066 3px 8px)", hatch: (x, y) => (x + y) % 9 < 3 },
  { rgb: [86, 180, 233], css: "repeating-linear-gradient(45deg, #56b4e9 0 3px, #56b4e966 3px 8px)", hatch: (x, y) => (x - y + 9000) % 9 < 3 },
  { rgb: [0, 158, 115], css: "repeating-linear-gradient(0deg, #009e73 0 3px, #009e7366 3px 8px)", hatch: (x, y) => y % 9 < 3 },
];

// ---- masks -------------------------------------------------------------------------------------------------------------

/** decode_mask of atlas.py: LEB128 run lengths of the rows' differences -> Uint8Array of height · width zeros and ones. */
export function decodeMask(bytes, width, height) {
  const mask = new Uint8Array(width * height);
  let at = 0, on = false, run = 0, shift = 0;
  for (const byte of bytes) {
    run += (byte & 127) * 2 ** shift;
    shift += 7;
    if (byte < 128) {
      if (on) mask.fill(1, at, at + run);
      at += run;
      on = !on;
      run = shift = 0;
    }
  }
  for (let i = width; i < mask.length; i++) mask[i] ^= mask[i - width];
  return mask;
}

/** An atlas as pack() of atlas.py sent it -> {points, count, at(i) -> {iou, codes}}. */
async function openAtlas(packed) {
  const numbers = (view, Type) => new Type(bytesOf(view).slice().buffer);
  const points = numbers(packed.points, Float32Array), iou = numbers(packed.iou, Float32Array), lengths = numbers(packed.lengths, Uint32Array);
  const inflated = new Blob([bytesOf(packed.codes)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const codes = new Uint8Array(await new Response(inflated).arrayBuffer());
  const starts = [0];
  for (const length of lengths) starts.push(starts.at(-1) + length);
  const count = points.length / 2, masks = iou.length / count;
  return {
    points, count,
    nearest(x, y) {
      let best = 0, least = Infinity;
      for (let i = 0; i < count; i++) {
        const d = (points[2 * i] - x) ** 2 + (points[2 * i + 1] - y) ** 2;
        if (d < least) { least = d; best = i; }
      }
      return best;
    },
    at(i) {
      const which = Array.from({ length: masks }, (_, m) => i * masks + m);
      return { iou: which.map((m) => iou[m]), codes: which.map((m) => codes.subarray(starts[m], starts[m + 1])) };
    },
  };
}

// ---- the page ----------------------------------------------------------------------------------------------------------

const HTML = `
  <div class="ms-top">
    <label class="ms-field">Image <select class="ms-picture"></select></label>
    <span class="ms-mode" role="status"></span>
  </div>
  <div class="ms-main">
    <div class="ms-stage">
      <canvas class="ms-canvas" tabindex="0" role="application" aria-roledescription="image to point at"></canvas>
      <p class="ms-readout" aria-live="polite"></p>
      <p class="ms-status" role="status"></p>
    </div>
    <div class="ms-side">
      <div class="ms-guess"><p></p><button type="button" class="ms-reveal">Show the masks</button></div>
      <div class="ms-answer">
        <ol class="ms-list" aria-label="The masks, in the model's order"></ol>
        <label class="ms-field">Mask <input type="range" class="ms-slider" min="1" max="3" step="1" value="1"><output></output></label>
      </div>
      <fieldset class="ms-tools"><legend>A click adds</legend>
        <label><input type="radio" value="1" checked><span><b aria-hidden="true">+</b> object</span></label>
        <label><input type="radio" value="0"><span><b aria-hidden="true">−</b> background</span></label>
        <label><input type="radio" value="box"><span><b aria-hidden="true">▭</b> box</span></label>
      </fieldset>
      <div class="ms-row">
        <label class="ms-check"><input type="checkbox" class="ms-multi" checked><span>three masks<br><code>multimask_output</code></span></label>
        <button type="button" class="ms-clear">Clear</button>
      </div>
    </div>
  </div>
  <details class="ms-help"><summary>Mouse, touch and keys</summary>
    <ul>
      <li><b>Click</b>: a point on the object. <b>Right-click</b> or <b>Alt-click</b>: a point on the background. <b>Shift-drag</b>: a box.</li>
      <li>With the image focused: <b>arrow keys</b> move the cross (with <b>Alt</b> by one pixel), <b>Enter</b> places a point,
        <b>B</b> switches between object and background, <b>Shift</b> + arrow keys draw a box, <b>1</b>–<b>3</b> choose a mask,
        <b>Delete</b> clears.</li>
    </ul>
  </details>
  <p class="ms-source"></p>`;

function render({ model, el }) {
  const pictures = model.get("pictures"), picture = () => pictures[state.picture];
  const figure = canvasFigure(el, "ms-click", HTML, () => [picture().width, picture().height], paint);
  const { root, $, canvas, draw } = figure, slider = $(".ms-slider");
  const state = {
    picture: 0, points: [], labels: [], box: null, tool: "1", cursor: [0, 0], keyboard: false, drag: null,
    iou: [], masks: [], shown: 0, revealed: false, asked: null, live: false, searching: true, waiting: null, next: null, id: 0,
  };
  let known = null, timer = 0, deaf = 0, gone = false;
  const say = (text) => { $(".ms-status").textContent = text; };

  // -- which of the two answers: Python or the atlas
  function mode() {
    const box = $(".ms-mode"), grid = known?.count;
    box.dataset.live = state.live;
    box.textContent = state.live ? "Live: Python computes every answer."
      : grid ? `Static page: the nearest of ${grid} precomputed points answers. Boxes and several points need the live notebook (make lab).`
      : state.searching ? "Looking for Python …"
      : "This figure needs Python and has found none. Open the chapter as a live notebook (make lab) and run this cell.";
    for (const control of root.querySelectorAll(".ms-tools input:not([value='1']), .ms-multi")) control.disabled = !state.live;
  }

  async function choose(index) {
    Object.assign(state, { picture: index, points: [], labels: [], box: null, iou: [], masks: [], shown: 0, revealed: false, asked: null, drag: null, waiting: null, next: null });
    const chosen = picture();
    state.cursor = chosen.point ? [...chosen.point] : [chosen.width >> 1, chosen.height >> 1];
    $(".ms-guess p").textContent = chosen.question;
    canvas.setAttribute("aria-label", `${chosen.alt} Arrow keys move a cross, Enter asks for the masks at it.`);
    figure.load(chosen.jpeg);
    known = null;
    if (chosen.atlas) known = await openAtlas(chosen.atlas);
    if (state.picture !== index || gone) return;
    if (chosen.question && chosen.point) place(...chosen.point, FOREGROUND, true);
    else state.revealed = true;
    mode();
    hello();
    show();
  }

  function hello() {
    clearTimeout(deaf);
    try { model.send({ kind: "hello", picture: state.picture }); } catch { /* a static page has nobody to send to */ }
    deaf = setTimeout(() => { state.searching = false; mode(); }, 1500);
  }

  // -- prompts
  function place(x, y, label, quiet = false) {
    [x, y] = state.cursor = [inside(x, picture().width), inside(y, picture().height)];
    if (!state.live || !state.revealed) {
      if (!state.live && label === BACKGROUND) return say("A background point alone is not in the atlas; it needs the live notebook (make lab).");
      Object.assign(state, { points: [[x, y]], labels: [label], box: null });
    } else {
      state.points.push([x, y]);
      state.labels.push(label);
    }
    if (!quiet) state.revealed = true;
    ask();
  }

  function setBox(from, to, delay = 0) {
    if (!state.live) return say("Boxes need the live notebook (make lab): the atlas of this page holds single points.");
    const [x0, x1] = [from[0], to[0]].sort((a, b) => a - b), [y0, y1] = [from[1], to[1]].sort((a, b) => a - b);
    if (!state.revealed) Object.assign(state, { points: [], labels: [] });
    Object.assign(state, { box: [x0, y0, x1, y1], revealed: true });
    clearTimeout(timer);
    if (x1 > x0 && y1 > y0) timer = setTimeout(ask, delay);
    show();
  }

  function clear() {
    clearTimeout(timer);
    Object.assign(state, { points: [], labels: [], box: null, iou: [], masks: [], asked: null, revealed: true, next: null, waiting: null });
    say("");
    show();
  }

  // One question at a time: while Python works, only the latest prompt waits.
  function ask() {
    if (!state.points.length && !state.box) return clear();
    if (!state.live) {
      if (!known) return show();
      const [x, y] = state.points[0], i = known.nearest(x, y);
      state.asked = [x, y];
      state.points = [[known.points[2 * i], known.points[2 * i + 1]]];
      return receive(known.at(i));
    }
    state.asked = null;
    const prompt = {
      kind: "prompt", id: ++state.id, picture: state.picture, points: state.points, labels: state.labels, box: state.box, multimask: $(".ms-multi").checked,
    };
    if (state.waiting) state.next = prompt;
    else send(prompt);
    show();
  }

  function send(prompt) {
    state.waiting = prompt;
    say("Decoding …");
    model.send(prompt);
    clearTimeout(deaf);
    deaf = setTimeout(() => state.waiting && say("Python has not answered for ten seconds: is the kernel busy or gone?"), 10000);
  }

  function receive({ iou, codes }) {
    const { width, height } = picture();
    state.iou = iou;
    state.masks = codes.map((code) => decodeMask(code, width, height));
    state.areas = state.masks.map((mask) => mask.reduce((sum, bit) => sum + bit, 0) / mask.length);
    state.shown = iou.indexOf(Math.max(...iou));
    show();
  }

  function onMessage(content, buffers) {
    if (content.kind === "status") { clearTimeout(deaf); return say(content.text); }
    if (content.kind === "ready") {
      if (state.live) return;
      state.live = true;
      say("");
      mode();
      if (state.points.length) { if (state.asked) state.points = [state.asked]; ask(); }
      return;
    }
    if (content.kind === "error" && content.id == null) return say(`Python answered: ${content.text}`);
    const current = state.waiting && content.id === state.waiting.id;
    if (!current) return;
    clearTimeout(deaf);
    state.waiting = null;
    if (state.next) { const next = state.next; state.next = null; return send(next); }
    if (content.kind === "error") { say(`Python answered: ${content.text}`); Object.assign(state, { iou: [], masks: [] }); return show(); }
    say(`Decoded in ${content.milliseconds.toFixed(0)} ms.`);
    receive({ iou: content.iou, codes: buffers.map(bytesOf) });
  }

  // -- what is seen, and the same in words
  function percent(part) { return part > 0 && part < 0.01 ? "less than 1\u00a0%" : `${(100 * part).toFixed(0)}\u00a0%`; }

  function words() {
    if (!state.points.length && !state.box) return "No prompt. Click on something in the image.";
    const list = state.points.map(([x, y], i) => `${state.labels[i] === FOREGROUND ? "Point" : "Background point"} at (${x}, ${y})`);
    if (state.box) list.push(`Box from (${state.box[0]}, ${state.box[1]}) to (${state.box[2]}, ${state.box[3]})`);
    const prompt = list.join(", ") + (state.asked && `${state.asked}` !== `${state.points[0]}` ? `, the computed point nearest to (${state.asked.join(", ")})` : "") + ".";
    if (!state.revealed) return `${prompt} Make a guess, then show the masks.`;
    if (!state.masks.length) return prompt;
    const k = state.shown;
    return `${prompt} Mask ${k + 1} of ${state.masks.length}: predicted IoU ${state.iou[k].toFixed(2)}, covers ${percent(state.areas[k])} of the image.`;
  }

  function show() {
    const some = state.revealed && state.masks.length > 0;
    $(".ms-readout").textContent = words();
    $(".ms-guess").hidden = state.revealed;
    $(".ms-answer").hidden = !state.revealed;
    slider.max = Math.max(state.masks.length, 1);
    slider.disabled = state.masks.length < 2;
    slider.value = state.shown + 1;
    const position = some ? `${state.shown + 1} of ${state.masks.length}` : "none";
    slider.setAttribute("aria-valuetext", position);
    root.querySelector("output").textContent = position;
    $(".ms-list").replaceChildren(...(some ? state.masks : []).map((_, k) => {
      const item = document.createElement("li"), button = document.createElement("button"), swatch = document.createElement("i");
      button.type = "button";
      button.setAttribute("aria-pressed", k === state.shown);
      swatch.style.background = STYLES[k % 3].css;
      const name = document.createElement("span"), details = document.createElement("small");
      details.textContent = `predicted IoU ${state.iou[k].toFixed(2)}, area ${percent(state.areas[k])}`;
      name.append(`Mask ${k + 1} `, details);
      button.append(swatch, name);
      button.addEventListener("click", () => pick(k, true));
      item.append(button);
      return item;
    }));
    paint();
  }

  function pick(k, focus = false) {
    if (k < 0 || k >= state.masks.length) return;
    state.shown = k;
    show();
    if (focus) root.querySelectorAll(".ms-list button")[k].focus();
  }

  function paintMask() {
    const { width, height } = picture(), mask = state.masks[state.shown], { rgb, hatch } = STYLES[state.shown % 3];
    figure.drawPixels((i, x, y) => {
      if (!mask[i]) return [0, 0, 0, 70]; // black veil over what is not in the mask
      const rim = (x > 0 && !mask[i - 1]) || (x < width - 1 && !mask[i + 1]) || (y > 0 && !mask[i - width]) || (y < height - 1 && !mask[i + width]);
      return [...rgb, rim ? 255 : hatch(x, y) ? 150 : 60];
    });
  }

  function paint() {
    const u = figure.drawPhoto(true);
    if (!u) return;
    if (state.revealed && state.masks.length) paintMask();
    const stroke = (path, dash = []) => figure.stroke(path, 4 * u, 2 * u, dash.map((d) => d * u));
    const box = state.drag ? [...state.drag.from, ...state.drag.to] : state.box;
    if (box) { const path = new Path2D(); path.rect(box[0] + 0.5, box[1] + 0.5, box[2] - box[0], box[3] - box[1]); stroke(path, [6, 4]); }
    if (state.asked && state.revealed) { const path = new Path2D(); path.arc(state.asked[0] + 0.5, state.asked[1] + 0.5, 4 * u, 0, 7); stroke(path, [2, 2]); }
    state.points.forEach(([x, y], i) => {
      const disc = new Path2D(), sign = new Path2D(), plus = state.labels[i] === FOREGROUND, r = 9 * u;
      disc.arc(x + 0.5, y + 0.5, r, 0, 7);
      draw.setLineDash([]);
      draw.fillStyle = plus ? "#0072b2" : "#d55e00";
      draw.fill(disc);
      sign.moveTo(x + 0.5 - r / 2, y + 0.5); sign.lineTo(x + 0.5 + r / 2, y + 0.5);
      if (plus) { sign.moveTo(x + 0.5, y + 0.5 - r / 2); sign.lineTo(x + 0.5, y + 0.5 + r / 2); }
      draw.strokeStyle = "#fff";
      draw.lineWidth = 2 * u;
      draw.stroke(disc);
      draw.stroke(sign);
    });
    if (state.keyboard) {
      const [x, y] = [state.cursor[0] + 0.5, state.cursor[1] + 0.5], path = new Path2D();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { path.moveTo(x + 4 * u * dx, y + 4 * u * dy); path.lineTo(x + 18 * u * dx, y + 18 * u * dy); }
      stroke(path);
    }
  }

  // -- mouse, touch, keys
  const boxing = (event) => event.shiftKey || (state.tool === "box" && state.live);

  canvas.addEventListener("pointerdown", (event) => {
    state.keyboard = false;
    if (event.button === 0 && boxing(event)) {
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      state.drag = { from: figure.pixelAt(event), to: figure.pixelAt(event) };
    }
  });
  canvas.addEventListener("pointermove", (event) => { if (state.drag) { state.drag.to = figure.pixelAt(event); paint(); } });
  canvas.addEventListener("pointercancel", () => { state.drag = null; paint(); });
  canvas.addEventListener("pointerup", (event) => {
    if (!state.drag) return;
    const { from, to } = state.drag;
    state.drag = null;
    if (from[0] !== to[0] && from[1] !== to[1]) setBox(from, to);
    else say("A box needs some width and height: drag from one corner to the other.");
    paint();
    event.preventDefault();
  });
  canvas.addEventListener("click", (event) => {
    if (boxing(event)) return;
    place(...figure.pixelAt(event), event.altKey || state.tool === "0" ? BACKGROUND : FOREGROUND);
  });
  canvas.addEventListener("contextmenu", (event) => { event.preventDefault(); place(...figure.pixelAt(event), BACKGROUND); });

  canvas.addEventListener("keydown", (event) => {
    const { width, height } = picture(), move = ARROWS[event.key];
    if (event.ctrlKey || event.metaKey) return;
    if (move) {
      const step = event.altKey ? 1 : Math.max(Math.round(Math.max(width, height) / 50), 1);
      const from = state.keyboardBox && event.shiftKey ? state.keyboardBox : [...state.cursor];
      state.cursor = [inside(state.cursor[0] + move[0] * step, width), inside(state.cursor[1] + move[1] * step, height)];
      state.keyboardBox = event.shiftKey ? from : null;
      if (event.shiftKey) setBox(from, state.cursor, 250);
      else $(".ms-readout").textContent = `Cross at (${state.cursor.join(", ")}). Enter places a point.`;
    } else if (event.key === "Enter" || event.key === " ") place(...state.cursor, state.tool === "0" ? BACKGROUND : FOREGROUND);
    else if (event.key === "Delete" || event.key === "Backspace") clear();
    else if (event.key.toLowerCase() === "b" && state.live) tool(state.tool === "0" ? "1" : "0");
    else if ("123".includes(event.key)) pick(Number(event.key) - 1);
    else return;
    event.preventDefault();
    event.stopPropagation(); // a notebook has keys of its own
    state.keyboard = true;
    paint();
  });

  function tool(value) {
    state.tool = value;
    figure.checkTool(value);
    canvas.style.touchAction = value === "box" ? "none" : "";
    say(value === "0" ? "The next point marks background." : value === "box" ? "Drag a box on the image." : "The next point marks the object.");
  }

  slider.addEventListener("input", () => pick(Number(slider.value) - 1));
  $(".ms-multi").addEventListener("change", ask);
  $(".ms-clear").addEventListener("click", clear);
  $(".ms-reveal").addEventListener("click", () => { state.revealed = true; show(); canvas.focus({ preventScroll: true }); });
  figure.connect({
    tool, titles: pictures.map(({ title }) => title), choose, focus: (seen) => { state.keyboard = seen; },
    words: "Source of this figure: ", files: "minisam/figures/click.py, click.js, shared/atlas.py, shared/canvas.js", href: model.get("source"),
  });
  model.on("msg:custom", onMessage);
  choose(0);

  return () => {
    gone = true;
    clearTimeout(timer);
    clearTimeout(deaf);
    model.off("msg:custom", onMessage);
    figure.end();
  };
}

export default { render };
