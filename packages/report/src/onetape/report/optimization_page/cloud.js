// A dot for each combination: the metric in the in-sample part across, in the out-of-sample part up.

const MOST_DOTS = 300;
// Where there are more, so many pixels each way share a dot.
const DOT_CELL = 4;

function drawn(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function scaleOf([low, high], from, to) {
  return (value) => (high > low ? from + ((value - low) / (high - low)) * (to - from) : (from + to) / 2);
}

function cloud(metric, column) {
  const svg = byId("cloud");
  const width = Math.max(280, Math.floor(svg.parentElement.clientWidth - 32)), height = Math.min(440, Math.max(300, Math.floor(width * 0.36)));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const pairs = data.points.map((_, index) => PARTS.map((part) => data[part][index][column]));
  const known = pairs.map((pair, index) => [...pair, index]).filter((pair) => pair[0] !== null && pair[1] !== null);
  const label = data.labels[metric];
  if (!known.length) {
    svg.replaceChildren(drawn("text", { x: 8, y: 20 }, `${label}: none has a value in both parts`));
    return;
  }
  const ends = PARTS.map((_, at) => known.reduce(([low, high], pair) => [Math.min(low, pair[at]), Math.max(high, pair[at])], [Infinity, -Infinity]));
  const left = 14 + 7.2 * Math.max(...ends[1].map((end) => valueText(metric, end).length)), bottom = height - 26;
  const x = scaleOf(ends[0], left + 12, width - 20), y = scaleOf(ends[1], bottom - 12, 36);
  svg.replaceChildren(
    drawn("line", { x1: left, y1: bottom, x2: width - 10, y2: bottom }), drawn("line", { x1: left, y1: 10, x2: left, y2: bottom }),
    drawn("text", { x: (left + width) / 2, y: height - 8, "text-anchor": "middle" }, `${label}, in-sample`), drawn("text", { x: left + 6, y: 18 }, `${label}, out-of-sample`),
    drawn("text", { x: left + 4, y: height - 8 }, valueText(metric, ends[0][0])), drawn("text", { x: width - 14, y: height - 8, "text-anchor": "end" }, valueText(metric, ends[0][1])),
    drawn("text", { x: left - 5, y: bottom - 8, "text-anchor": "end" }, valueText(metric, ends[1][0])), drawn("text", { x: left - 5, y: 41, "text-anchor": "end" }, valueText(metric, ends[1][1])),
    ...dotsOf(known.map(([across, up, index]) => [x(across), y(up), index])),
  );
}

// The dots, the best combination's on top of all.
function dotsOf(places) {
  const few = places.length <= MOST_DOTS, cells = new Map();
  let best = null;
  for (const place of places) {
    if (place[2] === 0 && data.ranked) {
      best = place;
      continue;
    }
    const key = few ? place[2] : `${Math.floor(place[0] / DOT_CELL)} ${Math.floor(place[1] / DOT_CELL)}`;
    if (cells.has(key)) cells.get(key).count += 1;
    else cells.set(key, { place, count: 1 });
  }
  const most = [...cells.values()].reduce((count, cell) => Math.max(count, cell.count), 1);
  const dots = [...cells.values()].map(({ place, count }) =>
    dot(place, count, { r: few ? 4 : 2, opacity: few ? 0.55 : (0.25 + 0.65 * Math.sqrt((count - 1) / most)).toFixed(2) }));
  return best ? [...dots, dot(best, 1, { r: 6, class: "best" })] : dots;
}

function dot([x, y, index], count, attributes) {
  const element = drawn("circle", { cx: x.toFixed(1), cy: y.toFixed(1), ...attributes });
  element.append(drawn("title", {}, `${pointText(data.points[index])}${count > 1 ? ` and ${count - 1} more` : ""}`));
  return element;
}
