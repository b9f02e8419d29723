// Search from anywhere: Ctrl/Cmd+K, arrows and Enter; Esc returns the focus.
export function palette() {
  const box = document.getElementById("palette");
  if (!box) return () => {};
  const input = box.querySelector("input");
  const list = box.querySelector("[role=listbox]");
  const options = () => [...list.querySelectorAll("[role=option]")];
  const chosen = () => list.querySelector("[aria-selected=true]");

  function choose(option) {
    chosen()?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) input.setAttribute("aria-activedescendant", option.id);
    else input.removeAttribute("aria-activedescendant");
  }
  function open() {
    if (box.open) return;
    box.showModal();
    input.select();
    input.dispatchEvent(new Event("palette:open"));
  }
  for (const button of document.querySelectorAll("[data-palette-open]"))
    button.addEventListener("click", (event) => {
      event.preventDefault();
      open();
    });
  input.addEventListener("keydown", (event) => {
    const all = options();
    const at = all.indexOf(chosen());
    if (event.key === "ArrowDown") choose(all[(at + 1) % all.length]);
    else if (event.key === "ArrowUp") choose(all.at(at <= 0 ? -1 : at - 1));
    else if (event.key === "Enter" && chosen()) chosen().click();
    else return;
    event.preventDefault();
  });
  list.addEventListener("htmx:afterSwap", () => choose(options()[0]));
  return open;
}
