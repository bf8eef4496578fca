const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const PARTS = ["searched", "held_out"];
const MOST_FIELDS = 24;
const BINS = 16;

const make = (name, text) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  return element;
};

function shownValue(metric, value) {
  if (value === null || value === undefined) return "–";
  if (data.ratios.includes(metric)) return `${(value * 100).toFixed(1)} %`;
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString();
}

function median(values) {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (!known.length) return null;
  const middle = known.length >> 1;
  return known.length % 2 ? known[middle] : (known[middle - 1] + known[middle]) / 2;
}

// The fields of one parameter: its values, or bins where they are too many.
function fieldsOf(name) {
  if (!name) return { names: [""], of: () => 0 };
  const column = data.names.indexOf(name);
  const values = [...new Set(data.points.map((point) => point[column]))];
  const numeric = values.every((value) => typeof value === "number");
  if (numeric) values.sort((a, b) => a - b);
  if (!numeric || values.length <= MOST_FIELDS) {
    return { names: values.map(String), of: (point) => values.indexOf(point[column]) };
  }
  const low = values[0], width = (values[values.length - 1] - low) / BINS;
  return {
    names: Array.from({ length: BINS }, (_, bin) => `${Number((low + bin * width).toPrecision(3))}…`),
    of: (point) => Math.min(BINS - 1, Math.floor((point[column] - low) / width)),
  };
}

function draw() {
  const metric = byId("metric").value;
  const across = fieldsOf(byId("across").value), down = fieldsOf(byId("down").value);
  const column = data.metrics.indexOf(metric);
  const groups = new Map();
  data.points.forEach((point, index) => {
    const key = down.of(point) * across.names.length + across.of(point);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(index);
  });
  const medians = {};
  for (const part of PARTS) {
    medians[part] = new Map([...groups].map(([key, members]) => [key, median(members.map((index) => data[part][index][column]))]));
  }
  const known = PARTS.flatMap((part) => [...medians[part].values()]).filter((value) => value !== null);
  const low = Math.min(...known), high = Math.max(...known);
  const depth = (value) => {
    const share = high > low ? (value - low) / (high - low) : 0.5;
    return Math.round(6 + 64 * (data.lower_is_better.includes(metric) ? 1 - share : share));
  };
  for (const part of PARTS) map(part, metric, across, down, groups, medians[part], depth);
  cloud(metric, column);
}

function map(part, metric, across, down, groups, values, depth) {
  const table = byId(`map-${part}`);
  const head = make("thead"), body = make("tbody"), top = make("tr");
  top.append(make("th", `${byId("down").value} \\ ${byId("across").value}`), ...across.names.map((name) => make("th", name)));
  head.append(top);
  down.names.forEach((name, row) => {
    const line = make("tr");
    line.append(make("th", name));
    across.names.forEach((_, at) => {
      const cell = make("td"), key = row * across.names.length + at;
      if (groups.has(key)) {
        const value = values.get(key), button = make("button", shownValue(metric, value));
        if (value !== null) cell.style.background = `color-mix(in srgb, var(--up) ${depth(value)}%, transparent)`;
        cell.dataset.key = key;
        button.type = "button";
        button.addEventListener("click", () => choose(key, groups.get(key)));
        cell.append(button);
      }
      line.append(cell);
    });
    body.append(line);
  });
  table.replaceChildren(head, body);
}

function choose(key, members) {
  for (const cell of document.querySelectorAll(".map td[data-key]")) {
    cell.setAttribute("aria-current", String(cell.dataset.key === String(key)));
  }
  const index = members[0];
  const strong = make("strong", data.names.map((name, at) => `${name} ${data.points[index][at]}`).join(", "));
  const numbers = data.metrics.slice(0, 5).map((metric, at) =>
    `${data.labels[metric]} ${shownValue(metric, data.searched[index][at])} searched, ${shownValue(metric, data.held_out[index][at])} held out`);
  const more = members.length > 1 ? `; the best of ${members.length} combinations here` : "";
  byId("selected").replaceChildren(strong, `: ${numbers.join("; ")}${more}`);
}

function cloud(metric, column) {
  const svg = byId("cloud"), space = "http://www.w3.org/2000/svg";
  const pairs = data.points.map((_, index) => PARTS.map((part) => data[part][index][column]));
  const known = pairs.filter((pair) => pair.every((value) => value !== null));
  const scale = (values, from, to) => {
    const low = Math.min(...values), high = Math.max(...values);
    return (value) => (high > low ? from + ((value - low) / (high - low)) * (to - from) : (from + to) / 2);
  };
  const x = scale(known.map((pair) => pair[0]), 60, 620), y = scale(known.map((pair) => pair[1]), 285, 36);
  const draw = (name, attributes, text) => {
    const element = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const parts = [
    draw("line", { x1: 50, y1: 295, x2: 630, y2: 295 }), draw("line", { x1: 50, y1: 10, x2: 50, y2: 295 }),
    draw("text", { x: 340, y: 312, "text-anchor": "middle" }, `${data.labels[metric]}, searched`), draw("text", { x: 56, y: 18 }, `${data.labels[metric]}, held out`),
  ];
  if (known.length) {
    const ends = (at) => [Math.min(...known.map((pair) => pair[at])), Math.max(...known.map((pair) => pair[at]))];
    const [left, right] = ends(0), [bottom, top] = ends(1);
    parts.push(
      draw("text", { x: 54, y: 312 }, shownValue(metric, left)), draw("text", { x: 626, y: 312, "text-anchor": "end" }, shownValue(metric, right)),
      draw("text", { x: 46, y: 290, "text-anchor": "end" }, shownValue(metric, bottom)), draw("text", { x: 46, y: 41, "text-anchor": "end" }, shownValue(metric, top)),
    );
  }
  pairs.forEach((pair, index) => {
    if (pair.some((value) => value === null)) return;
    const dot = draw("circle", { cx: x(pair[0]).toFixed(1), cy: y(pair[1]).toFixed(1), r: index ? 4 : 6 });
    if (!index) dot.setAttribute("class", "best");
    dot.append(draw("title", {}, data.names.map((name, at) => `${name} ${data.points[index][at]}`).join(", ")));
    parts.push(dot);
  });
  svg.replaceChildren(...parts);
}

function fill(select, names, chosen) {
  select.replaceChildren(...names.map((name) => {
    const option = make("option", data.labels[name] || name || "nothing");
    option.value = name;
    return option;
  }));
  select.value = chosen;
  select.addEventListener("change", draw);
}

fill(byId("metric"), data.metrics, data.metrics[0]);
fill(byId("across"), data.names, data.names[0]);
fill(byId("down"), ["", ...data.names], data.names[1] || "");
draw();
