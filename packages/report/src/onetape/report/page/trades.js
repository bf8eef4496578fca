// The trade list: rows in batches, one of them chosen, reachable by keyboard.

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
    exit: trades.open[index] ? "open at the end" : timeText(trades.exit_time[index]),
    profit: signedText(trades.profit[index], data.profit_decimals),
    entryPrice: price(trades.entry_price[index]),
    exitPrice: price(trades.exit_price[index]),
    amount: amountText(trades.amount[index], market.amount_decimals),
    fee: numberText(trades.fee[index], data.profit_decimals),
    why: reason.filter(Boolean).join("; then "),
  };
}

function tradeRow(data, index) {
  const row = document.createElement("tr");
  row.dataset.trade = index;
  row.tabIndex = index === 0 ? 0 : -1; // one tab stop for the list; arrow keys move inside it
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

function makeTradeList(data, choose) {
  const body = document.querySelector("#trade-table tbody");
  const more = document.getElementById("more-trades");
  const count = data.trades.entry_time.length;
  const list = { body, count, chosen: -1 };
  list.growTo = (wanted) => {
    const rows = document.createDocumentFragment();
    for (let index = body.rows.length; index < Math.min(wanted, count); index += 1) rows.append(tradeRow(data, index));
    body.append(rows);
    more.hidden = body.rows.length >= count;
    more.textContent = `Show more trades (${body.rows.length} of ${count} shown)`;
  };
  more.addEventListener("click", () => list.growTo(body.rows.length + ROWS_AT_ONCE));
  body.addEventListener("click", (event) => chooseRow(event.target.closest("tr"), choose));
  body.addEventListener("keydown", (event) => listKey(list, event, choose));
  list.growTo(ROWS_AT_ONCE);
  return list;
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

function markRow(list, index) {
  list.growTo(Math.ceil((index + 1) / ROWS_AT_ONCE) * ROWS_AT_ONCE);
  for (const row of list.body.querySelectorAll("tr[aria-current]")) row.removeAttribute("aria-current");
  const row = list.body.rows[index];
  row.setAttribute("aria-current", "true");
  const box = document.getElementById("trade-box");
  if (row.offsetTop < box.scrollTop + 40 || row.offsetTop > box.scrollTop + box.clientHeight - 40) {
    box.scrollTop = row.offsetTop - box.clientHeight / 2;
  }
  list.chosen = index;
}
