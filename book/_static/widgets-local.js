// Between require.js and the widget manager on a page built with local scripts: where to find things, and MathJax 3 under its old name.
(function () {
  const local = new URL("local/", document.currentScript.src).href;
  requirejs.config({ paths: { anywidget: local + "anywidget", "@jupyter-widgets/html-manager/dist": local.slice(0, -1) } });
  window.addEventListener("load", () => {
    if (window.MathJax && !window.MathJax.Hub) window.MathJax.Hub = { Queue: ([, , element]) => window.MathJax.typesetPromise?.([element]) };
  });
})();
// ipywidgets leaves the handle of a slider without a name and its value as a number: say both to a screen reader.
new MutationObserver(() => {
  for (const handle of document.querySelectorAll(".noUi-handle")) {
    const box = handle.closest(".widget-inline-hbox");
    const name = box?.querySelector(".widget-label")?.textContent, value = box?.querySelector(".widget-readout")?.textContent;
    if (name && handle.getAttribute("aria-label") !== name) handle.setAttribute("aria-label", name);
    if (value && handle.getAttribute("aria-valuetext") !== value) handle.setAttribute("aria-valuetext", value);
  }
}).observe(document.documentElement, { subtree: true, childList: true, characterData: true });
