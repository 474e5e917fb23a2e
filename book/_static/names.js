// For screen readers: ipywidgets leaves the handle of a slider without a name and its value as a number; sphinx-togglebutton gives
// every folded cell the same label in place of the words that one sees.
new MutationObserver(() => {
  for (const handle of document.querySelectorAll(".noUi-handle")) {
    const box = handle.closest(".widget-inline-hbox");
    const name = box?.querySelector(".widget-label")?.textContent, value = box?.querySelector(".widget-readout")?.textContent;
    if (name && handle.getAttribute("aria-label") !== name) handle.setAttribute("aria-label", name);
    if (value && handle.getAttribute("aria-valuetext") !== value) handle.setAttribute("aria-valuetext", value);
  }
  for (const folded of document.querySelectorAll('summary[aria-label="Toggle hidden content"]')) folded.removeAttribute("aria-label");
}).observe(document.documentElement, { subtree: true, childList: true, characterData: true });
