// Builds the page, and offers `window.onetapeReport` to tests and to the browser's console.

const EXIT_TEXTS = {
  signal: "sold", time_stop: "sold by time", stop_loss: "stopped out", trailing_stop: "stopped out by the trailing stop",
  target: "sold at its target",
};

function describeTrade(data, index) {
  const cells = tradeCells(data, index);
  const { trades } = data;
  const held = durationText(trades.exit_time[index] - trades.entry_time[index]);
  const sold = `${EXIT_TEXTS[trades.kind[index]]} ${cells.exit} at ${cells.exitPrice}`;
  const ending = trades.open[index] ? "still open" : sold;
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
  setChartScale(view, isLogScale());
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

// Draws the histogram, and again where the width of the page changes.
function showHistogram(found) {
  const svg = document.getElementById("histogram");
  if (!found) return svg.remove();
  drawHistogram(svg, found);
  addEventListener("resize", () => drawHistogram(svg, found));
}

function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (name) => document.getElementById(name);
  data.trades.listed = data.trades.entry_time.map(() => true);
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
    offerSteps(list);
    if (scroll) byId("chart-title").scrollIntoView({ block: "nearest" });
  };
  const list = makeTradeList(data, choose);
  const listAgain = () => {
    showListed(list, data);
    offerSteps(list);
  };
  sortTrades(list, data, listAgain);
  makeFilters(data, () => {
    listAgain();
    showListedTrades(view, data);
  });
  document.querySelectorAll("#symbols button").forEach((button, market) => {
    button.addEventListener("click", () => show(market));
  });
  byId("previous-trade").addEventListener("click", () => choose(list.order[list.order.indexOf(list.chosen) - 1], false));
  byId("next-trade").addEventListener("click", () => choose(list.order[list.order.indexOf(list.chosen) + 1], false));
  offerSteps(list);
  offerMoving(() => view);
  offerLogScale((isLog) => setChartScale(view, isLog));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint(view));
  new ResizeObserver(placeLegendsSoon).observe(byId("chart"));
  showHistogram(data.histogram);
  showAll(view); // again: the rows above may have brought a scroll bar
  offerToTests(() => view, list, choose);
}

// The buttons that step through the trades of the list, in the order of its rows.
function offerSteps(list) {
  const place = list.order.indexOf(list.chosen);
  document.getElementById("previous-trade").disabled = place <= 0;
  document.getElementById("next-trade").disabled = place >= list.order.length - 1;
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
    logScales: () => [view().candles, view().panes[view().equityPane][0].series].map((one) => one.priceScale().options().mode),
    background: () => view().chart.options().layout.background.color,
  };
}

start();
