// Draws STUDY (see simulator/sweep/report.py) with Plotly. One state, and a function for each part.
"use strict";

const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999"];
const PASS_COLOURS = { FF: "#0072B2", BP: "#56B4E9", WU: "#E69F00", UP: "#999999" };
const A_COLOUR = "#D55E00";
const B_COLOUR = "#0072B2";
const MOST_ROWS = 300;
const OPTIONS = { responsive: true, displaylogo: false };
const PLAIN = { responsive: true, displayModeBar: false };
const title = (text) => ({ text, x: 0.01, xanchor: "left", font: { size: 14 } });
const COLUMN = Object.fromEntries(STUDY.columns.map((column) => [column.name, column]));
const OBJECTIVES = Object.keys(STUDY.objectives);

const state = { brushed: null, a: null, b: null, sort: OBJECTIVES[0], descending: false };
const element = (id) => document.getElementById(id);
const chosen = (id) => element(id).value;

// A name with its unit, unless the name says it, as dram_bytes does.
function label(name) {
  const unit = COLUMN[name] && COLUMN[name].unit;
  return unit && !name.split("_").includes(unit) ? `${name} [${unit}]` : name;
}

function text(value) {
  if (value === null || value === undefined) return "-";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(4)));
}

function varies(name) {
  return new Set(STUDY.rows[name]).size > 1;
}

function spansDecades(name) {
  const values = STUDY.rows[name].filter((value) => value > 0);
  return Math.max(...values) > 30 * Math.min(...values);
}

function points() {
  const place = Number(chosen("case"));
  return STUDY.case.map((_, i) => i).filter((i) => STUDY.case[i] === place);
}

function shownPoints() {
  return points().filter((i) => state.brushed === null || state.brushed.has(i));
}

function parameters() {
  return STUDY.columns.filter((c) => c.role === "parameter" && varies(c.name)).map((c) => c.name);
}

function designName(i) {
  if (i === null) return "click a point";
  const parts = parameters().filter((name) => STUDY.rows[name][i] !== null);
  return parts.map((name) => `${name} ${text(STUDY.rows[name][i])}`).join(", ") || "the only design";
}

function fill(id, names, value) {
  element(id).replaceChildren(
    ...names.map(([key, shown]) => {
      const option = document.createElement("option");
      option.value = key;
      option.textContent = shown;
      option.selected = key === value;
      return option;
    }),
  );
}

function row(cells, tag) {
  const made = document.createElement("tr");
  for (const [value, isText] of cells) {
    const cell = document.createElement(tag);
    cell.textContent = value;
    if (isText) cell.className = "text";
    made.append(cell);
  }
  return made;
}

// Scatter of two columns, with the front, the brush and the chosen designs.
function drawScatter() {
  const [x, y, colour] = [chosen("x"), chosen("y"), chosen("colour")];
  const all = points();
  const at = (places) => ({
    x: places.map((i) => STUDY.rows[x][i]),
    y: places.map((i) => STUDY.rows[y][i]),
    customdata: places,
  });
  const traces = colourGroups(all, colour).map(([name, places, marker]) => ({
    ...at(places),
    name,
    mode: "markers",
    type: "scatter",
    text: places.map((i) => designName(i).replaceAll(", ", "<br>")),
    hovertemplate: `%{text}<br>${x} %{x}<br>${y} %{y}<extra></extra>`,
    marker: { size: 7, opacity: 0.7, ...marker },
    selectedpoints: state.brushed && places.flatMap((i, at) => (state.brushed.has(i) ? [at] : [])),
    showlegend: name !== "",
  }));
  const front = frontOf(all, x, y);
  const name = OBJECTIVES.length > 2 ? `front of ${x} and ${y}` : "front";
  if (front.length) traces.push({ ...at(front), name, mode: "lines", line: { color: "#444", width: 1.5 }, hoverinfo: "skip" });
  for (const [key, line] of [["a", A_COLOUR], ["b", B_COLOUR]]) {
    if (state[key] === null || !all.includes(state[key])) continue;
    const marker = { size: 16, symbol: "circle-open", color: line, line: { width: 3 } };
    traces.push({ ...at([state[key]]), name: `design ${key.toUpperCase()}`, mode: "markers", marker, hoverinfo: "skip" });
  }
  const kind = (name) => (element("log").checked && COLUMN[name].number ? "log" : undefined);
  const layout = {
    margin: { t: 34, r: 10 }, // the buttons are above the points, the legend is below them
    xaxis: { title: { text: label(x) }, type: kind(x) },
    yaxis: { title: { text: label(y) }, type: kind(y) },
    dragmode: "select",
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" },
    uirevision: `${x} ${y} ${chosen("case")}`,
  };
  Plotly.react("scatter", traces, layout, OPTIONS);
}

// The points that no other beats in both of two objectives, best in the first one first. Those of
// more objectives are no line in two dimensions, and other columns have no better end.
function frontOf(places, x, y) {
  if (x === y || !OBJECTIVES.includes(x) || !OBJECTIVES.includes(y)) return [];
  const cost = (name, i) => STUDY.objectives[name] * STUDY.rows[name][i];
  const order = (p, q) => cost(x, p) - cost(x, q) || cost(y, p) - cost(y, q);
  let least = Infinity;
  return places
    .filter((i) => STUDY.front[i])
    .sort(order)
    .filter((i) => cost(y, i) < least && ((least = cost(y, i)), true));
}

function colourGroups(places, colour) {
  if (!colour) return [["", places, { color: COLOURS[0] }]];
  const values = STUDY.rows[colour];
  if (COLUMN[colour].number) {
    const marker = { color: places.map((i) => values[i]), colorscale: "Viridis", showscale: true, colorbar: { title: { text: label(colour) } } };
    return [["", places, marker]];
  }
  const groups = [...new Set(places.map((i) => values[i]))];
  return groups.map((group, at) => [
    String(group),
    places.filter((i) => values[i] === group),
    { color: COLOURS[at % COLOURS.length] },
  ]);
}

// Table of the brushed points, sorted by a column.
function drawTable() {
  const results = STUDY.columns.filter((c) => !["parameter", "identity"].includes(c.role)).map((c) => c.name);
  const names = [...new Set([...parameters(), ...OBJECTIVES, ...results])];
  const head = row(names.map((name) => [label(name), !COLUMN[name].number]), "th");
  [...head.children].forEach((cell, at) => {
    cell.title = COLUMN[names[at]].meaning;
    cell.onclick = () => {
      state.descending = state.sort === names[at] && !state.descending;
      state.sort = names[at];
      drawTable();
    };
  });
  const values = STUDY.rows[state.sort];
  const order = (p, q) => (values[p] < values[q] ? -1 : values[p] > values[q] ? 1 : p - q);
  const places = shownPoints().sort((p, q) => (state.descending ? order(q, p) : order(p, q)));
  const rows = places.slice(0, MOST_ROWS).map((i) => {
    const made = row(names.map((name) => [text(STUDY.rows[name][i]), !COLUMN[name].number]), "td");
    made.onclick = () => choose(i);
    made.dataset.point = i;
    if (STUDY.front[i]) made.classList.add("front");
    if (i === state.a) made.classList.add("a");
    if (i === state.b) made.classList.add("b");
    return made;
  });
  element("points").tHead.replaceChildren(head);
  element("points").tBodies[0].replaceChildren(...rows);
  const more = places.length > MOST_ROWS ? `, the first ${MOST_ROWS} in the table` : "";
  element("count").textContent = `${places.length} of ${points().length} points${more}. Bold: on the front.`;
}

// Parallel coordinates of parameters and objectives; brushing an axis brushes everything.
function drawParallel() {
  const places = shownPoints();
  const extra = STUDY.columns.filter((c) => c.role === "quantity" && c.number).map((c) => c.name);
  const names = [...new Set([...parameters(), ...extra, ...OBJECTIVES])];
  const dimensions = names.map((name) => dimension(name, places));
  const colour = STUDY.rows[OBJECTIVES[0]];
  const line = { color: places.map((i) => Math.log(Math.max(colour[i], Number.MIN_VALUE))), colorscale: "Viridis", reversescale: true };
  const trace = { type: "parcoords", line, dimensions, labelangle: -12, labelside: "top" };
  Plotly.react("parallel", [trace], { margin: { t: 80, b: 25, l: 70, r: 70 } }, PLAIN);
  element("parallel").shown = { places, names };
}

function dimension(name, places) {
  const values = STUDY.rows[name];
  if (COLUMN[name].number) {
    return { label: label(name), values: places.map((i) => values[i]) };
  }
  const levels = [...new Set(points().map((i) => values[i]))];
  return {
    label: name,
    values: places.map((i) => levels.indexOf(values[i])),
    tickvals: levels.map((_, at) => at),
    ticktext: levels.map(text),
    range: [-0.5, levels.length - 0.5],
  };
}

function brushByAxes() {
  const { places } = element("parallel").shown;
  const dimensions = element("parallel").data[0].dimensions;
  const inside = (value, range) => {
    if (!range) return true;
    const ranges = Array.isArray(range[0]) ? range : [range];
    return ranges.some(([low, high]) => value >= low && value <= high);
  };
  const kept = places.filter((_, at) => dimensions.every((d) => inside(d.values[at], d.constraintrange)));
  state.brushed = kept.length < points().length ? new Set(kept) : null;
  drawScatter();
  drawTable();
}

// Design A: cycles by layer and pass, roofline, energy.
function drawDesign() {
  element("name-a").textContent = designName(state.a);
  const found = state.a === null ? null : STUDY.breakdowns[state.a];
  for (const id of ["layers", "roofline", "energy"]) if (!found) Plotly.purge(id);
  if (!found) {
    const missing = "was not simulated again, because the model is slow; points of the front come first";
    element("layers").textContent = state.a === null ? "" : `The breakdown of this point ${missing}.`;
    return;
  }
  if (!element("layers").data) element("layers").textContent = "";
  const names = STUDY.layers[found.layers];
  const bars = Object.entries(found.cycles).map(([pass, cycles]) => ({
    type: "bar",
    name: pass,
    x: names,
    y: cycles.map((count) => count / found.clock_hz),
    marker: { color: PASS_COLOURS[pass] || "#CC79A7" },
  }));
  const layout = { barmode: "stack", margin: { t: 30, r: 50, b: 110 }, title: title("Time by layer and pass [s]"), legend: { orientation: "h", x: 1, xanchor: "right", y: 1.1, traceorder: "normal" } };
  Plotly.react("layers", bars, layout, PLAIN);
  drawRoofline(found, names);
  drawEnergy(found);
}

function drawRoofline(found, names) {
  const cycles = names.map((_, at) => Object.values(found.cycles).reduce((sum, counts) => sum + counts[at], 0));
  const places = names.map((_, at) => at).filter((at) => found.macs[at] && found.bytes[at] && cycles[at]);
  const intensity = places.map((at) => found.macs[at] / found.bytes[at]);
  const speed = places.map((at) => (found.macs[at] * found.clock_hz) / cycles[at]);
  const traces = [{
    x: intensity, y: speed, text: places.map((at) => names[at]), mode: "markers", name: "layers",
    marker: { size: 9, color: COLOURS[0], opacity: 0.7 }, hovertemplate: "%{text}<br>%{x:.4g} MAC/byte<br>%{y:.4g} MAC/s<extra></extra>",
  }];
  const [low, high] = [Math.min(...intensity) / 3, Math.max(...intensity) * 3];
  if (found.dram_bytes_per_s && places.length) {
    const ridge = found.peak_macs_per_s / found.dram_bytes_per_s;
    const x = [Math.min(low, ridge / 3), ridge, Math.max(high, ridge * 3)];
    const y = [x[0] * found.dram_bytes_per_s, found.peak_macs_per_s, found.peak_macs_per_s];
    traces.push({ x, y, mode: "lines", name: "roof", line: { color: "#444" }, hoverinfo: "skip" });
  }
  const layout = {
    margin: { t: 30, r: 10 }, showlegend: false, title: title("Roofline: useful MACs of each layer"),
    xaxis: { type: "log", title: { text: "MAC / byte of DRAM traffic" } }, yaxis: { type: "log", exponentformat: "SI", title: { text: "MAC / s" } }, // 100G, not 100B
  };
  Plotly.react("roofline", traces, layout, PLAIN);
}

function drawEnergy(found) {
  const entries = Object.entries(found.energy_pj);
  const trace = { type: "bar", x: entries.map(([name]) => name), y: entries.map(([, value]) => value * 1e-12), marker: { color: COLOURS } };
  const shown = entries.length ? "Energy by component [J]" : "The model has no energy";
  Plotly.react("energy", [trace], { margin: { t: 30, r: 10 }, title: title(shown) }, PLAIN);
}

// Design A against design B: a table of everything, and the time of each layer.
function drawComparison() {
  element("name-b").textContent = designName(state.b);
  const names = STUDY.columns.filter((c) => c.role !== "identity").map((c) => c.name);
  const value = (key, name) => (state[key] === null ? null : STUDY.rows[name][state[key]]);
  const rows = names.map((name) => {
    const [a, b] = [value("a", name), value("b", name)];
    const ratio = COLUMN[name].number && a && b ? `${text(b / a)}x` : a === b ? "" : "differs";
    return row([[label(name), true], [text(a)], [text(b)], [state.b === null ? "" : ratio]], "td");
  });
  element("comparison").tHead.replaceChildren(row([["", true], ["A"], ["B"], ["B / A"]], "th"));
  element("comparison").tBodies[0].replaceChildren(...rows);
  const [a, b] = ["a", "b"].map((key) => (state[key] === null ? null : STUDY.breakdowns[state[key]]));
  if (!a || !b || a.layers !== b.layers) {
    Plotly.purge("difference");
    element("difference").textContent = "Choose a design B, of the same accelerator and workload, to see both layer by layer.";
    return;
  }
  if (!element("difference").data) element("difference").textContent = "";
  const seconds = (found) => STUDY.layers[found.layers].map((_, at) => Object.values(found.cycles).reduce((sum, counts) => sum + counts[at], 0) / found.clock_hz);
  const bars = [["A", a, A_COLOUR], ["B", b, B_COLOUR]].map(([name, found, color]) => ({ type: "bar", name, x: STUDY.layers[found.layers], y: seconds(found), marker: { color } }));
  Plotly.react("difference", bars, { barmode: "group", margin: { t: 30, r: 50, b: 110 }, title: title("Time by layer [s]"), legend: { orientation: "h", x: 1, xanchor: "right", y: 1.1 } }, PLAIN);
}

// Sensitivity of the objective to every parameter.
function drawSensitivity() {
  const effects = STUDY.sensitivity.filter((e) => e.case === Number(chosen("case")) && e.objective === chosen("objective"));
  const bars = { type: "bar", orientation: "h", x: effects.map((e) => e.share).reverse(), y: effects.map((e) => e.parameter).reverse(), marker: { color: COLOURS[0] } };
  Plotly.react("shares", [bars], { margin: { t: 30, l: 170, r: 20 }, xaxis: { range: [0, 1], title: { text: "share of the variance" } } }, PLAIN);
  const lines = effects.map((e, at) => ({
    name: e.parameter, mode: "lines+markers", line: { color: COLOURS[at % COLOURS.length] },
    x: e.levels.map((_, place) => place / Math.max(1, e.levels.length - 1)), y: e.means.map((mean) => mean / e.means[0]),
    text: e.levels.map(text), hovertemplate: `${e.parameter} %{text}<br>%{y:.4g}x<extra></extra>`,
  }));
  const layout = { margin: { t: 30, r: 10 }, xaxis: { title: { text: "level, lowest to highest" }, tickvals: [0, 1], ticktext: ["lowest", "highest"] }, yaxis: { title: { text: `mean ${chosen("objective")}, relative` } } };
  Plotly.react("effects", lines, layout, PLAIN);
}

function choose(i) {
  state[document.querySelector("input[name=target]:checked").value] = i;
  drawScatter();
  drawTable();
  drawDesign();
  drawComparison();
}

function brush(places) {
  state.brushed = places;
  drawScatter();
  drawTable();
  drawParallel();
}

// The point with the best product of all objectives, those to maximise divided by; null of none.
function balanced(places) {
  const cost = (i) => OBJECTIVES.reduce((sum, name) => sum + STUDY.objectives[name] * Math.log(Math.abs(STUDY.rows[name][i])), 0);
  const costs = places.map((i) => (Number.isFinite(cost(i)) ? cost(i) : Infinity));
  return places[costs.indexOf(Math.min(...costs))] ?? null;
}

function changeCase() {
  state.brushed = state.b = null;
  const front = points().filter((i) => STUDY.front[i]);
  state.a = balanced(front.length ? front : points());
  drawAll();
}

function drawAll() {
  drawScatter();
  drawTable();
  drawParallel();
  drawDesign();
  drawComparison();
  drawSensitivity();
}

function start() {
  const numbers = STUDY.columns.filter((c) => c.number && c.name !== "point").map((c) => [c.name, label(c.name)]);
  const second = OBJECTIVES[1] || STUDY.columns.find((c) => c.role === "parameter" && c.number)?.name || OBJECTIVES[0];
  fill("case", STUDY.cases.map((name, at) => [String(at), name]), "0");
  fill("x", numbers, OBJECTIVES[0]);
  fill("y", numbers, second);
  const groups = ["accelerator", "method"].filter(varies);
  fill("colour", [["", "none"], ...parameters().map((name) => [name, name])], groups[0] || "");
  fill("objective", OBJECTIVES.map((name) => [name, name]), OBJECTIVES[0]);
  element("log").checked = [OBJECTIVES[0], second].some(spansDecades);
  for (const id of ["x", "y", "log", "colour"]) element(id).onchange = drawScatter;
  element("case").onchange = changeCase;
  element("objective").onchange = drawSensitivity;
  element("all").onclick = () => brush(null);
  changeCase();
  element("scatter").on("plotly_click", (event) => choose(event.points[0].customdata));
  element("scatter").on("plotly_selected", (event) => {
    const places = (event ? event.points : []).map((p) => p.customdata).filter((i) => i !== undefined);
    brush(places.length ? new Set(places) : null);
  });
  element("parallel").on("plotly_restyle", brushByAxes);
}

start();
