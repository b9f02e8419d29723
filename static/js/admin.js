// Names the search boxes that Django's admin makes out of selects: their own name is
// the chosen value, which is nothing at first.
function nameBoxes() {
  for (const select of document.querySelectorAll("select.admin-autocomplete")) {
    const box = select.parentElement.querySelector(".select2-selection[aria-labelledby]");
    const label = document.querySelector(`label[for="${CSS.escape(select.id)}"]`);
    if (!box || !label) continue;
    box.removeAttribute("aria-labelledby");
    box.setAttribute("aria-label", label.textContent.trim().replace(/:$/, ""));
    for (const part of box.querySelectorAll("[role=textbox]")) {
      part.removeAttribute("role");
      part.removeAttribute("aria-readonly");
    }
  }
}
new MutationObserver(nameBoxes).observe(document.documentElement, {
  childList: true,
  subtree: true,
});
