// The Pareto front of two in-sample metrics: a scatter plot with the front marked, and its table.

function frontOf(across, up) {
  const name = [across, up].map((metric) => data.metrics.indexOf(metric)).sort((one, other) => one - other).join(" ");
  return data.fronts[name];
}

function pareto() {
  const [across, up] = ["front-across", "front-up"].map((id) => byId(id).value);
  const axes = [across, up].map((metric) => {
    const axis = axisOf("in_sample", metric);
    return data.lower_is_better.includes(metric) ? { ...axis, name: `${axis.name} (lower is better)` } : axis;
  });
  const svg = byId("front");
  const place = scatter(svg, ...axes, "No combination has a value of both metrics");
  const { values } = axes[0];
  const front = [...frontOf(across, up)].sort((one, other) => values[one] - values[other]);
  if (place && front.length) {
    const places = front.map(place);
    svg.append(
      drawn("path", { class: "front", d: frontPath(places, data.lower_is_better.includes(across)) }),
      ...places.map(([left, top], at) => dot([left, top, front[at]], 1, { r: front[at] ? 5 : 3.5, class: "front" })),
    );
  }
  byId("front-count").textContent = `${front.length} of ${data.ranked} ranked combinations`;
  frontTable(front, [across, up]);
}

// The edge of what the front beats, from left to right.
function frontPath(places, isLower) {
  return places.map(([x, y], at) => {
    if (!at) return `M${x.toFixed(1)} ${y.toFixed(1)}`;
    const [across, up] = [`H${x.toFixed(1)}`, `V${y.toFixed(1)}`];
    return isLower ? across + up : up + across;
  }).join("");
}

function frontTable(front, metrics) {
  const table = byId("front-table"), head = make("tr"), body = make("tbody");
  const columns = metrics.flatMap((metric) => PARTS.map((part) => ({ metric, part, at: data.metrics.indexOf(metric) })));
  const names = [...data.names, ...columns.map(({ metric, part }) => `${data.labels[metric]}, ${PART_WORDS[part]}`)];
  head.append(...names.map((name) => {
    const cell = make("th", name);
    cell.scope = "col";
    return cell;
  }));
  for (const index of front) {
    const row = make("tr");
    row.append(...data.points[index].map((value) => sortedCell(String(shortValue(value)), value)));
    row.append(...columns.map(({ metric, part, at }) => sortedCell(valueText(metric, data[part][index][at]), data[part][index][at])));
    body.append(row);
  }
  const top = make("thead");
  top.append(head);
  table.replaceChildren(top, body);
  makeSortable(table);
}

function sortedCell(text, value) {
  const cell = make("td", text);
  if (typeof value === "number") cell.dataset.sort = value;
  return cell;
}

fill(byId("front-across"), data.goals, data.goals[0], pareto);
fill(byId("front-up"), data.goals, data.goals[1], pareto);
pareto();
