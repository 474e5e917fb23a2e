// The page's side of BlindRater (blind_rater.py): two outlines in random order, keys and buttons, a tally. shared/canvas.js and masks.js come before.

const HTML = `
  <p class="ms-ask"><strong>Guess first.</strong> Two networks got the same box around an object (dashed). Whose outlines will you like better, the generalist's, that never saw such scenes, or the
    specialist's, that learnt from a hurried annotator? Rate them blindly, then see.</p>
  <p class="ms-progress"></p>
  <div class="ms-two">
    <figure><canvas class="ms-a" role="img"></canvas><button type="button" data-choice="0">A is better <kbd>←</kbd></button></figure>
    <figure><canvas class="ms-b" role="img"></canvas><button type="button" data-choice="1">B is better <kbd>→</kbd></button></figure>
  </div>
  <div class="ms-row"><button type="button" data-choice="2">no difference <kbd>↓</kbd></button><button type="button" class="ms-again" hidden>Rate again</button></div>
  <p class="ms-readout" role="status"></p>
  <div class="ms-bars" hidden></div>
  <p class="ms-told"></p>
  <details class="ms-help" hidden><summary>Object by object</summary><table class="ms-table"></table></details>
  <p class="ms-source"></p>`;

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "ms-click ms-rater";
  root.innerHTML = HTML;
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Blind rating: arrow left for A, arrow right for B, arrow down for no difference");
  el.append(root);
  const $ = (selector) => root.querySelector(selector), pairs = model.get("pairs"), rivals = model.get("rivals");
  const state = { order: [], flipped: [], votes: [] };

  function begin() {
    state.order = pairs.map((_, i) => i);
    for (let i = pairs.length - 1; i > 0; i--) { const j = Math.floor(Math.random() * (i + 1)); [state.order[i], state.order[j]] = [state.order[j], state.order[i]]; }
    state.flipped = pairs.map(() => Math.random() < 0.5);
    state.votes = [];
    show();
  }

  const shownKind = (side) => rivals[state.flipped[state.votes.length] ? 1 - side : side];

  function show() {
    const done = state.votes.length === pairs.length;
    $(".ms-progress").textContent = done ? `All ${pairs.length} rated.` : `Object ${state.votes.length + 1} of ${pairs.length}: which is the better outline?`;
    for (const button of root.querySelectorAll("[data-choice]")) button.disabled = done;
    for (const part of [".ms-bars", ".ms-again", ".ms-help"]) $(part).hidden = !done;
    $(".ms-told").textContent = done ? model.get("paper") : "";
    if (done) tell();
    else {
      $(".ms-readout").textContent = state.votes.length ? `${state.votes.length} rated. Which outline was whose is told at the end.` : "";
      paint();
    }
  }

  function paint() {
    if (state.votes.length === pairs.length) return;
    const index = state.order[state.votes.length], pair = pairs[index], photo = new Image();
    photo.addEventListener("load", () => {
      [".ms-a", ".ms-b"].forEach((name, side) => one($(name), photo, pair, decodeText(pair.masks[shownKind(side)], pair.width, pair.height)));
      URL.revokeObjectURL(photo.src);
    });
    photo.src = URL.createObjectURL(new Blob([bytesOf(pair.jpeg)], { type: "image/jpeg" }));
    [".ms-a", ".ms-b"].forEach((name, side) => {
      const mask = decodeText(pair.masks[shownKind(side)], pair.width, pair.height), pixels = mask.reduce((sum, bit) => sum + bit, 0);
      $(name).setAttribute("aria-label", `Outline ${"AB"[side]}: a line around ${pixels} of ${mask.length} pixels of a rendered scene.`);
    });
  }

  function one(canvas, photo, pair, mask) {
    const scale = Math.max(1, Math.round(((canvas.clientWidth || 300) * (window.devicePixelRatio || 1)) / pair.width)), draw = canvas.getContext("2d");
    canvas.width = pair.width * scale;
    canvas.height = pair.height * scale;
    draw.imageSmoothingEnabled = true;
    draw.drawImage(photo, 0, 0, canvas.width, canvas.height);
    const [x0, y0, x1, y1] = pair.box.map((value) => value * scale), ratio = window.devicePixelRatio || 1;
    for (const [colour, dash] of [["#000", []], ["#fff", [6 * ratio, 5 * ratio]]]) {
      draw.setLineDash(dash);
      draw.strokeStyle = colour;
      draw.lineWidth = ratio;
      draw.strokeRect(x0, y0, x1 - x0 + scale, y1 - y0 + scale);
    }
    draw.setLineDash([]);
    const line = outlinePath(mask, pair.width, pair.height, scale);
    for (const [colour, wide] of [["#000", 4.5], ["#f0e442", 2.2]]) {
      draw.strokeStyle = colour;
      draw.lineWidth = wide * ratio;
      draw.stroke(line);
    }
  }

  function vote(choice) {
    if (state.votes.length === pairs.length) return;
    state.votes.push(choice === 2 ? "neither" : shownKind(choice));
    model.set("votes", [...state.votes]);
    model.save_changes();
    show();
  }

  /** The paper's grades on the same scale of ten, as a range. */
  function range() {
    const row = document.createElement("div"), bar = document.createElement("i"), name = document.createElement("span");
    bar.dataset.kind = "paper";
    bar.style.cssText = "margin-left:49%;width:14%"; // 7 to 9 of 10, where ten of ten are 70 %
    name.textContent = "paper: mean grades 7 to 9 of 10";
    row.append(bar, name);
    return row;
  }

  function tell() {
    const count = (kind) => state.votes.filter((vote) => vote === kind).length, kinds = [...rivals, "neither"];
    $(".ms-readout").textContent = `You preferred the generalist's outline for ${count("generalist")} of ${pairs.length} objects, the specialist's for ${count("specialist")}, and saw no difference for ${count("neither")}.`;
    $(".ms-bars").replaceChildren(...kinds.map((kind) => {
      const row = document.createElement("div"), bar = document.createElement("i"), name = document.createElement("span");
      bar.dataset.kind = kind;
      bar.style.width = `${(70 * count(kind)) / pairs.length}%`;
      name.textContent = `${kind} ${count(kind)}`;
      row.append(bar, name);
      return row;
    }), range());
    const cells = (tag, values) => { const tr = document.createElement("tr"); tr.append(...values.map((value) => { const cell = document.createElement(tag); cell.textContent = value; return cell; })); return tr; };
    $(".ms-table").replaceChildren(
      cells("th", ["object", "you chose", ...rivals.map((kind) => `${kind}: IoU exact / annotator`)]),
      ...state.votes.map((vote, n) => { const pair = pairs[state.order[n]]; return cells("td", [n + 1, vote, ...rivals.map((kind) => `${pair.iou[kind].exact.toFixed(2)} / ${pair.iou[kind].annotator.toFixed(2)}`)]); }));
  }

  for (const button of root.querySelectorAll("[data-choice]")) button.addEventListener("click", () => vote(Number(button.dataset.choice)));
  $(".ms-again").addEventListener("click", () => { begin(); root.focus({ preventScroll: true }); });
  root.addEventListener("keydown", (event) => {
    const choice = { ArrowLeft: 0, ArrowRight: 1, ArrowDown: 2 }[event.key];
    if (choice === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // a notebook has keys of its own
    vote(choice);
  });
  const sized = new ResizeObserver(() => paint());
  sized.observe($(".ms-two"));
  const href = model.get("source"), link = document.createElement(href ? "a" : "span");
  if (href) link.href = href;
  link.textContent = "minisam/figures/blind_rater.py, blind_rater.js";
  $(".ms-source").append("Masks computed by the models; votes stay in this page. Source of this figure: ", link);
  begin();
  return () => sized.disconnect();
}

export default { render };
