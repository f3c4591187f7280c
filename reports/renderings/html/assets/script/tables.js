// Tables that are sorted by their headings.

function valueOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text.replace(/[,%x]/g, ""));
  return text === "" || text === "-" ? null : Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

// Largest first, then smallest first, then in the original order; text the other way round. Cells without a value come
// last either way.
function sortBy(table, heading, original) {
  const before = heading.getAttribute("aria-sort");
  const isText = heading.classList.contains("text");
  const order = isText ? ["ascending", "descending", null] : ["descending", "ascending", null];
  const next = order[(order.indexOf(before) + 1) % 3];
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  const rows = [...original];
  if (next) {
    heading.setAttribute("aria-sort", next);
    const sign = next === "ascending" ? 1 : -1;
    const keyed = rows.map((row) => [valueOf(row, heading.cellIndex), row]);
    keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)));
    rows.splice(0, rows.length, ...keyed.map(([, row]) => row));
  }
  table.tBodies[0].append(...rows);
  table.classList.toggle("is-sorted", Boolean(next));
}

function makeSortable(table) {
  const original = [...table.tBodies[0].rows];
  for (const heading of table.querySelectorAll("th[data-sorts]")) {
    const button = element("button", { type: "button", onclick: () => sortBy(table, heading, original) });
    button.append(...heading.childNodes);
    heading.append(button);
  }
}
