// What both figures on a canvas share (click.js, score.js): Python puts this text before theirs.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const inside = (value, count) => Math.min(Math.max(Math.floor(value), 0), count - 1);

let figures = 0; // on this page: the radio buttons of each have a name of their own

/** The figure's elements in el, and a photo on its canvas. size() -> [width, height] of the photo; paint() draws everything. */
function canvasFigure(el, classes, html, size, paint) {
  const root = document.createElement("div");
  root.className = classes;
  root.innerHTML = html;
  el.append(root);
  const $ = (selector) => root.querySelector(selector);
  const canvas = $(".ms-canvas"), draw = canvas.getContext("2d"), layer = document.createElement("canvas"), photo = new Image();
  let address = "";
  photo.addEventListener("load", () => paint());
  const sized = new ResizeObserver(() => paint());
  sized.observe(canvas);

  return {
    root, $, canvas, draw,

    load(jpeg) {
      const [width, height] = size();
      canvas.style.setProperty("--ms-ratio", width / height);
      URL.revokeObjectURL(address);
      address = URL.createObjectURL(new Blob([bytesOf(jpeg)], { type: "image/jpeg" }));
      photo.src = address;
    },

    /** Draw the photo, at the screen's resolution -> the size of a screen's pixel in the photo's; 0 while there is nothing to draw. */
    drawPhoto(smooth) {
      if (!photo.complete || !photo.naturalWidth || !canvas.clientWidth) return 0;
      const [width, height] = size(), scale = (canvas.clientWidth * (window.devicePixelRatio || 1)) / width;
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      draw.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
      draw.imageSmoothingEnabled = smooth;
      draw.drawImage(photo, 0, 0, width, height);
      return width / canvas.clientWidth;
    },

    /** Colour the photo's pixels: colour(i, x, y) -> [red, green, blue, alpha], or null for none. */
    drawPixels(colour) {
      const [width, height] = size();
      layer.width = width;
      layer.height = height;
      const on = layer.getContext("2d"), pixels = on.createImageData(width, height);
      for (let y = 0, i = 0; y < height; y++) for (let x = 0; x < width; x++, i++) {
        const rgba = colour(i, x, y);
        if (rgba) pixels.data.set(rgba, 4 * i);
      }
      on.putImageData(pixels, 0, 0);
      draw.drawImage(layer, 0, 0, width, height);
    },

    /** A white line on a wider black one, to be seen on every photo. */
    stroke(path, black, white, dash = []) {
      for (const [colour, wide] of [["#000", black], ["#fff", white]]) {
        draw.setLineDash(colour === "#fff" ? dash : []);
        draw.strokeStyle = colour;
        draw.lineWidth = wide;
        draw.stroke(path);
      }
    },

    /** [x, y], the photo's pixel under the mouse or finger. */
    pixelAt(event) {
      const frame = canvas.getBoundingClientRect(), [width, height] = size();
      return [inside(((event.clientX - frame.left) / frame.width) * width, width), inside(((event.clientY - frame.top) / frame.height) * height, height)];
    },

    checkTool(value) {
      for (const input of root.querySelectorAll(".ms-tools input")) input.checked = input.value === value;
    },

    /** Listen: tool(value) of a radio button, choose(i) of a title, focus(whether the keyboard's cross or brush is to be seen). Link the source. */
    connect({ tool, titles, choose, focus, words, files, href }) {
      const name = `ms-tool-${++figures}`, menu = $(".ms-picture"), link = document.createElement(href ? "a" : "span");
      for (const input of root.querySelectorAll(".ms-tools input")) { input.name = name; input.addEventListener("change", () => tool(input.value)); }
      titles.forEach((title, i) => menu.append(new Option(title, i)));
      menu.addEventListener("change", () => choose(Number(menu.value)));
      menu.disabled = titles.length < 2;
      canvas.addEventListener("blur", () => { focus(false); paint(); });
      canvas.addEventListener("focus", () => { focus(canvas.matches(":focus-visible")); paint(); });
      if (href) link.href = href;
      link.textContent = files;
      $(".ms-source").append(words, link);
    },

    end() {
      sized.disconnect();
      URL.revokeObjectURL(address);
    },
  };
}
