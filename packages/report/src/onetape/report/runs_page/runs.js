// The chart of several runs: equity with buy and hold in the first pane, drawdown in the second.

const RUN_PANE_HEIGHTS = [340, 160];

function makeRunsChart(element, data) {
  const times = unpackTimes(data.times, data.count);
  const view = { element, data, times, panes: [[], []], chart: LightweightCharts.createChart(element, chartOptions()) };
  view.describeBar = (bar) => timeText(times[bar]);
  const add = (pane, label, values, name, width, more) => {
    const paint = () => ({ ...linePaint(name, width)(), ...more });
    addLine(view, pane, label, values, 2, paint, "LineSeries", {}).swatch = name;
  };
  data.holds.forEach(({ name, values }) => {
    add(0, data.holds.length > 1 ? `buy and hold, ${name}` : "buy and hold", values, "--hold", 1, { lineStyle: 2 });
  });
  // The first run last, so that it is drawn on top; legends have it first.
  for (let at = data.runs.length - 1; at >= 0; at -= 1) {
    const { name, equity, drawdown } = data.runs[at];
    add(0, `${name}, % of start`, equity, `--line-${at}`, 2, {});
    add(1, `${name}, drawdown %`, drawdown, `--line-${at}`, 1, {});
  }
  view.panes.forEach((lines) => lines.reverse());
  sizePanes(view, RUN_PANE_HEIGHTS, 0);
  makeLegends(view);
  view.chart.timeScale().subscribeVisibleLogicalRangeChange(() => fillLegends(view, undefined));
  view.chart.subscribeCrosshairMove((event) => fillLegends(view, event.logical));
  return view;
}

function repaintRuns(view) {
  view.chart.applyOptions(chartOptions());
  for (const line of view.panes.flat()) line.series.applyOptions(line.paint());
  makeLegends(view);
}

function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = document.getElementById("chart");
  const view = makeRunsChart(element, data);
  makeRangeButtons(view);
  offerMoving(() => view);
  offerLogScale((isLog) => setLogScale([view.panes[0][0].series], isLog));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaintRuns(view));
  new ResizeObserver(() => requestAnimationFrame(() => placeLegends(view))).observe(element);
  showAll(view);
  window.onetapeRuns = {
    visibleRange: () => visibleRange(view),
    lines: () => view.panes.map((lines) => lines.map((line) => line.label)),
    logScale: () => view.panes[0][0].series.priceScale().options().mode,
    background: () => view.chart.options().layout.background.color,
  };
}

start();
