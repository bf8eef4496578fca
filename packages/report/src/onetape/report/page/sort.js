// A click on a heading, Enter or space sorts by the column, ascending first.

function addSorting(head, sortBy) {
  head.classList.add("sorts");
  [...head.children].forEach((cell, at) => {
    cell.tabIndex = 0;
    const sort = () => {
      const down = cell.getAttribute("aria-sort") === "ascending";
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortBy(at, down);
    };
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort();
    });
  });
}

// Numbers in their order before texts in theirs; what has no number stays last in both directions.
function compareCells(one, other, down) {
  const areNumbers = [one, other].map((value) => typeof value === "number" && !isNaN(value));
  if (areNumbers[0] !== areNumbers[1]) return areNumbers[0] ? -1 : 1;
  const order = areNumbers[0] ? one - other : String(one).localeCompare(String(other));
  return down ? -order : order;
}

// The value that a cell of a table is sorted by: its data-sort, or its text if that is a number.
function cellValue(cell) {
  if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
  const text = cell.textContent.trim();
  // A date is no number, although it begins with a year.
  return /^[+-]?[\d,.]+ ?%?$/.test(text) ? parseFloat(text.replace(/[,%+\s]/g, "")) : text;
}

// Sorts a table whose rows are all there; a row of the class `hold` stays at the top.
function makeSortable(table) {
  const body = table.querySelector("tbody");
  addSorting(table.querySelector("thead tr"), (at, down) => {
    const rows = [...body.children].filter((row) => row.className !== "hold");
    const values = new Map(rows.map((row) => [row, cellValue(row.children[at])]));
    rows.sort((one, other) => compareCells(values.get(one), values.get(other), down));
    body.append(...rows);
  });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
