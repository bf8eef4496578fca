// Scatter plots: a dot for each combination, at its values of two columns.

const MAX_DOTS = 300;
// Where there are more, so many pixels each way share a dot.
const DOT_CELL = 4;

// One axis of a scatter plot: its name, the metric whose unit its values have, and the values.
function axisOf(part, metric) {
  const column = data.metrics.indexOf(metric);
  return { name: `${data.labels[metric]}, ${PART_WORDS[part]}`, metric, values: data[part].map((row) => row[column]) };
}

// The metric in the in-sample part across, in the out-of-sample part up.
function cloud(metric) {
  const [across, up] = PARTS.map((part) => axisOf(part, metric));
  scatter(byId("cloud"), across, up, `${data.labels[metric]}: none has a value in both parts`);
}

// Draws a scatter plot; returns the function of a combination's place, null where none has both values.
function scatter(svg, across, up, none) {
  const [width, height] = pictureSize(svg, 300, 440);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const known = data.points.map((_, index) => [across.values[index], up.values[index], index]).filter((pair) => pair[0] !== null && pair[1] !== null);
  if (!known.length) {
    svg.replaceChildren(drawn("text", { x: 8, y: 20 }, none));
    return null;
  }
  const ends = [0, 1].map((at) => known.reduce(([low, high], pair) => [Math.min(low, pair[at]), Math.max(high, pair[at])], [Infinity, -Infinity]));
  const texts = [across, up].map((axis, at) => ends[at].map((end) => valueText(axis.metric, end)));
  const left = 14 + 7.2 * Math.max(...texts[1].map((text) => text.length)), bottom = height - 26;
  const x = scaleOf(ends[0], left + 12, width - 20), y = scaleOf(ends[1], bottom - 12, 36);
  svg.replaceChildren(
    drawn("line", { x1: left, y1: bottom, x2: width - 10, y2: bottom }), drawn("line", { x1: left, y1: 10, x2: left, y2: bottom }),
    drawn("text", { x: (left + width) / 2, y: height - 8, "text-anchor": "middle" }, across.name), drawn("text", { x: left + 6, y: 18 }, up.name),
    drawn("text", { x: left + 4, y: height - 8 }, texts[0][0]), drawn("text", { x: width - 14, y: height - 8, "text-anchor": "end" }, texts[0][1]),
    drawn("text", { x: left - 5, y: bottom - 8, "text-anchor": "end" }, texts[1][0]), drawn("text", { x: left - 5, y: 41, "text-anchor": "end" }, texts[1][1]),
    ...dotsOf(known.map(([one, other, index]) => [x(one), y(other), index])),
  );
  return (index) => [x(across.values[index]), y(up.values[index])];
}

// The dots, the best combination's on top of all.
function dotsOf(places) {
  const few = places.length <= MAX_DOTS, cells = new Map();
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
  const maximum = [...cells.values()].reduce((count, cell) => Math.max(count, cell.count), 1);
  const dots = [...cells.values()].map(({ place, count }) =>
    dot(place, count, { r: few ? 4 : 2, opacity: few ? 0.55 : (0.25 + 0.65 * Math.sqrt((count - 1) / maximum)).toFixed(2) }));
  return best ? [...dots, dot(best, 1, { r: 6, class: "best" })] : dots;
}

function dot([x, y, index], count, attributes) {
  const element = drawn("circle", { cx: x.toFixed(1), cy: y.toFixed(1), ...attributes });
  element.append(drawn("title", {}, `${pointText(data.points[index])}${count > 1 ? ` and ${count - 1} more` : ""}`));
  return element;
}
