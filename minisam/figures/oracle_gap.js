// The page's side of OracleGap (oracle_gap.py): squares with a switch and a slider. Every word and number comes from Python.

const SIGNS = { win: "▲", loss: "▼", tie: "=" };
const NAMES = { win: "SAM wins", loss: "SAM loses", tie: "tie: the interval holds 0", none: "not measured" };
const points = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(1);

const HTML = `
  <div class="ms-guess"><p></p>
    <label class="ms-field">My guess <input type="range" class="ms-slider ms-mine" min="0" step="1"><output></output></label>
    <button type="button" class="ms-reveal">Show the squares</button></div>
  <div class="ms-shown" hidden>
    <div class="ms-top">
      <fieldset class="ms-tools"><legend>Which mask counts</legend>
        <label><input type="radio" value="confident" checked><span>the most confident</span></label>
        <label><input type="radio" value="oracle"><span>the best (oracle)</span></label>
      </fieldset>
      <label class="ms-field ms-clicks">Clicks <input type="range" class="ms-slider" min="0" step="1" value="0"><output></output></label>
    </div>
    <p class="ms-readout" role="status"></p>
    <div class="ms-squares" role="listbox" tabindex="0" aria-label="One square per domain; arrow keys read them out"></div>
    <p class="ms-status" role="status"></p>
    <ul class="ms-legend"></ul>
    <details class="ms-paper" open><summary>The paper's data sets</summary>
      <p class="ms-paper-words"></p><div class="ms-squares ms-small"></div></details>
  </div>
  <p class="ms-source"></p>`;

let figures = 0;

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "ms-click ms-oracle";
  root.innerHTML = HTML;
  el.append(root);
  const $ = (selector) => root.querySelector(selector), all = model.get("squares"), clicks = model.get("clicks");
  const name = `ms-oracle-${++figures}`, state = { which: "confident", clicks: 0, at: -1 };
  const key = () => `${state.which} ${clicks[state.clicks]}`;

  function square(label, verdict, value, id) {
    const div = document.createElement("div");
    div.className = "ms-square";
    div.dataset.verdict = verdict;
    const number = value === null ? "" : points(value);
    div.innerHTML = `<b aria-hidden="true">${SIGNS[verdict] ?? "·"}</b><span></span><small></small>`;
    div.querySelector("span").textContent = label;
    div.querySelector("small").textContent = number;
    if (id) Object.assign(div, { id });
    div.setAttribute("role", id ? "option" : "img");
    div.setAttribute("aria-label", `${label} ${number}: ${NAMES[verdict]}`);
    return div;
  }

  function show() {
    const grid = $(".ms-squares");
    grid.replaceChildren(...all.map(({ name: label, states, real }, i) => {
      const now = states[key()];
      const div = square(label, now?.verdict ?? "none", now?.points ?? null, `${name}-${i}`);
      div.classList.toggle("ms-real", real);
      div.setAttribute("aria-selected", i === state.at);
      div.addEventListener("pointerenter", () => tell(i));
      div.addEventListener("click", () => tell(i));
      return div;
    }));
    $(".ms-readout").textContent = model.get("words")[key()];
    $(".ms-clicks output").textContent = clicks[state.clicks];
    $(".ms-clicks input").setAttribute("aria-valuetext", `${clicks[state.clicks]} clicks`);
    $(".ms-paper-words").textContent = model.get("paper_words")[key()];
    const one = state.clicks === 0, oracle = state.which === "oracle";
    $(".ms-small").replaceChildren(...(one ? model.get("paper") : []).map(({ name: label, points: value }) =>
      square(label, oracle || value > 0 ? "win" : "loss", oracle ? null : value)));
    if (state.at >= 0) tell(state.at);
  }

  function tell(index) {
    state.at = index;
    const { name: label, states, real } = all[index], now = states[key()];
    $(".ms-status").textContent = `${label}${real ? " (real images)" : ""}: ${now ? `${NAMES[now.verdict]}. ${now.words}.` : "not measured."}`;
    [...$(".ms-squares").children].forEach((div, i) => div.setAttribute("aria-selected", i === index));
    $(".ms-squares").setAttribute("aria-activedescendant", `${name}-${index}`);
  }

  $(".ms-squares").addEventListener("keydown", (event) => {
    const boxes = [...$(".ms-squares").children], first = boxes[0].offsetTop;
    const across = boxes.filter((box) => box.offsetTop === first).length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // a notebook has keys of its own
    tell(Math.min(Math.max(state.at < 0 ? 0 : state.at + step, 0), all.length - 1));
  });
  for (const input of root.querySelectorAll(".ms-tools input")) {
    input.name = name;
    input.addEventListener("change", () => { state.which = input.value; show(); });
  }
  const slider = $(".ms-clicks input"), mine = $(".ms-mine");
  slider.max = clicks.length - 1;
  slider.addEventListener("input", () => { state.clicks = Number(slider.value); show(); });
  mine.max = all.length;
  mine.value = Math.round(all.length / 2);
  const guess = () => { mine.nextElementSibling.textContent = mine.value; };
  mine.addEventListener("input", guess);
  guess();
  $(".ms-guess p").textContent = model.get("question");
  $(".ms-reveal").addEventListener("click", () => {
    $(".ms-guess").hidden = true;
    $(".ms-shown").hidden = false;
    show();
    $(".ms-readout").textContent = `You guessed ${mine.value}. ${$(".ms-readout").textContent}`;
    $(".ms-squares").focus({ preventScroll: true });
  });
  $(".ms-legend").append(...Object.entries(NAMES).filter(([verdict]) => verdict !== "none").map(([verdict, text]) => {
    const li = document.createElement("li"), i = document.createElement("i");
    i.dataset.verdict = verdict;
    i.textContent = SIGNS[verdict];
    li.append(i, text);
    return li;
  }));
  if (all.some(({ real }) => real)) $(".ms-legend").append(Object.assign(document.createElement("li"), { textContent: "dashed border: a set of real images" }));
  const href = model.get("source"), link = document.createElement(href ? "a" : "span");
  if (href) link.href = href;
  link.textContent = "minisam/figures/oracle_gap.py, oracle_gap.js";
  $(".ms-source").append("Numbers in a square: difference of mean IoU in points. Source of this figure: ", link);
}

export default { render };
