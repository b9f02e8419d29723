// Tables of tiers: each begins where the one above ends, and the last one has no end.
import { grow } from "./tables.js";

const COLUMNS = [["up_to", "up to"], ["unit_amount", "price"], ["flat_amount", "flat amount"]];
const TIERS_MAX = 100;
const own = (table) => [...table.querySelectorAll("[data-tier]")];
const shown = "input:not([type=hidden])";

function cells(row) {
  const prefix = row.closest("[data-tiers]").dataset.tiers;
  return COLUMNS.map(([name]) => row.querySelector(`[name="${prefix}-${name}"]`));
}

/** Number a tier table again: ids, labels, floors, and ∞ on the last row alone. */
function arrange(table) {
  const prefix = table.dataset.tiers;
  const rows = own(table);
  rows.forEach((row, at) => {
    row.querySelector("[data-number]").textContent = at + 1;
    const before = at && rows[at - 1].querySelector(`[name="${prefix}-up_to"]`).value;
    row.querySelector("[data-floor]").textContent = at ? before : "0";
    const cell = row.children[2];
    const last = at === rows.length - 1;
    const typed = cell.querySelector(shown);
    if (last && typed) cell.innerHTML =
      `<input type="hidden" name="${prefix}-up_to" value=""><span class="endless">∞</span>`;
    if (!last && !typed) {
      const box = row.children[3].querySelector("input").cloneNode();
      box.name = `${prefix}-up_to`;
      box.value = "";
      cell.replaceChildren(box);
    }
    cells(row).forEach((box, n) => {
      if (box.type === "hidden") return;
      box.id = `${prefix}-tier-${at}-${COLUMNS[n][0]}`;
      box.setAttribute("aria-label", `Tier ${at + 1} ${COLUMNS[n][1]}`);
    });
    row.querySelector("[data-effect]").id = `${prefix}-tier-${at}-effect`;
    row.querySelector("[data-tier-remove]").value = `${prefix}.tier.${at}.remove`;
  });
  return rows;
}

/** Take what was said of the boxes inside away. */
export function clean(part) {
  // What a scenario's name lacks was told by its own button, and stays.
  part.querySelectorAll(".error:not(.scenario *)").forEach((text) => text.remove());
  part.querySelectorAll("[aria-invalid]:not(.scenario *)").forEach((box) => box.removeAttribute("aria-invalid"));
  return part;
}

function empty(row) {
  clean(row).querySelectorAll("input").forEach((box) => (box.value = ""));
  row.querySelector("[data-effect]").textContent = "";
  return row;
}

/** Let the composer's tiers grow. */
export function tiers() {
  grow({
    table: "[data-tiers]",
    add: "[data-tier-add]",
    remove: "[data-tier-remove]",
    home: (button) => button.closest("fieldset").querySelector(`[data-tiers="${button.value.split(".")[0]}"]`),
    rows: own,
    rest: () => null,
    cells,
    most: () => TIERS_MAX,
    arrange,
    empty,
    alone: () => {},
    column: () => 0,
    next: (rows) => rows.at(-1),
    start: (row) => row.querySelector(shown).focus(),
    // The row that was the last one has an end now: that is typed first.
    grown: (table) => own(table).map((row) => cells(row)[0]).findLast((box) => box.type !== "hidden")?.focus(),
  });
}
