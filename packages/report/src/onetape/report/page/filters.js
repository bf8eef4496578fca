// The filters of the trade list: text, result, exit reason, entry reason, symbol.

const FILTERS = ["text", "result", "exit", "entry", "symbol"];

function filterField(name) {
  return document.getElementById(`filter-${name}`);
}

// Fills the choices with the groups of the tables above, whose names are buttons.
function fillChoices() {
  for (const name of ["exit", "entry", "symbol"]) {
    const field = filterField(name);
    if (!field) continue; // a page of one symbol has no choice of symbols
    for (const button of document.querySelectorAll(`#groups-${name} button[data-filter="${name}"]`)) {
      const option = document.createElement("option");
      option.value = button.dataset.value;
      option.textContent = button.textContent;
      field.append(option);
    }
  }
}

// The text of a trade that is searched, in lower case.
function tradeWords(data, index) {
  const { trades } = data;
  const reasons = [trades.entry_reason, trades.exit_reason].map((column) => trades.reasons[column[index]]);
  const times = [trades.entry_time, trades.exit_time].map((column) => timeText(column[index]));
  return [marketOf(data, trades.market[index]).symbol, ...times, ...reasons].join(" ").toLowerCase();
}

function isListed(data, index, wanted) {
  const { trades } = data;
  const profit = trades.profit[index];
  if (wanted.result && (wanted.result === "win" ? profit <= 0 : profit >= 0)) return false;
  if (wanted.exit === "open" && !trades.open[index]) return false;
  if (wanted.exit && wanted.exit !== "open" && (trades.open[index] || trades.exit_reason[index] !== Number(wanted.exit))) return false;
  if (wanted.entry && trades.entry_reason[index] !== Number(wanted.entry)) return false;
  if (wanted.symbol && trades.market[index] !== Number(wanted.symbol)) return false;
  return !wanted.text || tradeWords(data, index).includes(wanted.text);
}

// Calls `changed` after each change of the filters; `data.trades.listed` has the trades that pass.
function makeFilters(data, changed) {
  const clear = document.getElementById("clear-filters");
  const fields = FILTERS.map(filterField).filter(Boolean);
  const refresh = () => {
    const wanted = Object.fromEntries(fields.map((field) => [field.id.slice("filter-".length), field.value.trim().toLowerCase()]));
    data.trades.listed = data.trades.entry_time.map((_, index) => isListed(data, index, wanted));
    const count = data.trades.listed.filter(Boolean).length;
    clear.disabled = fields.every((field) => !field.value);
    document.getElementById("filtered").textContent = clear.disabled ? "" : `${count} of ${data.trades.listed.length} trades`;
    changed();
  };
  fillChoices();
  for (const field of fields) field.addEventListener("input", refresh);
  clear.addEventListener("click", () => {
    for (const field of fields) field.value = "";
    refresh();
    fields[0].focus();
  });
  for (const button of document.querySelectorAll("button[data-filter]")) {
    button.addEventListener("click", () => {
      for (const field of fields) field.value = "";
      const field = filterField(button.dataset.filter);
      field.value = button.dataset.value;
      refresh();
      document.getElementById("trades").scrollIntoView({ block: "start" });
      field.focus({ preventScroll: true });
    });
  }
}
