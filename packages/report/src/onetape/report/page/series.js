// Converts the page's compact columns into the data of the chart library.

// The data of one market: the first has all columns, others only those that differ from the first.
function marketOf(data, market) {
  return market > 0 ? data.others[market - 1] : data;
}

// The data of one market's chart.
function marketData(data, market) {
  const drawn = drawnTrades(data, market);
  return { ...data, ...marketOf(data, market), trades: { ...data.trades, drawn } };
}

// Whether the chart of a market draws each trade: those of the market that the list shows.
function drawnTrades(data, market) {
  return data.trades.market.map((one, index) => one === market && data.trades.listed[index]);
}

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

// A bar without a value stays in the series, so that every series has the same bars.
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

// The price axis of a market: the room for the volume may reach below zero, where no price is.
function marketPriceFormat(decimals) {
  const { formatter, tickmarksFormatter, ...format } = priceFormat(decimals);
  const isPrice = (value) => value > -(10 ** -decimals) / 2;
  return {
    ...format,
    formatter: (value) => (isPrice(value) ? formatter(value) : ""),
    tickmarksFormatter: (values) => tickmarksFormatter(values).map((text, place) => (isPrice(values[place]) ? text : "")),
  };
}

// An axis needs only the decimals that distinguish its labels.
function tickDecimals(values, maximum) {
  for (let decimals = 0; decimals < maximum; decimals += 1) {
    const scale = 10 ** decimals;
    if (values.every((value) => Math.abs(value * scale - Math.round(value * scale)) < 1e-6 * scale * 10 ** -maximum)) return decimals;
  }
  return maximum;
}

// Mark of an exit: shape, colour, word. The shape alone shows the kind where no word fits.
const EXITS = {
  signal: ["arrowDown", "--sell", "sell"],
  time_stop: ["arrowDown", "--hold", "time"],
  stop_loss: ["circle", "--loss", "stop"],
  trailing_stop: ["circle", "--loss", "trail"],
  target: ["square", "--gain", "target"],
  open: ["square", "--held", "open"],
};

// The marks of the drawn trades. Of marks of one kind in a cell of several bars only the first one
// is made, and those of the chosen trade.
function tradeMarkers(data, times, colour, { size, cell, chosen }) {
  const trades = data.trades;
  const markers = [];
  const taken = new Set();
  const add = (bar, position, [shape, paint, word], side, index) => {
    const kind = `${Math.floor(bar / cell)} ${word}`;
    if (cell > 1 && index !== chosen && taken.has(kind)) return;
    taken.add(kind);
    const text = size < 1 ? undefined : word;
    markers.push({ time: times[bar], position, shape, color: colour(paint), text, id: `${side}-${index}`, size });
  };
  trades.entry_bar.forEach((entry, index) => {
    if (!trades.drawn[index]) return; // of another market than the chart's, or not in the list
    add(entry, "belowBar", ["arrowUp", "--buy", "buy"], "entry", index);
    add(trades.exit_bar[index], "aboveBar", EXITS[trades.open[index] ? "open" : trades.kind[index]], "exit", index);
  });
  return markers.sort((one, other) => one.time - other.time);
}
