// The stitched equity and buying and holding, on a logarithmic scale.
const data = JSON.parse(document.getElementById("data").textContent);
const svg = document.getElementById("equity");

function draw() {
  const [width, height] = pictureSize(svg, 240, 420);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const values = [...data.equity, ...data.hold, 1].filter((value) => value > 0).map(Math.log);
  const low = Math.min(...values), high = Math.max(...values);
  const first = data.times[0], last = data.times[data.times.length - 1];
  const left = 52, right = width - 10, top = 12, bottom = height - 26;
  const x = (time) => (last > first ? left + ((time - first) / (last - first)) * (right - left) : left);
  const y = (value) => (high > low ? bottom - ((Math.log(value) - low) / (high - low)) * (bottom - top) : (top + bottom) / 2);
  const path = (column) => column.map((value, at) => (value > 0 ? `${at ? "L" : "M"}${x(data.times[at]).toFixed(1)} ${y(value).toFixed(1)}` : "")).join("");
  const day = (time) => new Date(time * 1000).toISOString().slice(0, 10);
  const change = (value) => `${value > 1 ? "+" : ""}${((value - 1) * 100).toFixed(0)} %`;
  const shown = [Math.exp(low), 1, Math.exp(high)].filter((value, at, all) => at === 1 || Math.abs(y(value) - y(all[1])) > 14);
  svg.replaceChildren(
    ...data.boundaries.map((time) => drawn("line", { x1: x(time), x2: x(time), y1: top, y2: bottom })),
    drawn("line", { class: "one", x1: left, x2: right, y1: y(1), y2: y(1) }),
    ...shown.map((value) => drawn("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, change(value))),
    drawn("text", { x: left, y: height - 8 }, day(first)), drawn("text", { x: right, y: height - 8, "text-anchor": "end" }, day(last)),
    drawn("path", { class: "hold", d: path(data.hold) }), drawn("path", { class: "own", d: path(data.equity) }),
  );
}

draw();
addEventListener("resize", draw);
