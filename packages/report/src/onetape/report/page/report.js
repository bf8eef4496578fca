// Puts the page together, and offers `window.onetapeReport` to tests and to the curious.

const RANGES = [
  ["day", 86400], ["week", 7 * 86400], ["month", 30 * 86400], ["3 months", 91 * 86400], ["year", 365 * 86400],
];

function makeRangeButtons(view) {
  const group = document.getElementById("ranges");
  const span = view.times.length ? view.times[view.times.length - 1] - view.times[0] : 0;
  const add = (words, move) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...words);
    button.addEventListener("click", move);
    group.append(button);
  };
  add(["All"], () => showAll(view));
  for (const [label, seconds] of RANGES.slice().reverse()) {
    const last = document.createElement("span");
    last.className = "last";
    last.textContent = "Last ";
    if (seconds < span) add([last, label], () => showLast(view, seconds));
  }
}

function chartKey(view, event) {
  const moves = {
    ArrowLeft: () => pan(view, -0.15), ArrowRight: () => pan(view, 0.15), Home: () => showAll(view),
    "+": () => zoom(view, 0.7), "=": () => zoom(view, 0.7), "-": () => zoom(view, 1 / 0.7),
  };
  if (!moves[event.key] || event.ctrlKey || event.metaKey) return;
  moves[event.key]();
  event.preventDefault();
}

const EXIT_WORDS = {
  signal: "sold", time_stop: "sold by time", stop_loss: "stopped out", trailing_stop: "stopped out by the trailing stop",
  target: "sold at its target",
};

function describeTrade(data, index) {
  const cells = tradeCells(data, index);
  const { trades } = data;
  const held = durationText(trades.exit_time[index] - trades.entry_time[index]);
  const sold = `${EXIT_WORDS[trades.kind[index]]} ${cells.exit} at ${cells.exitPrice}`;
  const ending = trades.open[index] ? "still open at the end" : sold;
  const title = document.createElement("strong");
  title.textContent = `Trade ${cells.number} of ${trades.open.length}${cells.symbol ? ` (${cells.symbol})` : ""}: ${cells.percent}`;
  const elsewhere = trades.drawn[index] ? "" : `; the chart shows ${data.symbol} at that time`;
  return [title, ` bought ${cells.entry} at ${cells.entryPrice}, ${ending}, held ${held}${elsewhere}`];
}

function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const view = makeChart(document.getElementById("chart"), data);
  const byId = (name) => document.getElementById(name);
  const choose = (index, scroll = true) => {
    markRow(list, index);
    showTrade(view, index);
    byId("selected").replaceChildren(...describeTrade(data, index));
    byId("previous-trade").disabled = index <= 0;
    byId("next-trade").disabled = index >= list.count - 1;
    if (scroll) byId("chart-title").scrollIntoView({ block: "nearest" });
  };
  const list = makeTradeList(data, choose);
  byId("previous-trade").addEventListener("click", () => choose(Math.max(list.chosen - 1, 0), false));
  byId("next-trade").addEventListener("click", () => choose(list.chosen + 1, false));
  byId("previous-trade").disabled = true;
  byId("next-trade").disabled = list.count === 0;
  byId("zoom-in").addEventListener("click", () => zoom(view, 0.6));
  byId("zoom-out").addEventListener("click", () => zoom(view, 1 / 0.6));
  view.element.addEventListener("keydown", (event) => chartKey(view, event));
  makeRangeButtons(view);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint(view));
  new ResizeObserver(() => requestAnimationFrame(() => placeLegends(view))).observe(view.element);
  showAll(view); // again: the rows above may have brought a scroll bar
  window.onetapeReport = {
    visibleRange: () => visibleRange(view),
    showTrade: (index) => choose(index),
    chosenTrade: () => list.chosen,
    markers: () => view.markers.markers().length,
    marker: (id) => view.markers.markers().find((one) => one.id === id),
    levels: () => view.levels.shown(),
    scale: () => view.candles.priceScale().getVisibleRange(),
    panes: () => view.chart.panes().length,
    background: () => view.chart.options().layout.background.color,
  };
}

start();
