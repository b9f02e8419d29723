// Tables of rows: rows by Enter and paste, derived ends, parts that do not apply.
const ROW = "tr[data-row]:not([data-rest])";
const own = (table) => [...table.querySelectorAll(ROW)];
const cells = (row) => [...row.querySelectorAll("[data-column]")];
const fire = (box) => box.dispatchEvent(new Event("input", { bubbles: true }));

/** Number the rows again: ids, labels, buttons; and the ends that nobody types. */
function arrange(table) {
  const rows = own(table);
  const rest = table.querySelector("tr[data-rest]");
  rows.forEach((row, at) => {
    const boxes = cells(row);
    for (const box of boxes) {
      box.id = `${table.id}-${at}-${box.dataset.column}`;
      box.setAttribute("aria-label", box.getAttribute("aria-label").replace(/\d+$/, at + 1));
    }
    const { fixed } = table.dataset;
    if (fixed && boxes[0].readOnly !== !at) {
      boxes[0].readOnly = !at;
      boxes[0].value = at ? "" : fixed;
    }
    row.querySelector("[data-row-remove]").value = table.dataset.rows.replace(/add$/, `${at}.remove`);
    const end = row.querySelector("[data-derived]");
    const other = rows[table.dataset.spans === "ends" ? at - 1 : at + 1];
    if (end) end.textContent = other ? cells(other)[0].value : table.dataset.spans === "ends" ? "0" : "∞";
  });
  if (rest) for (const box of cells(rest)) if (box.id) box.id = `${table.id}-${rows.length}-${box.dataset.column}`;
  return rows;
}

function empty(row) {
  row.querySelectorAll(".error").forEach((text) => text.remove());
  for (const box of cells(row)) {
    box.removeAttribute("aria-invalid");
    box.removeAttribute("aria-describedby");
    if (box.options) box.selectedIndex = 0;
    else if (!box.readOnly) box.value = "";
  }
  return row;
}

function add(table) {
  const last = own(table).at(-1);
  if (own(table).length >= Number(table.dataset.most)) return last;
  const row = empty(last.cloneNode(true));
  last.after(row);
  arrange(table);
  return row;
}

const start = (row) => cells(row).find((box) => !box.readOnly)?.focus();

/** Add and remove rows here. */
function buttons(event) {
  const button = event.target.closest("[data-row-add], [data-row-remove]");
  if (!button) return;
  event.preventDefault();
  event.stopPropagation();
  if ("rowAdd" in button.dataset) {
    const table = button.closest(".part").querySelector("[data-rows]");
    const row = add(table);
    start(row);
    return fire(cells(row)[0]);
  }
  const table = button.closest("[data-rows]");
  const row = button.closest("tr");
  const at = own(table).indexOf(row);
  if (own(table).length > 1) row.remove();
  else empty(row);
  const rows = arrange(table);
  const next = rows[Math.min(at, rows.length - 1)];
  start(next);
  fire(cells(next)[0]);
}

function keys(event) {
  const table = event.target.closest?.("[data-rows]");
  if (event.key !== "Enter" || !table || !event.target.matches("input")) return;
  const row = event.target.closest("tr");
  if (row !== own(table).at(-1) && !("rest" in row.dataset)) return;
  event.preventDefault();
  start(add(table));
  fire(event.target);
}

/** Fill rows from a spreadsheet's cells; `*` fills the row for the rest. */
function paste(event) {
  const table = event.target.closest?.("[data-rows]");
  const text = event.clipboardData?.getData("text/plain") ?? "";
  if (!table || !/[\t\n]/.test(text.trim())) return;
  event.preventDefault();
  const rest = table.querySelector("tr[data-rest]");
  const from = event.target.closest("tr");
  const column = cells(from).indexOf(event.target);
  let at = own(table).indexOf(from);
  if (at < 0) at = own(table).length - 1;
  for (const line of text.replace(/\r/g, "").split("\n").filter((words) => words.trim())) {
    const values = line.split("\t").map((value) => value.trim());
    let row = rest && !column && values[0] === "*" ? rest : own(table)[at];
    if (!row && own(table).length < Number(table.dataset.most)) row = add(table);
    if (!row) break;
    if (row !== rest) at += 1;
    cells(row).slice(column).forEach((box, n) => {
      if (values[n] === undefined || box.readOnly || box.type === "hidden") return;
      if (!box.options) box.value = values[n];
      else for (const choice of box.options)
        if ([choice.value, choice.text].includes(values[n])) box.value = choice.value;
    });
  }
  arrange(table);
  fire(event.target);
}

/** Tell whether something was typed into a box or a table. */
function filled(id) {
  const found = document.getElementById(id);
  if (!found?.matches("[data-rows]")) return Boolean(found?.value.trim());
  return cells(found).some((box) => !box.options && !box.readOnly && box.type !== "hidden" && box.value.trim());
}

/** Turn parts on and off; what holds something is never turned off. */
function apply() {
  for (const part of document.querySelectorAll("#composer [data-needs]")) {
    const box = document.getElementById(part.dataset.part);
    const says = box.options ? box.selectedIndex > 0 : filled(part.dataset.part);
    const idle = !part.dataset.needs.split(" ").some(filled);
    part.disabled = idle && !says;
    document.getElementById(`${part.dataset.part}-off`).hidden = !idle;
  }
}

document.addEventListener("click", buttons, true);
document.addEventListener("keydown", keys);
document.addEventListener("paste", paste);
document.addEventListener("input", ({ target }) => {
  const table = target.closest?.("[data-rows]");
  if (table) arrange(table);
  if (target.closest?.("#composer")) apply();
});
