// The page's side of Words (words.py): masks that the model gave for phrases, chosen by radio buttons. shared/canvas.js and masks.js come before.

const HTML = `
  <div class="ms-guess"><p><strong>Guess first.</strong> The decoder was trained on embeddings of images, never on a word. Will a word do as well as the object's own image? And will a word for
    something that is not there give a mask at all?</p><button type="button" class="ms-reveal">Show the masks</button></div>
  <div class="ms-shown" hidden>
    <div class="ms-main">
      <div class="ms-stage"><canvas class="ms-canvas" role="img"></canvas></div>
      <div class="ms-side">
        <label class="ms-field">Scene <select class="ms-picture"></select></label>
        <fieldset class="ms-tools ms-phrases"><legend>Phrase</legend></fieldset>
        <fieldset class="ms-tools ms-prompts"><legend>Asked with</legend></fieldset>
        <ul class="ms-legend"><li><i class="ms-mask"></i>the mask</li><li><i class="ms-truth"></i>what the phrase means</li></ul>
      </div>
    </div>
    <p class="ms-readout" role="status"></p>
  </div>
  <p class="ms-source"></p>`;

function render({ model, el }) {
  const scenes = model.get("scenes"), state = { scene: 0, phrase: 0, prompt: 0 }, scene = () => scenes[state.scene];
  const figure = canvasFigure(el, "ms-click ms-words", HTML, () => [scene().size, scene().size], () => paint());
  const { $, canvas, draw } = figure, name = `ms-words-${++figures}`;

  /** Radio buttons: a label for each, chosen(i). */
  function radios(place, labels, group, chosen) {
    const old = [...$(place).querySelectorAll("label")];
    for (const label of old.splice(labels.length)) label.remove();
    labels.forEach((text, i) => {
      const label = old[i] ?? document.createElement("label");
      if (!old[i]) {
        label.innerHTML = `<input type="radio" name="${name}-${group}"><span></span>`;
        label.firstChild.checked = i === 0;
        label.firstChild.addEventListener("change", () => chosen(i));
        $(place).append(label);
      }
      label.lastChild.textContent = text;
    });
  }

  function show() {
    const question = scene().questions[state.phrase];
    radios(".ms-phrases", scene().questions.map(({ kind, phrase }) => `${kind}: ${phrase}`), "phrase", (i) => { state.phrase = i; show(); });
    $(".ms-readout").textContent = question.answers[state.prompt].words;
    canvas.setAttribute("aria-label", `${scene().alt} The mask tinted blue, the outline of what “${question.phrase}” means dashed. ${question.answers[state.prompt].words}`);
    paint();
  }

  function paint() {
    const u = figure.drawPhoto(true), { size, questions } = scene(), question = questions[state.phrase];
    if (!u) return;
    const mask = decodeText(question.answers[state.prompt].mask, size, size);
    figure.drawPixels((i, x, y) => (mask[i] ? [86, 180, 233, (x + y) % 8 < 2 ? 190 : 130] : [0, 0, 0, 90]));
    figure.stroke(outlinePath(mask, size, size, 1), 3 * u, 1.3 * u);
    for (const truth of question.truths) {
      const line = outlinePath(decodeText(truth, size, size), size, size, 1);
      for (const [colour, wide, dash] of [["#000", 4 * u, []], ["#e69f00", 2.6 * u, [6 * u, 4 * u]]]) {
        draw.setLineDash(dash);
        draw.strokeStyle = colour;
        draw.lineWidth = wide;
        draw.stroke(line);
      }
    }
    draw.setLineDash([]);
  }

  function choose(index) {
    state.scene = index;
    if (state.phrase >= scene().questions.length) { state.phrase = 0; $(".ms-phrases input").checked = true; }
    figure.load(scene().jpeg);
    show();
  }

  radios(".ms-prompts", model.get("prompts"), "prompt", (i) => { state.prompt = i; show(); });
  $(".ms-reveal").addEventListener("click", () => { $(".ms-guess").hidden = true; $(".ms-shown").hidden = false; show(); $(".ms-phrases input").focus({ preventScroll: true }); });
  const menu = $(".ms-picture"), href = model.get("source"), link = document.createElement(href ? "a" : "span");
  menu.append(...scenes.map(({ title }, i) => new Option(title, i)));
  menu.addEventListener("change", () => choose(Number(menu.value)));
  if (href) link.href = href;
  link.textContent = "minisam/figures/words.py, words.js";
  $(".ms-source").append("Masks of the model, computed when this page was made. Source of this figure: ", link);
  choose(0);
  return figure.end;
}

export default { render };
