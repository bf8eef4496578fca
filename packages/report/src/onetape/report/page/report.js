// Builds the page, and offers `window.onetapeReport` to tests and to the browser's console.

const RANGES = [
  ["day", 86400], ["week", 7 * 86400], ["month", 30 * 86400], ["3 months", 91 * 86400], ["year", 365 * 86400],
];

function makeRangeButtons(view) {
  const group = document.getElementById("ranges");
  const span = view.times.length ? view.times[view.times.length - 1] - view.times[0] : 0;
  const made = (words, move) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...words);
    button.addEventListener("click", move);
    return button;
  };
  const shorter = RANGES.filter(([, seconds]) => seconds < span).reverse();
  const lasts = shorter.map(([label, seconds]) => {
    const last = document.createElement("span");
    last.className = "last";
    last.textContent = "Last ";
    return made([last, label], () => showLast(view, seconds));
  });
  group.replaceChildren(made(["All"], () => showAll(view)), ...lasts);
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
  return [title, ` bought ${cells.entry} at ${cells.entryPrice}, ${ending}, held ${held}`];
}

// The chart of one market; the buttons above it choose which.
function openMarket(data, market) {
  document.querySelectorAll("#symbols button").forEach((button, place) => {
    button.setAttribute("aria-pressed", String(place === market));
  });
  const view = makeChart(document.getElementById("chart"), marketData(data, market));
  view.market = market;
  makeRangeButtons(view);
  return view;
}

// The chart of another market, at the time that is in view.
function otherMarket(data, view, market, chosen) {
  const range = visibleRange(view);
  view.chart.remove();
  const other = openMarket(data, market);
  other.band.show(chosen);
  showSameTime(other, view.times, range);
  return other;
}

// Marks a table that goes on to the right: a class fades its edge and shows a hint.
function watchOverflow(box) {
  const look = () => {
    const left = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.classList.toggle("goes-on", left > 1);
    box.closest("section").classList.toggle("wide", box.scrollWidth > box.clientWidth + 1);
  };
  box.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(box);
  look();
}

function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (name) => document.getElementById(name);
  let view = openMarket(data, 0);
  // Once the chart has drawn its panes their heights are known.
  const placeLegendsSoon = () => requestAnimationFrame(() => placeLegends(view));
  const show = (market) => {
    if (market === view.market) return;
    view = otherMarket(data, view, market, list.chosen);
    placeLegendsSoon();
  };
  const choose = (index, scroll = true) => {
    markRow(list, index);
    show(data.trades.market[index]);
    showTrade(view, index);
    byId("selected").replaceChildren(...describeTrade(data, index));
    byId("previous-trade").disabled = index <= 0;
    byId("next-trade").disabled = index >= list.count - 1;
    if (scroll) byId("chart-title").scrollIntoView({ block: "nearest" });
  };
  const list = makeTradeList(data, choose);
  document.querySelectorAll("#symbols button").forEach((button, market) => {
    button.addEventListener("click", () => show(market));
  });
  byId("previous-trade").addEventListener("click", () => choose(Math.max(list.chosen - 1, 0), false));
  byId("next-trade").addEventListener("click", () => choose(list.chosen + 1, false));
  byId("previous-trade").disabled = true;
  byId("next-trade").disabled = list.count === 0;
  byId("zoom-in").addEventListener("click", () => zoom(view, 0.6));
  byId("zoom-out").addEventListener("click", () => zoom(view, 1 / 0.6));
  byId("chart").addEventListener("keydown", (event) => chartKey(view, event));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint(view));
  new ResizeObserver(placeLegendsSoon).observe(byId("chart"));
  document.querySelectorAll(".scroll").forEach(watchOverflow);
  showAll(view); // again: the rows above may have brought a scroll bar
  offerToTests(() => view, list, choose);
}

function offerToTests(view, list, choose) {
  window.onetapeReport = {
    visibleRange: () => visibleRange(view()),
    showTrade: (index) => choose(index),
    chosenTrade: () => list.chosen,
    symbol: () => view().data.symbol,
    markers: () => view().markers.markers().length,
    marker: (id) => view().markers.markers().find((one) => one.id === id),
    levels: () => view().levels.shown(),
    scale: () => view().candles.priceScale().getVisibleRange(),
    panes: () => view().chart.panes().length,
    background: () => view().chart.options().layout.background.color,
  };
}

start();
