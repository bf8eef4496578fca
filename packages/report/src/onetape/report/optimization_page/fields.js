// The fields of a map along one parameter: its values, or bins with round edges where they are too many.

const MAX_FIELDS = 20;
const MAX_BINS = 16;

function fieldsOf(name) {
  if (!name) return { names: [""], of: () => 0 };
  const column = data.names.indexOf(name);
  const values = [...new Set(data.points.map((point) => point[column]))];
  const numeric = values.every((value) => typeof value === "number");
  if (numeric) values.sort((a, b) => a - b);
  if (numeric && values.length > MAX_FIELDS) return binsOf(column, values);
  const places = new Map(values.map((value, at) => [value, at]));
  return { names: values.map(String), of: (point) => places.get(point[column]) };
}

function binsOf(column, values) {
  const low = values[0], high = values[values.length - 1];
  const whole = values.every(Number.isInteger);
  const step = roundStep(low, high, whole);
  const place = (value) => Math.floor(value / step + 1e-9); // an edge belongs to the bin that it begins
  const first = place(low), count = place(high) - first + 1;
  const decimals = (String(step).split(".")[1] || "").length;
  const name = (bin) => {
    const from = (first + bin) * step;
    if (!whole) return `${from.toFixed(decimals)}-${(from + step).toFixed(decimals)}`;
    const ends = [Math.max(low, from), Math.min(high, from + step - 1)];
    return ends[0] === ends[1] ? String(ends[0]) : ends.join("-");
  };
  return {
    names: Array.from({ length: count }, (_, bin) => name(bin)),
    of: (point) => place(point[column]) - first,
  };
}

// The smallest of 1, 2, 2.5 and 5 times a power of ten that makes few enough bins.
function roundStep(low, high, whole) {
  const power = 10 ** Math.floor(Math.log10((high - low) / MAX_BINS));
  for (const times of [1, 2, 2.5, 5, 10, 20, 25]) {
    const step = Number((times * power).toPrecision(3));
    if (whole && !Number.isInteger(step)) continue;
    if (Math.floor(high / step) - Math.floor(low / step) < MAX_BINS) return step;
  }
  return 50 * power;
}
