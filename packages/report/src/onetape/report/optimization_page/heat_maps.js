// Heat maps of two parameters, in-sample and out-of-sample, and the numbers of the field that is chosen.

let chosen = 0; // of the points; the best is the first

const make = (name, text) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  return element;
};

function median(values) {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (!known.length) return null;
  const middle = known.length >> 1;
  return known.length % 2 ? known[middle] : (known[middle - 1] + known[middle]) / 2;
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
  const valuesOf = (parts) => parts.flatMap((part) => [...medians[part].values()]).filter((value) => value !== null);
  const known = valuesOf(PARTS), isOwn = byId("scale").value === "own";
  const text = fieldFormat(metric, known);
  for (const part of PARTS) {
    byId(`unit-${part}`).textContent = `: ${data.labels[metric]}${fieldUnit(metric)}`;
    map(part, across, down, groups, medians[part], colouring(metric, isOwn ? valuesOf([part]) : known), text);
  }
  arrange();
  for (const [key, members] of groups) if (members.includes(chosen)) choose(key, members);
  cloud(metric);
}

// Around zero two colours part; where all values have one sign, one colour deepens with the better.
function colouring(metric, known) {
  const low = Math.min(...known), high = Math.max(...known), isLower = data.lower_is_better.includes(metric);
  const mix = (colour, share) => `color-mix(in srgb, var(--${colour}) ${Math.round(6 + 64 * share)}%, transparent)`;
  if (low < 0 && high > 0) {
    const maximum = Math.max(-low, high);
    return (value) => mix((value >= 0) === isLower ? "down" : "up", Math.abs(value) / maximum);
  }
  return (value) => {
    const share = high > low ? (value - low) / (high - low) : 0.5;
    return mix("up", isLower ? 1 - share : share);
  };
}

// Two maps stand side by side only where both have the room.
function arrange() {
  const maps = byId("maps");
  maps.classList.remove("wide");
  maps.classList.toggle("wide", [...maps.querySelectorAll(".scroll")].some((one) => one.scrollWidth > one.clientWidth));
}

function map(part, across, down, groups, values, colour, text) {
  const table = byId(`map-${part}`);
  const head = make("thead"), body = make("tbody"), top = make("tr");
  const corner = [byId("down").value, byId("across").value].filter(Boolean).join(" \\ ");
  top.append(make("th", corner), ...across.names.map((name) => make("th", name)));
  head.append(top);
  down.names.forEach((name, row) => {
    const line = make("tr");
    line.append(make("th", name));
    across.names.forEach((_, at) => {
      const cell = make("td"), key = row * across.names.length + at;
      if (groups.has(key)) {
        const value = values.get(key), button = make("button", value === null ? "–" : text(value));
        if (value !== null) cell.style.background = colour(value);
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
  const [index] = members;
  chosen = index;
  const parts = [index >= data.ranked ? data.few : index ? "" : "the best of all", members.length > 1 ? `the best of ${members.length} combinations here` : ""];
  byId("point").replaceChildren(make("strong", pointText(data.points[index])), make("span", parts.filter(Boolean).join("; ")));
  byId("numbers").replaceChildren(...data.metrics.slice(0, 5).map((metric, at) => {
    const row = make("div");
    row.append(make("dt", data.labels[metric]), ...PARTS.map((part) => make("dd", `${valueText(metric, data[part][index][at])} ${PART_WORDS[part]}`)));
    return row;
  }));
}

function fill(select, names, value, changed = draw) {
  select.replaceChildren(...names.map((name) => {
    const option = make("option", data.labels[name] || name || "nothing");
    option.value = name;
    return option;
  }));
  select.value = value;
  select.addEventListener("change", changed);
}

fill(byId("metric"), data.metrics, data.metrics[0]);
fill(byId("across"), data.names, data.names[0]);
fill(byId("down"), ["", ...data.names], data.names[1] || "");
byId("scale").addEventListener("change", draw);
draw();
let drawnWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== drawnWidth) {
    arrange();
    cloud(byId("metric").value);
    pareto();
  }
  drawnWidth = innerWidth;
});
