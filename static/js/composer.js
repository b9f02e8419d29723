// The composer: tiers by keyboard and paste, live problems, sliders, autosave.
const AUTOSAVE_MS = 1500;
const form = () => document.getElementById("composer");
const fire = (box) => box.dispatchEvent(new Event("input", { bubbles: true }));

/** Number a tier table again: ids, labels, floors, and ∞ on the last row alone. */
function arrange(table) {
  const prefix = table.dataset.tiers;
  const rows = [...table.querySelectorAll("[data-tier]")];
  rows.forEach((row, at) => {
    row.querySelector("[data-number]").textContent = at + 1;
    const before = at && rows[at - 1].querySelector(`[name="${prefix}-up_to"]`).value;
    row.querySelector("[data-floor]").textContent = at ? before : "0";
    const cell = row.children[2];
    const last = at === rows.length - 1;
    const typed = cell.querySelector("input:not([type=hidden])");
    if (last && typed) cell.innerHTML =
      `<input type="hidden" name="${prefix}-up_to" value=""><span class="endless">∞</span>`;
    if (!last && !typed) {
      const box = row.children[3].querySelector("input").cloneNode();
      box.name = `${prefix}-up_to`;
      box.value = "";
      cell.replaceChildren(box);
    }
    for (const [column, label] of [["up_to", "up to"], ["unit_amount", "price"], ["flat_amount", "flat amount"]]) {
      const box = row.querySelector(`[name="${prefix}-${column}"]`);
      if (box.type === "hidden") continue;
      box.id = `${prefix}-tier-${at}-${column}`;
      box.setAttribute("aria-label", `Tier ${at + 1} ${label}`);
    }
    row.querySelector("[data-effect]").id = `${prefix}-tier-${at}-effect`;
    row.querySelector("[data-tier-remove]").value = `${prefix}.tier.${at}.remove`;
  });
  return rows;
}

function clean(row) {
  // What a scenario's name lacks was told by its own button, and stays.
  row.querySelectorAll(".error:not(.scenario *)").forEach((text) => text.remove());
  row.querySelectorAll("[aria-invalid]:not(.scenario *)").forEach((box) => box.removeAttribute("aria-invalid"));
  return row;
}

function addTier(table) {
  const rows = arrange(table);
  const row = clean(rows.at(-1).cloneNode(true));
  row.querySelectorAll("input").forEach((box) => (box.value = ""));
  row.querySelector("[data-effect]").textContent = "";
  rows.at(-1).after(row);
  arrange(table);
  return row;
}

/** Fill rows from a spreadsheet: up to, price, flat amount; the last row is open. */
function paste(event) {
  const table = event.target.closest("[data-tiers]");
  const text = event.clipboardData?.getData("text/plain") ?? "";
  if (!table || !/[\t\n]/.test(text.trim())) return;
  event.preventDefault();
  const lines = text.replace(/\r/g, "").split("\n").filter((line) => line.trim());
  let at = [...table.querySelectorAll("[data-tier]")].indexOf(event.target.closest("[data-tier]"));
  const needed = at + lines.length;
  while (table.querySelectorAll("[data-tier]").length < Math.min(needed, 100)) addTier(table);
  for (const line of lines) {
    const row = table.querySelectorAll("[data-tier]")[at++];
    if (!row) break;
    const boxes = ["up_to", "unit_amount", "flat_amount"].map((name) =>
      row.querySelector(`[name="${table.dataset.tiers}-${name}"]`));
    line.split("\t").slice(0, 3).forEach((value, n) => {
      if (boxes[n].type !== "hidden") boxes[n].value = value.trim();
    });
  }
  arrange(table);
  fire(event.target.isConnected ? event.target : table.querySelector("input"));
}

function keys(event) {
  const { key, target } = event;
  if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "s" && form()) {
    event.preventDefault();
    save();
  } else if (event.altKey && key.toLowerCase() === "n" && form()) {
    event.preventDefault();
    document.getElementById("charge-add").click();
  } else if (key === "Enter" && target.matches("#composer input")) {
    event.preventDefault(); // Enter adds a tier, and saves by Ctrl+S only.
    const table = target.closest("[data-tiers]");
    if (!table || target.closest("[data-tier]") !== [...table.querySelectorAll("[data-tier]")].at(-1)) return;
    const at = table.querySelectorAll("[data-tier]").length - 1;
    addTier(table);
    fire(target);
    document.getElementById(`${table.dataset.tiers}-tier-${at}-up_to`).focus();
  }
}

/** Add and remove tiers here. */
function tiers(event) {
  const add = event.target.closest("[data-tier-add]");
  const remove = event.target.closest("[data-tier-remove]");
  if (!add && !remove) return;
  event.preventDefault();
  event.stopPropagation();
  if (add) {
    const table = add.closest("fieldset").querySelector(`[data-tiers="${add.value.split(".")[0]}"]`);
    addTier(table);
    const boxes = table.querySelectorAll(`[name="${table.dataset.tiers}-up_to"]:not([type=hidden])`);
    [...boxes].at(-1).focus();
    return fire(table.querySelector("input"));
  }
  const table = remove.closest("[data-tiers]");
  const row = remove.closest("[data-tier]");
  if (table.querySelectorAll("[data-tier]").length > 1) row.remove();
  const last = arrange(table).at(-1);
  last.querySelector("input:not([type=hidden])").focus();
  fire(last.querySelector("input"));
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
  const table = target.closest("[data-tiers]");
  if (table) arrange(table);
  target.closest("[data-charge]")?.querySelector("[data-waiting]")?.remove();
  if (/^c\d+-name$/.test(target.id))
    target.closest("[data-charge]").querySelector("[data-title]").textContent = target.value || "New charge";
  if (!target.closest("#usage")) later();
}

document.addEventListener("paste", paste);
document.addEventListener("keydown", keys);
document.addEventListener("click", tiers, true);
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
