// The chart: panes, lines, markers, legends, colours, and moving it.

const PANE_HEIGHTS = { price: 380, indicator: 120, equity: 170, drawdown: 110 };
// Pixels between arrows and their size: arrows closer together are smaller and without words.
const MARKER_SIZES = [[40, 1.2], [6, 0.6], [0, 0.2]];
const LEGEND_PIXELS = 24; // kept free for the legend at the top of each pane

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function chartOptions() {
  return {
    autoSize: true,
    layout: {
      background: { type: "solid", color: colour("--card") }, textColor: colour("--soft"), fontSize: 11,
      fontFamily: getComputedStyle(document.body).fontFamily, attributionLogo: false, // the footer names it
      panes: { separatorColor: colour("--line"), separatorHoverColor: colour("--chosen") },
    },
    grid: { vertLines: { color: colour("--grid") }, horzLines: { color: colour("--grid") } },
    crosshair: { mode: 0 },
    rightPriceScale: { borderColor: colour("--line"), minimumWidth: 70, entireTextOnly: true },
    timeScale: {
      borderColor: colour("--line"), timeVisible: true, secondsVisible: false, minBarSpacing: 0.001,
      rightOffset: 2, enableConflation: true, lockVisibleTimeRangeOnResize: true,
    },
    localization: { locale: "en-GB", timeFormatter: (time) => timeText(time) + " UTC" },
    handleScroll: { vertTouchDrag: false },
  };
}

// Adds a line to a pane, with its colours by scheme and its text in the legend.
function addLine(view, pane, label, values, decimals, paint, kind, options) {
  const made = { lastValueVisible: false, priceLineVisible: false, priceFormat: priceFormat(decimals), ...options };
  const series = view.chart.addSeries(LightweightCharts[kind], { ...made, ...paint() }, pane);
  series.setData(linePoints(values, view.times));
  const line = { series, label, values, decimals, paint };
  view.panes[pane].push(line);
  return line;
}

function linePaint(name, lineWidth) {
  return () => ({ color: colour(name), lineWidth, crosshairMarkerRadius: 3 });
}

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

function sizePanes(view) {
  const indicators = view.panes.length - 3;
  const heights = [PANE_HEIGHTS.price, ...Array(indicators).fill(PANE_HEIGHTS.indicator), PANE_HEIGHTS.equity, PANE_HEIGHTS.drawdown];
  const narrow = window.innerWidth < 600 ? 0.78 : 1;
  view.element.style.height = `${Math.round(heights.reduce((sum, height) => sum + height, 30) * narrow)}px`;
  view.chart.panes().forEach((pane, index) => {
    pane.setStretchFactor(heights[index]);
    const rows = narrow < 1 ? Math.min(view.panes[index].length, 3) : 1;
    const top = (rows * LEGEND_PIXELS) / (heights[index] * narrow);
    if (index > 0) view.panes[index][0].series.priceScale().applyOptions({ scaleMargins: { top, bottom: 0.06 } });
  });
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
  sizePanes(view);
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
  view.markerSize = undefined;
  refreshMarkers(view);
  makeLegends(view);
}

function refreshMarkers(view) {
  const scale = view.chart.timeScale();
  const range = scale.getVisibleLogicalRange();
  const { entry_bar: bars, drawn } = view.data.trades;
  const inside = (bar, index) => drawn[index] && (!range || (bar >= range.from && bar <= range.to));
  const pixels = scale.width() / bars.filter(inside).length; // Infinity without trades
  const size = MARKER_SIZES.find(([apart]) => pixels >= apart)[1];
  if (size === view.markerSize) return;
  view.markerSize = size;
  view.markers.setMarkers(tradeMarkers(view.data, view.times, colour, size));
}

// Legends are text over the canvas, one block a pane; they follow the crosshair.

function makeLegends(view) {
  const box = document.getElementById("legends");
  view.legends = view.panes.map((lines, pane) => {
    const legend = document.createElement("div");
    if (pane === 0) legend.append(document.createElement("span"));
    for (const line of lines) {
      const [entry, swatch, value] = ["span", "i", "b"].map((tag) => document.createElement(tag));
      swatch.style.background = colour(line.swatch);
      entry.append(swatch, `${line.label} `, value);
      legend.append(entry);
    }
    return legend;
  });
  box.replaceChildren(...view.legends);
  placeLegends(view);
  fillLegends(view, undefined);
}

function placeLegends(view) {
  let top = 0;
  view.chart.panes().forEach((pane, index) => {
    if (view.legends[index]) view.legends[index].style.top = `${top + 4}px`;
    top += pane.getHeight() + 1;
  });
}

// The values at the crosshair, or at the last bar in view.
function fillLegends(view, logical) {
  const last = view.times.length - 1;
  if (last < 0) return;
  const { data } = view;
  const shown = logical ?? view.chart.timeScale().getVisibleLogicalRange()?.to ?? last;
  const bar = Math.min(Math.max(Math.round(shown), 0), last);
  const price = (name) => numberText(data[name][bar], data.price_decimals);
  view.legends.forEach((legend, pane) => {
    const values = legend.querySelectorAll("b");
    view.panes[pane].forEach((line, index) => {
      values[index].textContent = numberText(line.values[bar], line.decimals);
    });
  });
  const columns = window.innerWidth < 600 ? ["close"] : ["open", "high", "low", "close"];
  const prices = columns.map((name) => `${name[0].toUpperCase()} ${price(name)}`).join("  ");
  view.legends[0].firstChild.textContent = `${timeText(view.times[bar])}  ${prices}  V ${amountText(data.volume[bar], 2)}`;
}

// Moving. Ranges are in bars; times are of a bar's open, in seconds.

function visibleRange(view) {
  const range = view.chart.timeScale().getVisibleLogicalRange();
  if (!range) return null;
  const last = view.times.length - 1;
  const at = (bar) => view.times[Math.min(Math.max(Math.round(bar), 0), last)];
  return { from: range.from, to: range.to, fromTime: at(range.from), toTime: at(range.to) };
}

function showBars(view, from, to) {
  view.chart.timeScale().setVisibleLogicalRange({ from, to });
}

function showAll(view) {
  view.chart.timeScale().fitContent();
}

// Shows the time range of another market's chart, as far as this market has candles.
function showSameTime(view, times, range) {
  if (!range || !view.times.length) return;
  const moved = (bar) => {
    const near = Math.min(Math.max(Math.round(bar), 0), times.length - 1);
    const found = view.times.findIndex((time) => time >= times[near]);
    return (found < 0 ? view.times.length - 1 : found) + bar - near;
  };
  const from = moved(range.from);
  showBars(view, from, Math.max(moved(range.to), from + 5));
}

function zoom(view, factor) {
  const range = visibleRange(view);
  if (!range) return;
  const [middle, half] = [(range.from + range.to) / 2, ((range.to - range.from) / 2) * factor];
  if (half < 2) return;
  if (half * 2 > view.times.length) showAll(view);
  else showBars(view, middle - half, middle + half);
}

function pan(view, share) {
  const range = visibleRange(view);
  if (!range) return;
  const shift = (range.to - range.from) * share;
  showBars(view, range.from + shift, range.to + shift);
}

function showLast(view, seconds) {
  const last = view.times.length - 1;
  const from = view.times.findIndex((time) => time > view.times[last] - seconds);
  showBars(view, from - 0.5, last + 2);
}

function showTrade(view, index) {
  const { trades } = view.data;
  const [entry, exit] = [trades.entry_bar[index], trades.exit_bar[index]];
  const margin = Math.max(25, (exit - entry) * 0.6);
  view.band.show(index);
  showBars(view, entry - margin, exit + margin);
}
