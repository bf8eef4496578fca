// The chart of a market: its panes, its lines and the marks of the trades.

const PANE_HEIGHTS = { price: 380, indicator: 120, equity: 170, drawdown: 110 };
// Pixels between arrows and their size: arrows closer together are smaller and without words.
const MARKER_SIZES = [[40, 1.2], [0, 0.6]];
// Least pixels between marks of one kind: of those closer together the first one is drawn.
const MARKER_PIXELS = 6;

function addIndicator(view, pane, indicator, position) {
  const name = `--line-${position % 5}`;
  const kind = indicator.histogram ? "HistogramSeries" : "LineSeries";
  const paint = indicator.histogram ? () => ({ color: colour("--hold") }) : linePaint(name, 1.5);
  const { decimals } = indicator;
  const options = { priceFormat: pane > 0 ? priceFormat(decimals, shortText) : marketPriceFormat(decimals) };
  const line = addLine(view, pane, indicator.name, indicator.values, decimals, paint, kind, options);
  if (indicator.histogram) line.series.setSeriesOrder(0); // behind the lines
  line.swatch = indicator.histogram ? "--hold" : name;
  line.guides = indicator.levels.map((price) =>
    line.series.createPriceLine({ price, color: colour("--hold"), lineWidth: 1, lineStyle: 2, axisLabelVisible: true, title: "" }),
  );
}

function addPricePane(view) {
  const { chart, data, times } = view;
  view.panes.push([]);
  view.volume = chart.addSeries(LightweightCharts.HistogramSeries, {
    priceScaleId: "volume", color: colour("--volume"), lastValueVisible: false, priceLineVisible: false,
    priceFormat: { type: "volume" },
  });
  view.volume.setData(linePoints(data.volume, times));
  view.volume.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
  view.candles = chart.addSeries(LightweightCharts.CandlestickSeries, {
    ...candlePaint(), priceFormat: marketPriceFormat(data.price_decimals), priceLineVisible: false,
  });
  view.candles.setData(candlePoints(data, times));
  view.candles.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: 0.2 } });
  data.overlays.forEach((indicator, position) =>
    addIndicator(view, 0, { ...indicator, decimals: data.price_decimals }, position),
  );
  view.band = new TradeBand(view);
  view.candles.attachPrimitive(view.band);
  view.levels = new LevelLines(view);
  view.candles.attachPrimitive(view.levels);
  view.markers = LightweightCharts.createSeriesMarkers(view.candles, [], { zOrder: "top" });
}

function candlePaint() {
  const [up, down] = [colour("--up"), colour("--down")];
  return { upColor: up, downColor: down, borderVisible: false, wickUpColor: up, wickDownColor: down };
}

function addMoneyPanes(view) {
  const { data } = view;
  const equity = view.panes.push([]) - 1;
  view.equityPane = equity;
  const add = (label, values, name, more) => {
    const paint = () => ({ ...linePaint(name, 2)(), ...more });
    addLine(view, equity, label, values, data.money_decimals, paint, "LineSeries", {}).swatch = name;
  };
  add("buy and hold", data.buy_and_hold, "--hold", { lineStyle: 2 });
  if (data.backtest) add("backtest", data.backtest, "--line-1", { lineWidth: 1 });
  add(`equity, ${data.quote}`, data.equity, "--line-0", {}); // added last, so drawn on top
  view.panes[equity].reverse();
  addDrawdown(view, view.panes.push([]) - 1);
}

function addDrawdown(view, pane) {
  const paint = () => ({
    topFillColor1: colour("--card"), topFillColor2: colour("--card"), topLineColor: colour("--loss"),
    bottomLineColor: colour("--loss"), bottomFillColor1: colour("--loss") + "22", bottomFillColor2: colour("--loss") + "66", lineWidth: 1,
  });
  const options = { baseValue: { type: "price", price: 0 } };
  addLine(view, pane, "drawdown, %", view.data.drawdown, 1, paint, "BaselineSeries", options).swatch = "--loss";
}

function paneHeights(view) {
  const indicators = Array(view.panes.length - 3).fill(PANE_HEIGHTS.indicator);
  return [PANE_HEIGHTS.price, ...indicators, PANE_HEIGHTS.equity, PANE_HEIGHTS.drawdown];
}

// The time and the prices of a bar, for the legend of the first pane.
function describeBar(view, bar) {
  const { data } = view;
  const columns = window.innerWidth < 600 ? ["close"] : ["open", "high", "low", "close"];
  const prices = columns.map((name) => `${name[0].toUpperCase()} ${numberText(data[name][bar], data.price_decimals)}`);
  return `${timeText(view.times[bar])}  ${prices.join("  ")}  V ${amountText(data.volume[bar], 2)}`;
}

function makeChart(element, data) {
  const times = unpackTimes(data.times, data.close.length);
  const view = { element, data, times, panes: [], chart: LightweightCharts.createChart(element, chartOptions()) };
  addPricePane(view);
  for (const indicators of data.panes) {
    view.panes.push([]);
    indicators.forEach((indicator, position) => addIndicator(view, view.panes.length - 1, indicator, position));
  }
  addMoneyPanes(view);
  sizePanes(view, paneHeights(view), 1);
  view.describeBar = (bar) => describeBar(view, bar);
  makeLegends(view);
  const scale = view.chart.timeScale();
  scale.subscribeVisibleLogicalRangeChange(() => {
    refreshMarkers(view);
    fillLegends(view, undefined);
  });
  view.chart.subscribeCrosshairMove((event) => fillLegends(view, event.logical));
  scale.fitContent();
  return view;
}

function repaint(view) {
  view.chart.applyOptions(chartOptions());
  view.candles.applyOptions(candlePaint());
  view.volume.applyOptions({ color: colour("--volume") });
  for (const line of view.panes.flat()) {
    line.series.applyOptions(line.paint());
    for (const guide of line.guides || []) guide.applyOptions({ color: colour("--hold") });
  }
  view.markerKey = undefined;
  refreshMarkers(view);
  makeLegends(view);
}

// Prices and equity on a logarithmic scale, or on a linear one.
function setChartScale(view, isLog) {
  setLogScale([view.candles, view.panes[view.equityPane][0].series], isLog);
}

// Draws the marks again where zoom, chosen trade or filter changed them.
function refreshMarkers(view) {
  const scale = view.chart.timeScale();
  const range = scale.getVisibleLogicalRange();
  const { entry_bar: bars, drawn } = view.data.trades;
  const inside = (bar, index) => drawn[index] && (!range || (bar >= range.from && bar <= range.to));
  const pixels = scale.width() / bars.filter(inside).length; // Infinity without trades
  const size = (MARKER_SIZES.find(([apart]) => pixels >= apart) || MARKER_SIZES[1])[1];
  const cell = barsOfMark(range, scale.width());
  const key = `${size} ${cell} ${view.band.index}`;
  if (key === view.markerKey) return;
  view.markerKey = key;
  view.markers.setMarkers(tradeMarkers(view.data, view.times, colour, { size, cell, chosen: view.band.index }));
}

// Bars that share a mark: a power of two, so that moving the chart changes no mark.
function barsOfMark(range, width) {
  const bars = range && width > 0 ? (MARKER_PIXELS * (range.to - range.from)) / width : 1;
  return bars > 1 ? 2 ** Math.ceil(Math.log2(bars)) : 1;
}

// Marks and levels of the trades that the list shows.
function showListedTrades(view, data) {
  view.data.trades.drawn = drawnTrades(data, view.market);
  view.markerKey = undefined;
  refreshMarkers(view);
  view.band.requestUpdate();
}

function showTrade(view, index) {
  const { trades } = view.data;
  const [entry, exit] = [trades.entry_bar[index], trades.exit_bar[index]];
  const margin = Math.max(25, (exit - entry) * 0.6);
  view.band.show(index);
  refreshMarkers(view);
  showBars(view, entry - margin, exit + margin);
}
