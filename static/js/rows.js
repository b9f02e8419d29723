// Tables of rows: derived ends, a row for the rest, parts that do not apply.
import { grow } from "./tables.js";

const ROW = "tr[data-row]:not([data-rest])";
const own = (table) => [...table.querySelectorAll(ROW)];
const cells = (row) => [...row.querySelectorAll("[data-column]")];

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

const start = (row) => cells(row).find((box) => !box.readOnly)?.focus();

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

grow({
  table: "[data-rows]",
  add: "[data-row-add]",
  remove: "[data-row-remove]",
  home: (button) => button.closest(".part").querySelector("[data-rows]"),
  rows: own,
  rest: (table) => table.querySelector("tr[data-rest]"),
  cells,
  most: (table) => Number(table.dataset.most),
  arrange,
  empty,
  alone: empty,
  column: (row, box) => cells(row).indexOf(box),
  next: (rows, at) => rows[Math.min(at, rows.length - 1)],
  start,
  grown: (table, row) => start(row),
});
document.addEventListener("input", ({ target }) => target.closest?.("#composer") && apply());
