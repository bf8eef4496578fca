// Drawings over the candles: the chosen trade, and the levels of stops and targets.

// With more trades than this in view only the levels of the chosen trade are drawn.
const MAX_LEVELS = 40;
// A level further from the entry, as a part of its price, does not stretch the price scale.
const FAR = 0.5;

function primitiveView(zOrder, draw) {
  return { zOrder: () => zOrder, renderer: () => ({ draw }) };
}

// The chosen trade: a shaded band from entry to exit, and a line between the two prices.
class TradeBand {
  constructor(view) {
    this.view = view;
    this.index = -1;
  }

  attached({ requestUpdate }) {
    this.requestUpdate = requestUpdate;
  }

  show(index) {
    this.index = index;
    this.requestUpdate();
  }

  paneViews() {
    return [
      primitiveView("bottom", (target) => this.draw(target, drawBand)),
      primitiveView("top", (target) => this.draw(target, drawPath)),
    ];
  }

  // Makes room for the levels of the chosen trade.
  autoscaleInfo(first, last) {
    const { trades } = this.view.data;
    if (!trades.drawn[this.index]) return null; // none chosen, or one of another market
    if (trades.exit_bar[this.index] < first || trades.entry_bar[this.index] > last) return null;
    const entry = trades.entry_price[this.index];
    const near = [...trades.stop[this.index], ...trades.target[this.index]]
      .map((step) => step[1])
      .filter((price) => Math.abs(price / entry - 1) < FAR);
    if (!near.length) return null;
    return { priceRange: { minValue: Math.min(...near), maxValue: Math.max(...near) } };
  }

  draw(target, paint) {
    const { chart, candles, data } = this.view;
    const { trades } = data;
    if (!trades.drawn[this.index]) return;
    const x = [trades.entry_bar, trades.exit_bar].map((bars) => chart.timeScale().logicalToCoordinate(bars[this.index]));
    const y = [trades.entry_price, trades.exit_price].map((prices) => candles.priceToCoordinate(prices[this.index]));
    if (x.includes(null) || (paint === drawPath && y.includes(null))) return;
    const name = trades.profit[this.index] >= 0 ? "--gain" : "--loss";
    target.useMediaCoordinateSpace(({ context, mediaSize }) => paint(context, x, y, colour(name), mediaSize.height));
  }
}

function drawBand(context, x, y, paint, height) {
  context.fillStyle = `${paint}24`;
  context.fillRect(x[0] - 3, 0, x[1] - x[0] + 6, height);
}

function drawPath(context, x, y, paint) {
  context.strokeStyle = paint;
  context.lineWidth = 1.5;
  context.setLineDash([5, 4]);
  context.beginPath();
  context.moveTo(x[0], y[0]);
  context.lineTo(x[1], y[1]);
  context.stroke();
}

// Stops and targets, as the steps that they took.
class LevelLines {
  constructor(view) {
    this.view = view;
  }

  paneViews() {
    return [primitiveView("top", (target) => this.draw(target))];
  }

  shown() {
    const { trades } = this.view.data;
    const range = this.view.chart.timeScale().getVisibleLogicalRange();
    if (!range) return [];
    const inView = [];
    trades.entry_bar.forEach((entry, index) => {
      const has = trades.stop[index].length || trades.target[index].length;
      if (has && trades.drawn[index] && entry <= range.to && trades.exit_bar[index] >= range.from) inView.push(index);
    });
    return inView.length <= MAX_LEVELS ? inView : inView.filter((index) => index === this.view.band.index);
  }

  draw(target) {
    const { trades } = this.view.data;
    const shown = this.shown();
    if (!shown.length) return;
    target.useMediaCoordinateSpace(({ context }) => {
      for (const index of shown) {
        this.drawSteps(context, trades.stop[index], trades.exit_bar[index], colour("--loss"));
        this.drawSteps(context, trades.target[index], trades.exit_bar[index], colour("--gain"));
      }
    });
  }

  drawSteps(context, steps, end, paint) {
    const { chart, candles } = this.view;
    const half = chart.timeScale().options().barSpacing / 2;
    context.strokeStyle = paint;
    context.lineWidth = 2;
    context.setLineDash([]);
    context.beginPath();
    let y;
    steps.forEach(([bar, price], place) => {
      const until = place + 1 < steps.length ? steps[place + 1][0] - 1 : end;
      const [left, right] = [bar, until].map((one) => chart.timeScale().logicalToCoordinate(one));
      const before = y;
      y = candles.priceToCoordinate(price);
      if (left === null || right === null || y === null) return;
      y = Math.round(y); // a line between two pixels is a blur
      if (before === undefined || before === null) context.moveTo(left - half, y);
      else context.lineTo(left - half, y);
      context.lineTo(right + half, y);
    });
    context.stroke();
  }
}
