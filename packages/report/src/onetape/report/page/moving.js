// Moving a chart. Ranges are in bars; times are of a bar's open, in seconds.

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

const RANGES = [
  ["day", 86400], ["week", 7 * 86400], ["month", 30 * 86400], ["3 months", 91 * 86400], ["year", 365 * 86400],
];

function makeRangeButtons(view) {
  const group = document.getElementById("ranges");
  const span = view.times.length ? view.times[view.times.length - 1] - view.times[0] : 0;
  const makeButton = (content, move) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...content);
    button.addEventListener("click", move);
    return button;
  };
  const shorter = RANGES.filter(([, seconds]) => seconds < span).reverse();
  const lasts = shorter.map(([label, seconds]) => {
    const last = document.createElement("span");
    last.className = "last";
    last.textContent = "Last ";
    return makeButton([last, label], () => showLast(view, seconds));
  });
  group.replaceChildren(makeButton(["All"], () => showAll(view)), ...lasts);
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

// The buttons and the keys that move the chart; `view` returns the chart that is shown.
function offerMoving(view) {
  const byId = (name) => document.getElementById(name);
  byId("zoom-in").addEventListener("click", () => zoom(view(), 0.6));
  byId("zoom-out").addEventListener("click", () => zoom(view(), 1 / 0.6));
  byId("chart").addEventListener("keydown", (event) => chartKey(view(), event));
}

// The switch of the scale: `set` gets whether it is logarithmic.
function offerLogScale(set) {
  const button = document.getElementById("log-scale");
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(!isLogScale()));
    set(isLogScale());
  });
}

function isLogScale() {
  return document.getElementById("log-scale").getAttribute("aria-pressed") === "true";
}
