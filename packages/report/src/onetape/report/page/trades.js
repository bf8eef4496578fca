// The trade list: filtered, sorted, rows in batches, one of them chosen, reachable by keyboard.

const ROWS_AT_ONCE = 200;

// The cells of a row by name, in the order of the table's head.
function tradeCells(data, index) {
  const { trades } = data;
  const reason = [trades.entry_reason, trades.exit_reason].map((column) => trades.reasons[column[index]]);
  const market = marketOf(data, trades.market[index]);
  const price = (value) => numberText(value, market.price_decimals);
  return {
    number: `${index + 1}`,
    ...(data.others ? { symbol: market.symbol } : {}),
    percent: `${signedText(trades.percent[index], 2)} %`,
    entry: timeText(trades.entry_time[index]),
    exit: trades.open[index] ? "open position" : timeText(trades.exit_time[index]),
    profit: signedText(trades.profit[index], data.profit_decimals),
    entryPrice: price(trades.entry_price[index]),
    exitPrice: price(trades.exit_price[index]),
    amount: amountText(trades.amount[index], market.amount_decimals),
    fee: numberText(trades.fee[index], data.profit_decimals),
    why: reason.filter(Boolean).join("; then "),
  };
}

// What a column is sorted by: a function of the trade's index.
function sortKey(data, name) {
  const { trades } = data;
  const columns = {
    percent: trades.percent, entry: trades.entry_time, exit: trades.exit_time, profit: trades.profit,
    entryPrice: trades.entry_price, exitPrice: trades.exit_price, amount: trades.amount, fee: trades.fee,
  };
  if (columns[name]) return (index) => columns[name][index];
  if (name === "number") return (index) => index;
  return (index) => tradeCells(data, index)[name];
}

function tradeRow(data, index) {
  const row = document.createElement("tr");
  row.dataset.trade = index;
  row.tabIndex = -1; // one tab stop for the list; arrow keys move inside it
  Object.entries(tradeCells(data, index)).forEach(([name, text]) => {
    const cell = row.insertCell();
    cell.textContent = text;
    if (name === "why") cell.className = "text";
    if (name === "entry" || name === "exit") cell.className = "time";
    if (name === "percent" || name === "profit") cell.className = data.trades.profit[index] >= 0 ? "gain" : "loss";
    if (name === "exit" && data.trades.open[index]) {
      const tag = document.createElement("span");
      tag.className = "tag";
      tag.textContent = text;
      cell.replaceChildren(tag);
    }
  });
  return row;
}

// The list of the trades; `order` has the index of the trade of each row, in the order of the rows.
function makeTradeList(data, choose) {
  const body = document.querySelector("#trade-table tbody");
  const more = document.getElementById("more-trades");
  const count = data.trades.entry_time.length;
  const list = { body, count, chosen: -1, order: data.trades.entry_time.map((_, index) => index), sorting: null };
  list.growTo = (wanted) => {
    const rows = document.createDocumentFragment();
    const shown = list.order.slice(body.rows.length, wanted);
    shown.forEach((index) => rows.append(tradeRow(data, index)));
    body.append(rows);
    more.hidden = body.rows.length >= list.order.length;
    more.textContent = `Show more trades (${body.rows.length} of ${list.order.length} shown)`;
    if (body.rows.length && !body.querySelector('tr[tabindex="0"]')) body.rows[0].tabIndex = 0;
  };
  more.addEventListener("click", () => list.growTo(body.rows.length + ROWS_AT_ONCE));
  body.addEventListener("click", (event) => chooseRow(event.target.closest("tr"), choose));
  body.addEventListener("keydown", (event) => listKey(list, event, choose));
  list.growTo(ROWS_AT_ONCE);
  return list;
}

// Lists the trades that pass the filters, sorted by the chosen heading.
function showListed(list, data) {
  list.order = data.trades.listed.flatMap((isListed, index) => (isListed ? [index] : []));
  if (list.sorting) {
    const values = new Map(list.order.map((index) => [index, list.sorting.key(index)]));
    list.order.sort((one, other) => compareCells(values.get(one), values.get(other), list.sorting.down));
  }
  list.body.replaceChildren();
  list.growTo(ROWS_AT_ONCE);
  document.getElementById("trade-box").scrollTop = 0;
  const place = list.order.indexOf(list.chosen);
  if (place >= 0 && place < list.body.rows.length) list.body.rows[place].setAttribute("aria-current", "true");
}

function sortTrades(list, data, changed) {
  const names = Object.keys(list.count ? tradeCells(data, 0) : {});
  addSorting(document.querySelector("#trade-table thead tr"), (at, down) => {
    if (!names.length) return;
    list.sorting = { key: sortKey(data, names[at]), down };
    changed();
  });
}

function chooseRow(row, choose) {
  if (row) choose(Number(row.dataset.trade));
}

function listKey(list, event, choose) {
  const row = event.target.closest("tr");
  if (event.key === "Enter" || event.key === " ") chooseRow(row, choose);
  else if (event.key === "ArrowDown") focusRow(list, row.nextElementSibling);
  else if (event.key === "ArrowUp") focusRow(list, row.previousElementSibling);
  else return;
  event.preventDefault();
}

function focusRow(list, row) {
  if (!row) return;
  for (const other of list.body.querySelectorAll('tr[tabindex="0"]')) other.tabIndex = -1;
  row.tabIndex = 0;
  row.focus();
}

// Marks the row of a trade, if the list has one.
function markRow(list, index) {
  list.chosen = index;
  for (const row of list.body.querySelectorAll("tr[aria-current]")) row.removeAttribute("aria-current");
  const place = list.order.indexOf(index);
  if (place < 0) return;
  list.growTo(Math.ceil((place + 1) / ROWS_AT_ONCE) * ROWS_AT_ONCE);
  const row = list.body.rows[place];
  row.setAttribute("aria-current", "true");
  const box = document.getElementById("trade-box");
  if (row.offsetTop < box.scrollTop + 40 || row.offsetTop > box.scrollTop + box.clientHeight - 40) {
    box.scrollTop = row.offsetTop - box.clientHeight / 2;
  }
}
