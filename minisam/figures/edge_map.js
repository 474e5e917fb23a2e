// The page's side of EdgeMap (edge_map.py): maps computed beforehand, cut at a threshold. Every number comes from Python.

const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

const HTML = `
  <div class="ms-guess"><p><strong>Guess first.</strong> The masks are asked for at points, and nobody asks for edges. Will the map miss edges of the scene, or draw edges that are none? What
    will a finer grid of points change?</p><button type="button" class="ms-reveal">Show the map</button></div>
  <div class="ms-shown" hidden>
    <div class="ms-top">
      <label class="ms-field">Scene <select class="ms-picture"></select></label>
      <label class="ms-field">Masks <select class="ms-maps"></select></label>
      <label class="ms-field ms-cut">Threshold <input type="range" class="ms-slider" min="0" step="1"><output></output></label>
      <label class="ms-check"><input type="checkbox" class="ms-over" checked> the scene's own edges on top</label>
    </div>
    <div class="ms-two"><canvas class="ms-photo" role="img"></canvas><canvas class="ms-edges" role="img"></canvas></div>
    <p class="ms-readout" role="status"></p>
    <ul class="ms-legend"><li><i class="ms-found"></i>edge above the threshold</li><li><i class="ms-below"></i>edge below it</li><li><i class="ms-truth"></i>the scene's own edge</li></ul>
    <svg class="ms-curve" viewBox="0 0 240 200" role="img"></svg>
  </div>
  <p class="ms-source"></p>`;

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "ms-click ms-edgemap";
  root.innerHTML = HTML;
  el.append(root);
  const $ = (selector) => root.querySelector(selector), scenes = model.get("scenes"), levels = model.get("levels");
  const state = { scene: 0, map: 0, level: 0, turn: 0, photo: null, truth: null, edges: null };

  /** The pixels of a picture's bytes. */
  async function pixels(view, type) {
    const bitmap = await createImageBitmap(new Blob([bytesOf(view)], { type }), { colorSpaceConversion: "none" });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), draw = canvas.getContext("2d");
    draw.drawImage(bitmap, 0, 0);
    return draw.getImageData(0, 0, bitmap.width, bitmap.height).data;
  }

  async function choose() {
    const scene = scenes[state.scene], turn = ++state.turn;
    const [photo, truth, edges] = await Promise.all([pixels(scene.jpeg, "image/jpeg"), pixels(scene.truth, "image/png"), pixels(scene.maps[state.map].png, "image/png")]);
    if (turn !== state.turn) return; // another one has been chosen meanwhile
    Object.assign(state, { photo, truth, edges });
    show();
  }

  function show() {
    const scene = scenes[state.scene], map = scene.maps[state.map], level = levels[state.level], { precision, recall, f, pixels: count } = map.curve[state.level];
    const best = map.curve.reduce((most, point, i) => (point.f > map.curve[most].f ? i : most), 0);
    $(".ms-cut output").textContent = (level / 255).toFixed(2);
    $(".ms-readout").textContent = `${map.name}, ${map.masks} masks. Above ${(level / 255).toFixed(2)}: ${count} edge pixels; precision ${precision.toFixed(2)}, recall ${recall.toFixed(2)} of ${scene.pixels} pixels of the scene's own edges, F ${f.toFixed(2)}. The best F, ${map.curve[best].f.toFixed(2)}, is at ${(levels[best] / 255).toFixed(2)}.`;
    $(".ms-photo").setAttribute("aria-label", scene.alt);
    $(".ms-edges").setAttribute("aria-label", `Edge map of the scene. ${$(".ms-readout").textContent}`);
    paint(scene, level);
    curve(map.curve);
  }

  function paint(scene, level) {
    const { photo, truth, edges } = state, size = scene.size, over = $(".ms-over").checked;
    draw($(".ms-photo"), size, (i) => [photo[4 * i], photo[4 * i + 1], photo[4 * i + 2]]);
    draw($(".ms-edges"), size, (i) => {
      const e = edges[4 * i], own = over && truth[4 * i] > 127;
      if (e >= level) return [0, 0, 0];
      if (own) return [230, 159, 0];
      return e ? Array(3).fill(255 - 0.5 * Math.min(e + 60, 255)) : [255, 255, 255];
    });
  }

  function draw(canvas, size, colour) {
    canvas.width = canvas.height = size;
    const on = canvas.getContext("2d"), out = on.createImageData(size, size);
    for (let i = 0; i < size * size; i++) out.data.set([...colour(i), 255], 4 * i);
    on.putImageData(out, 0, 0);
  }

  function curve(points) {
    const at = ({ precision, recall }) => [30 + 200 * recall, 170 - 160 * precision];
    const line = points.filter((point) => point.pixels).map((point) => at(point).map((v) => v.toFixed(1)).join(",")).join(" ");
    const now = points[state.level], [x, y] = at(now);
    $(".ms-curve").setAttribute("aria-label", `Precision against recall; now recall ${now.recall.toFixed(2)}, precision ${now.precision.toFixed(2)}.`);
    $(".ms-curve").innerHTML = `<path d="M30,10V170H230" fill="none" stroke="currentColor"/><text x="130" y="193" text-anchor="middle">recall</text><text x="12" y="90" text-anchor="middle" transform="rotate(-90 12 90)">precision</text>
      <text x="26" y="14" text-anchor="end">1</text><text x="230" y="184" text-anchor="middle">1</text><polyline points="${line}" fill="none" stroke="#0072b2" stroke-width="2.5"/>${now.pixels ? `<circle cx="${x}" cy="${y}" r="6" fill="#d55e00" stroke="#000"/>` : ""}`;
  }

  const menu = $(".ms-picture"), maps = $(".ms-maps"), slider = $(".ms-cut input");
  menu.append(...scenes.map(({ title }, i) => new Option(title, i)));
  maps.append(...scenes[0].maps.map(({ name }, i) => new Option(name, i)));
  state.map = scenes[0].maps.length - 1;
  maps.value = state.map;
  slider.max = levels.length - 1;
  state.level = levels.findIndex((level) => level >= 40);
  slider.value = state.level;
  menu.addEventListener("change", () => { state.scene = Number(menu.value); choose(); });
  maps.addEventListener("change", () => { state.map = Number(maps.value); choose(); });
  slider.addEventListener("input", () => { state.level = Number(slider.value); if (state.edges) show(); });
  $(".ms-over").addEventListener("change", () => { if (state.edges) show(); });
  $(".ms-reveal").addEventListener("click", () => { $(".ms-guess").hidden = true; $(".ms-shown").hidden = false; choose(); maps.focus({ preventScroll: true }); });
  const href = model.get("source"), link = document.createElement(href ? "a" : "span");
  if (href) link.href = href;
  link.textContent = "minisam/figures/edge_map.py, edge_map.js";
  $(".ms-source").append("Maps and measures come from the model's masks. Source of this figure: ", link);
}

export default { render };
