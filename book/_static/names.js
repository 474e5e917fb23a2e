// For screen readers: ipywidgets leaves the handle of a slider without a name and its value as a number; sphinx-togglebutton gives
// every folded cell the same label in place of the words that one sees; the theme's label of its search field leaves out the keys that
// one sees, that of its colour switch the colours; the bibliography is a list without items.
new MutationObserver(() => {
  for (const handle of document.querySelectorAll(".noUi-handle")) {
    const box = handle.closest(".widget-inline-hbox");
    const name = box?.querySelector(".widget-label")?.textContent, value = box?.querySelector(".widget-readout")?.textContent;
    if (name && handle.getAttribute("aria-label") !== name) handle.setAttribute("aria-label", name);
    if (value && handle.getAttribute("aria-valuetext") !== value) handle.setAttribute("aria-valuetext", value);
  }
  for (const search of document.querySelectorAll(".search-button-field[aria-label]")) search.removeAttribute("aria-label");
  for (const colours of document.querySelectorAll(".theme-switch-button")) {
    const shown = [...colours.querySelectorAll("svg")].find((icon) => icon.checkVisibility())?.querySelector("title")?.textContent;
    const name = shown ? `Color mode: ${shown}` : "Color mode";
    if (colours.getAttribute("aria-label") !== name) colours.setAttribute("aria-label", name);
  }
  for (const entry of document.querySelectorAll('[role="doc-biblioentry"]')) entry.setAttribute("role", "listitem");
  for (const folded of document.querySelectorAll('summary[aria-label="Toggle hidden content"]')) folded.removeAttribute("aria-label");
}).observe(document.documentElement, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["data-mode"] });
