// A click on a heading sorts its table by that column; numbers sort as numbers.
for (const table of document.querySelectorAll("table.sortable")) {
  const head = table.querySelector("thead tr"), body = table.querySelector("tbody");
  // A date is no number, although it begins with a year.
  const number = (text) => (/^[+-]?[\d,.]+ ?%?$/.test(text.trim()) ? parseFloat(text.replace(/[,%+\s]/g, "")) : NaN);
  const sortBy = (at, down) => {
    const key = (row) => row.children[at].textContent;
    const rows = [...body.children].filter((row) => row.className !== "hold");
    rows.sort((one, other) => {
      const [a, b] = [number(key(one)), number(key(other))];
      if (isNaN(a) !== isNaN(b)) return isNaN(a) ? 1 : -1;
      const order = isNaN(a) ? key(one).localeCompare(key(other)) : a - b;
      return down ? -order : order;
    });
    body.append(...rows);
  };
  [...head.children].forEach((cell, at) => {
    cell.tabIndex = 0;
    const sort = () => {
      const down = cell.getAttribute("aria-sort") === "ascending";
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortBy(at, down);
    };
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
  });
}
