// The histogram of the trades' profits: a bar for each range, losses and profits in two colours.

// The label and the count of each bar; trades outside of the ranges have a bar at each end.
function histogramBars({ edges, counts, under, over }) {
  const per = (edge) => `${signedText(edge, edgeDecimals(edges))} %`;
  const bars = counts.map((count, at) => ({ count, from: edges[at], text: `${per(edges[at])} to ${per(edges[at + 1])}` }));
  const last = edges[edges.length - 1];
  if (under) bars.unshift({ count: under, from: -Infinity, text: `under ${per(edges[0])}` });
  if (over) bars.push({ count: over, from: last, text: `${per(last)} and more` });
  return bars;
}

// The fewest decimals that write all edges.
function edgeDecimals(edges) {
  return Math.max(...edges.map((edge) => (shortText(edge, 8).split(".")[1] || "").length));
}

function drawHistogram(svg, found) {
  const [width, height] = pictureSize(svg, 200, 300);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const bars = histogramBars(found);
  const maximum = Math.max(...bars.map((bar) => bar.count));
  const left = 14 + 7.2 * numberText(maximum, 0).length, right = width - 6, top = 22, bottom = height - 28;
  const wide = Math.min((right - left) / bars.length, 64);
  const x = (at) => left + at * wide;
  const y = scaleOf([0, maximum], bottom, top);
  const drawBar = (bar, at) => {
    const rect = drawn("rect", {
      class: bar.from < 0 ? "loss" : "gain",
      x: (x(at) + 1).toFixed(1), y: y(bar.count).toFixed(1), width: Math.max(wide - 2, 1).toFixed(1), height: (bottom - y(bar.count)).toFixed(1),
    });
    rect.append(drawn("title", {}, `${bar.text}: ${bar.count} ${bar.count === 1 ? "trade" : "trades"}`));
    return rect;
  };
  const ticks = [...new Set([0, Math.round(maximum / 2), maximum])];
  svg.replaceChildren(
    ...ticks.map((count) => drawn("line", { x1: left, x2: right, y1: y(count), y2: y(count) })),
    ...ticks.map((count) => drawn("text", { x: left - 6, y: y(count) + 4, "text-anchor": "end" }, numberText(count, 0))),
    ...bars.map(drawBar),
    ...countTexts(bars, x, y, wide),
    ...edgeTexts(found, x, wide, [width, bottom + 18]),
  );
}

// The count over each bar, where it has the room.
function countTexts(bars, x, y, wide) {
  return bars.flatMap((bar, at) => {
    const text = numberText(bar.count, 0);
    if (!bar.count || text.length * 7.2 > wide) return [];
    return [drawn("text", { x: (x(at) + wide / 2).toFixed(1), y: (y(bar.count) - 5).toFixed(1), "text-anchor": "middle" }, text)];
  });
}

// The edges below the bars: as many as have the room, 0 among them.
function edgeTexts({ edges, under }, x, wide, [width, y]) {
  const texts = edges.map((edge) => `${signedText(edge, edgeDecimals(edges))} %`);
  const room = 7 * Math.max(...texts.map((text) => text.length)) + 10;
  const every = Math.ceil(room / wide);
  const zero = Math.max(edges.indexOf(0), 0);
  const first = under ? 1 : 0;
  return texts.flatMap((text, at) => {
    if ((at - zero) % every) return [];
    const place = x(at + first), half = (text.length * 7) / 2;
    const anchor = place < half ? "start" : place + half > width ? "end" : "middle";
    return [drawn("text", { x: place.toFixed(1), y, "text-anchor": anchor }, text)];
  });
}
