// The composer: tiers by keyboard and paste, live problems, sliders, autosave.
import { clean, tiers } from "./tiers.js";

const AUTOSAVE_MS = 1500;
const form = () => document.getElementById("composer");

function keys(event) {
  const { key, target } = event;
  if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "s" && form()) {
    event.preventDefault();
    save();
  } else if (event.altKey && key.toLowerCase() === "n" && form()) {
    event.preventDefault();
    document.getElementById("charge-add").click();
  } else if (key === "Enter" && target.matches("#composer input")) {
    event.preventDefault(); // Enter adds a row, and saves by Ctrl+S only.
  }
}

/** Put the problems of the list beside their boxes. */
function mark() {
  const boxes = form();
  clean(boxes);
  for (const link of document.querySelectorAll("#problems [data-problem]")) {
    const box = document.getElementById(link.hash.slice(1));
    if (!box || !boxes.contains(box)) continue;
    const text = Object.assign(document.createElement("p"), { className: "error", id: `${box.id}-error` });
    text.textContent = link.dataset.problem;
    box.setAttribute("aria-invalid", "true");
    box.setAttribute("aria-describedby", text.id);
    box.after(text);
  }
  const frozen = Boolean(document.querySelector("#problems [data-problem]"));
  document.getElementById("figures").classList.toggle("is-frozen", frozen);
  boxes.classList.toggle("has-problems", frozen);
}

let timer = 0;
let saving;
function later() {
  clearTimeout(timer);
  timer = setTimeout(save, AUTOSAVE_MS);
}

async function save() {
  clearTimeout(timer);
  const own = form();
  if (!own || document.querySelector("[data-overwrite]")) return; // A choice is open.
  if (saving) return later();
  const data = new FormData(own);
  data.set("do", "autosave");
  const said = own.querySelector("[data-said]");
  try {
    saving = fetch(own.action, { method: "POST", body: data, headers: { "HX-Request": "true" } });
    const answer = await saving;
    if (!answer.ok && ![403, 409].includes(answer.status)) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ["save-state", "conflict"])
      document.getElementById(id).replaceChildren(...page.getElementById(id).childNodes);
    document.querySelector("[role=status].ok")?.remove();
    if (answer.ok) document.dispatchEvent(new CustomEvent("aforo:saved"));
    else document.getElementById("conflict").scrollIntoView({ block: "nearest" });
  } catch {
    said.textContent = "not saved: the server cannot be reached; trying again";
    timer = setTimeout(save, 10_000);
  } finally {
    saving = undefined;
  }
}

function typed({ target }) {
  if (!target.closest("#composer")) return;
  if (target.dataset.slides) document.getElementById(target.dataset.slides).value = target.value;
  const slider = target.id && document.querySelector(`[data-slides="${CSS.escape(target.id)}"]`);
  const quantity = Number(target.value.replaceAll(",", ""));
  if (slider && Number.isFinite(quantity)) {
    slider.max = Math.max(Number(slider.max), quantity * 2);
    slider.value = quantity;
  }
  target.closest("[data-charge]")?.querySelector("[data-waiting]")?.remove();
  if (/^c\d+-name$/.test(target.id))
    target.closest("[data-charge]").querySelector("[data-title]").textContent = target.value || "New charge";
  if (!target.closest("#usage")) later();
}

tiers();
document.addEventListener("keydown", keys);
document.addEventListener("input", typed);
document.addEventListener("toggle", ({ target }) => {
  const box = target.querySelector?.(":scope > .card-body > [data-open]");
  if (box) box.value = target.open ? "1" : "";
}, true);
document.addEventListener("click", ({ target }) => {
  // A problem may be inside a folded charge.
  const link = target.closest("#problems a");
  for (let box = link && document.getElementById(link.hash.slice(1)); box; box = box.parentElement)
    if (box.tagName === "DETAILS") box.open = true;
});
document.addEventListener("htmx:oobAfterSwap", ({ detail }) => detail.target.id === "problems" && mark());
document.addEventListener("htmx:afterSwap", ({ detail }) => detail.target.id === "composer" && later());
