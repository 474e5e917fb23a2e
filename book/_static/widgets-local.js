// Between require.js and the widget manager on a page built with local scripts: where to find things, and MathJax 3 under its old name.
(function () {
  const local = new URL("local/", document.currentScript.src).href;
  const folder = local.slice(0, -1); // the widgets look for their fonts beside the place that their module's name leads to
  requirejs.config({ paths: { anywidget: local + "anywidget", "@jupyter-widgets": folder, "@jupyter-widgets/html-manager/dist": folder } });
  window.addEventListener("load", () => {
    if (window.MathJax && !window.MathJax.Hub) window.MathJax.Hub = { Queue: ([, , element]) => window.MathJax.typesetPromise?.([element]) };
  });
})();
