// From the page's compact columns to what the chart library takes.

function unpackTimes(packed, count) {
  const times = count ? [packed.start] : [];
  let now = packed.start;
  for (const [repeat, step] of packed.runs) {
    for (let done = 0; done < repeat; done += 1) times.push((now += step));
  }
  return times;
}

function candlePoints(data, times) {
  return times.map((time, bar) => {
    const point = { time, open: data.open[bar], high: data.high[bar], low: data.low[bar], close: data.close[bar] };
    return Object.values(point).includes(null) ? { time } : point;
  });
}

// A bar without a value keeps its place, so that every series has the same bars.
function linePoints(values, times) {
  return times.map((time, bar) => (values[bar] === null ? { time } : { time, value: values[bar] }));
}

function priceFormat(decimals, text = numberText) {
  return {
    type: "custom",
    minMove: 10 ** -decimals,
    formatter: (value) => text(value, decimals),
    tickmarksFormatter: (values) => values.map((value) => numberText(value, tickDecimals(values, decimals))),
  };
}

// An axis needs only the decimals that tell its labels apart.
function tickDecimals(values, most) {
  for (let decimals = 0; decimals < most; decimals += 1) {
    const scale = 10 ** decimals;
    if (values.every((value) => Math.abs(value * scale - Math.round(value * scale)) < 1e-6 * scale * 10 ** -most)) return decimals;
  }
  return most;
}

function tradeMarkers(data, times, colour, size) {
  const trades = data.trades;
  const markers = [];
  trades.entry_bar.forEach((entry, index) => {
    const label = (text) => (size < 1 ? undefined : text);
    markers.push({
      time: times[entry], position: "belowBar", shape: "arrowUp", color: colour("--buy"),
      text: label("buy"), id: `entry-${index}`, size,
    });
    const open = trades.open[index];
    markers.push({
      time: times[trades.exit_bar[index]], position: "aboveBar", shape: open ? "square" : "arrowDown",
      color: colour(open ? "--held" : "--sell"), text: label(open ? "open" : "sell"), id: `exit-${index}`, size,
    });
  });
  return markers.sort((one, other) => one.time - other.time);
}
