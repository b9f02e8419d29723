// Tables that people fill in: rows come by a button, by Enter and from a spreadsheet.
export const fire = (box) => box.dispatchEvent(new Event("input", { bubbles: true }));

/**
 * Let the tables of a kind grow and shrink. The kind says where they are and what they
 * are made of: selectors `table`, `add` and `remove`; `home(button)`, the table of an add
 * button; `rows(table)`, those that come and go; `rest(table)`, the row for what no other
 * row names, if there is one; `cells(row)`, its boxes; `most(table)` rows;
 * `arrange(table)` numbers the rows again and returns them; `empty(row)` and `alone(row)`
 * clear a new row, and the only one when it is removed; `column(row, box)` is where
 * pasted cells begin; `next(rows, at)` is the row to go on in when the one at that place
 * is gone, `start(row)` and `grown(table, row)` put the cursor there and into a new row.
 */
export function grow(kind) {
  function add(table) {
    const rows = kind.rows(table);
    if (rows.length >= kind.most(table)) return rows.at(-1);
    const row = kind.empty(rows.at(-1).cloneNode(true));
    rows.at(-1).after(row);
    kind.arrange(table);
    return row;
  }

  function press(event) {
    const button = event.target.closest(`${kind.add}, ${kind.remove}`);
    if (!button) return;
    event.preventDefault();
    event.stopPropagation();
    if (button.matches(kind.add)) {
      const table = kind.home(button);
      const row = add(table);
      kind.grown(table, row);
      return fire(kind.cells(row)[0]);
    }
    const table = button.closest(kind.table);
    const row = button.closest("tr");
    const at = kind.rows(table).indexOf(row);
    if (kind.rows(table).length > 1) row.remove();
    else kind.alone(row);
    const next = kind.next(kind.arrange(table), at);
    kind.start(next);
    fire(kind.cells(next)[0]);
  }

  /** Enter in the last row adds one. */
  function keys(event) {
    const table = event.target.closest?.(kind.table);
    if (event.key !== "Enter" || !table || !event.target.matches("input")) return;
    const row = event.target.closest("tr");
    if (row !== kind.rows(table).at(-1) && row !== kind.rest(table)) return;
    event.preventDefault();
    const made = add(table);
    fire(event.target);
    kind.grown(table, made);
  }

  /** Fill rows from a spreadsheet's cells; `*` fills the row for the rest. */
  function paste(event) {
    const table = event.target.closest?.(kind.table);
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!table || !/[\t\n]/.test(text.trim())) return;
    event.preventDefault();
    const rest = kind.rest(table);
    const from = event.target.closest("tr");
    const column = kind.column(from, event.target);
    const lines = text.replace(/\r/g, "").split("\n").filter((words) => words.trim())
      .map((words) => words.split("\t").map((value) => value.trim()));
    const isRest = (values) => rest && !column && values[0] === "*";
    let at = kind.rows(table).indexOf(from);
    if (at < 0) at = kind.rows(table).length - 1;
    // All rows first: a row that is no longer the last may have boxes that it had not.
    const wanted = Math.min(at + lines.filter((values) => !isRest(values)).length, kind.most(table));
    while (kind.rows(table).length < wanted) add(table);
    for (const values of lines) {
      const row = isRest(values) ? rest : kind.rows(table)[at++];
      if (row) kind.cells(row).slice(column).forEach((box, n) => write(box, values[n]));
    }
    kind.arrange(table);
    fire(event.target.isConnected ? event.target : table.querySelector("input"));
  }

  document.addEventListener("click", press, true);
  document.addEventListener("keydown", keys);
  document.addEventListener("paste", paste);
  document.addEventListener("input", ({ target }) => {
    const table = target.closest?.(kind.table);
    if (table) kind.arrange(table);
  });
}

/** Put a pasted value into a box that takes one; a choice by its value or its words. */
function write(box, value) {
  if (value === undefined || box.readOnly || box.type === "hidden") return;
  if (!box.options) box.value = value;
  else for (const choice of box.options)
    if ([choice.value, choice.text].includes(value)) box.value = choice.value;
}
