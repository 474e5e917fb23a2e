// A page on paper (make pdf, or the browser's print): every figure shows its picture, folded cells are open, colours are light.
// `page.html?print` does so at once; `?print=12` begins with page 12. When all is there, the page's title loses the name of the book, by which book/tools/pdf.py knows.
(function () {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const wanted = new URLSearchParams(location.search).get("print");
  // The sources of figures stay folded: they are in the project, and each title says where.
  const folded = () => all(".bd-article details:not(.sd-dropdown):not([open])");
  const guesses = () => all(".ms-states > .widget-toggle-buttons .widget-toggle-button:last-child:not(.mod-active), .ms-guess:not([hidden]) .ms-reveal:not([hidden])");
  let opened = [], theme = "";

  function open() {
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    opened = folded();
    for (const details of opened) details.open = true;
    for (const summary of all("details.hide > summary")) summary.classList.toggle("ms-untitled", summary.textContent.trim().startsWith("Show code cell"));
    for (const button of guesses()) button.click();
  }
  addEventListener("beforeprint", () => { if (wanted === null) open(); });
  addEventListener("afterprint", () => {
    if (wanted !== null) return;
    document.documentElement.dataset.theme = theme;
    for (const details of opened) details.open = false;
  });
  if (wanted === null) return;

  // A figure that is still on its way must not be missing: each place of a widget has one, and it has drawn itself.
  const missing = () => all('script[type="application/vnd.jupyter.widget-view+json"]').some((script) =>
    !script.closest(".cell_output")?.querySelector(".ms-states, .ms-canvas, .jupyter-widgets:not(:empty)"));
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  addEventListener("load", async () => {
    document.documentElement.style.counterReset = `page ${Number(wanted || 1) - 1}`;
    // A target of a link from another page gets a name in the PDF only if a link on this page names it too.
    const names = document.createElement("nav");
    names.hidden = true;
    names.append(...all(".bd-article [id]").map(({ id }) => Object.assign(document.createElement("a"), { href: `#${encodeURIComponent(id)}` })));
    document.querySelector(".bd-article").append(names);
    while (missing()) await pause(100);
    open();
    while (guesses().length) { await pause(200); for (const button of guesses()) button.click(); }
    await pause(1000); // until what was revealed is drawn
    await Promise.all(all("img").map((image) => image.decode?.().catch(() => 0)));
    await window.MathJax?.startup?.promise;
    document.title = document.title.replace(/ — minisam$/, "");
  });
})();
