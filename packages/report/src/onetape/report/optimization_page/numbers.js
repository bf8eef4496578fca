// Numbers in the unit of their metric, as value_text of metric_definitions.py writes them.

function fixed(value, maximum, minimum = maximum) {
  return value.toLocaleString("en", { minimumFractionDigits: minimum, maximumFractionDigits: maximum });
}

function valueText(metric, value) {
  if (value === null || value === undefined) return "none";
  switch (data.units[metric]) {
    case "fraction": return `${(value * 100).toFixed(2)}%`;
    case "days": return fixed(value / 86400, 1);
    case "count": return fixed(value, 1, 0);
    case "quote": return fixed(value, data.money_decimals);
    case "number": return value.toLocaleString("en", { maximumSignificantDigits: 4 });
    default: return fixed(value, 2);
  }
}

// Format of the values in the fields of a map: short, with equal digits after the point.
function fieldFormat(metric, values) {
  const unit = data.units[metric];
  if (unit === "number") return (value) => value.toLocaleString("en", { maximumSignificantDigits: 3 });
  const times = { part: 100, days: 1 / 86400 }[unit] || 1;
  const maximum = Math.max(0, ...values.map((value) => Math.abs(value * times)));
  if (maximum >= 1e5) {
    const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
    return (value) => short.format(value * times);
  }
  const digits = Math.max(0, ({ ratio: 2, quote: data.money_decimals, count: 0 }[unit] ?? 1) - (maximum >= 100) - (maximum >= 1000));
  return (value) => fixed(value * times, digits);
}

// The unit of the values of a map, where the numbers do not show it.
function fieldUnit(metric) {
  return { part: ", %", quote: ", quote currency", days: ", days", candles: ", candles" }[data.units[metric]] || "";
}

function shortValue(value) {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

function pointText(point) {
  return data.names.map((name, at) => `${name} ${shortValue(point[at])}`).join(", ");
}
