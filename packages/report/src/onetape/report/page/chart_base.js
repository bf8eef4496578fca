// What the charts of all pages share: colours, lines, legends, the scale of prices and money.

const LEGEND_PIXELS = 24; // height of the legend at the top of each pane

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

// The price scales of these series become logarithmic, or linear again.
function setLogScale(series, isLog) {
  const mode = LightweightCharts.PriceScaleMode[isLog ? "Logarithmic" : "Normal"];
  for (const one of series) one.priceScale().applyOptions({ mode });
}

// The height of the chart and of its panes; panes from `first` on leave room for their legend.
function sizePanes(view, heights, first) {
  const narrow = window.innerWidth < 600 ? 0.78 : 1;
  view.element.style.height = `${Math.round(heights.reduce((sum, height) => sum + height, 30) * narrow)}px`;
  view.chart.panes().forEach((pane, index) => {
    pane.setStretchFactor(heights[index]);
    const rows = narrow < 1 ? Math.min(view.panes[index].length, 3) : 1;
    const top = (rows * LEGEND_PIXELS) / (heights[index] * narrow);
    if (index >= first) view.panes[index][0].series.priceScale().applyOptions({ scaleMargins: { top, bottom: 0.06 } });
  });
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
  const shown = logical ?? view.chart.timeScale().getVisibleLogicalRange()?.to ?? last;
  const bar = Math.min(Math.max(Math.round(shown), 0), last);
  view.legends.forEach((legend, pane) => {
    const values = legend.querySelectorAll("b");
    view.panes[pane].forEach((line, index) => {
      values[index].textContent = numberText(line.values[bar], line.decimals);
    });
  });
  view.legends[0].firstChild.textContent = view.describeBar(bar);
}
