// A chart: choices of axes, a drawing as wide as the window, a legend that hides schemes in all charts, notes below.
//
// spec.id, spec.title, and spec.names of the schemes in the legend;
// spec.xs and spec.ys: the axes to choose among, {key, label, db, unit, aside}; aside sets curves apart sideways;
// spec.more: further choices, {key, label, options}; spec.start: what is chosen at first, by key;
// spec.curves(chosen): {scheme, points, level}; a level holds all along the horizontal axis;
//   points: {x, y, low, high, lines, rim, why}; rim is "diverged", "failed", "up" or "down" for what lies beyond the axis;
// spec.worse: the end of the vertical axis, "top" or "bottom", at which diverged points stand;
// spec.band: whether intervals are bands, not bars; spec.notes: what marks at the rim mean, by their kind.

const hidden = new Set();
const charts = [];
const KINDS = [["log", "log"], ["linear", "linear"]];
const MANY = 4; // curves, whose bands are fainter
const MOST_LOST = 12; // points without a place that are named below a chart

function addChart(parent, spec) {
  const chart = { spec, chosen: {}, box: element("div"), notes: element("div") };
  chart.tip = element("div", { class: "tip", role: "status", hidden: "" });
  const figure = element("figure", { id: spec.id }, element("figcaption", {}, spec.title));
  figure.append(controlsOf(chart), chart.box, chart.tip, legendOf(spec), chart.notes);
  parent.append(figure);
  charts.push(chart);
  draw(chart);
  const refit = () => { if (chart.width !== chart.box.clientWidth) draw(chart); };
  new ResizeObserver(() => requestAnimationFrame(refit)).observe(chart.box); // not within the observer: drawing resizes
}

function controlsOf(chart) {
  const { spec, chosen } = chart;
  const select = (key, options) => {
    const made = choice(options, () => { chosen[key] = made.value; draw(chart); });
    made.value = chosen[key] = spec.start?.[key] ?? options[0][0];
    return made;
  };
  const further = (spec.more ?? []).map(({ key, label, options }) => labelled(label, select(key, options)));
  const axes = [["y", "vertical", spec.ys], ["x", "horizontal", spec.xs]].map(([key, label, quantities]) => {
    const kind = select(`${key}Kind`, KINDS);
    kind.setAttribute("aria-label", `scale of the ${label} axis`);
    const quantity = select(key, quantities.map((one) => [one.key, one.label]));
    return element("span", { class: "pair" }, labelled(label, quantity), kind);
  });
  return element("div", { class: "choices" }, ...further, ...axes);
}

function legendOf({ names }) {
  const buttons = names.map((name) => {
    const { free } = schemes.get(name);
    const line = { d: "M0 7H26", class: free ? "level" : "line" };
    const sign = drawn("svg", { class: "chart", width: 26, height: 14, "aria-hidden": "true" }, drawn("path", line));
    if (!free) sign.append(markOf(name, 13, 7));
    const attributes = { type: "button", "aria-pressed": "true", "data-scheme": name };
    const button = element("button", attributes, inColourOf(name, sign), name);
    button.addEventListener("click", () => toggle(name));
    return button;
  });
  return element("div", { class: "legend", role: "group", "aria-label": "schemes; press to hide or show" }, ...buttons);
}

function toggle(name) {
  if (!hidden.delete(name)) hidden.add(name);
  for (const button of document.querySelectorAll(".legend button")) {
    button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.scheme)));
  }
  charts.forEach(draw);
}

function draw(chart) {
  const { spec, chosen, box } = chart;
  chart.width = box.clientWidth;
  const view = viewOf(spec, chosen, Math.max(240, chart.width));
  const against = `${view.yLabel} against ${view.xLabel}`;
  const label = `${spec.title}: ${against}; arrow keys move between points`;
  const svg = drawn("svg", { class: "chart", ...view.size, tabindex: 0, role: "img", "aria-label": label });
  svg.append(...frameOf(view));
  chart.places = [];
  for (const curve of view.levels) svg.append(...levelOf(chart, curve, view));
  const drawings = view.curves.map((curve, number) => curveOf(chart, curve, view, number));
  svg.append(...drawings.flatMap(({ intervals }) => intervals), ...drawings.flatMap(({ over }) => over));
  svg.style.setProperty("--shade", view.curves.length > MANY ? 0.07 : 0.16);
  chart.ring = svg.appendChild(drawn("circle", { class: "near", r: 9, visibility: "hidden" }));
  box.replaceChildren(svg);
  show(chart, null);
  listen(chart, svg);
  const notes = view.seen.length ? [] : [`nothing to draw: no point has a place in ${against}`];
  const rims = Object.entries(spec.notes ?? {}).filter(([rim]) => view.seen.some((point) => point.rim === rim));
  notes.push(...rims.map(([, text]) => text), ...lostOf(view));
  chart.notes.replaceChildren(...notes.map((text) => element("p", { class: "note" }, text)));
}

// What is to be drawn, and where: the curves that are not hidden, the points that have a place, the axes over them.
function viewOf(spec, chosen, width) {
  const height = Math.round(Math.min(430, Math.max(270, 0.5 * width)));
  const [x, y] = [spec.xs.find(({ key }) => key === chosen.x), spec.ys.find(({ key }) => key === chosen.y)];
  const [xKind, yKind] = [kindOf(x, chosen.xKind), kindOf(y, chosen.yKind)];
  const fits = (value, kind) => Number.isFinite(value) && (kind === "linear" || value > 0);
  const isSeen = (point) => fits(point.x, xKind) && (Boolean(point.rim) || fits(point.y, yKind));
  const shown = spec.curves(chosen).filter(({ scheme }) => !hidden.has(scheme));
  const curves = shown.filter(({ level }) => !level);
  const levels = shown.filter(({ level, points }) => level && fits(points[0].y, yKind));
  const seen = curves.flatMap(({ points }) => points.filter(isSeen));
  const heights = [...seen.filter(({ rim }) => !rim), ...levels.map(({ points }) => points[0])];
  const area = { left: 62, right: width - 14, top: 10, bottom: height - 48 };
  const step = x.aside ? Math.min(4, (0.04 * width) / curves.length) : 0; // so that bars do not hide each other
  return {
    size: { width, height }, area, curves, levels, seen, isSeen,
    across: scaleOf(seen.map((point) => point.x), xKind, area.left, area.right),
    up: scaleOf(yKind === "linear" ? allEnds(heights) : endsAboveZero(heights), yKind, area.bottom, area.top),
    aside: (number) => step * (number - (curves.length - 1) / 2),
    xLabel: axisLabel(x, xKind),
    yLabel: axisLabel(y, yKind),
  };
}

const kindOf = (axis, kind) => (kind === "log" && axis.db ? "dB" : kind);
const axisLabel = ({ label, unit }, kind) => label + (kind === "dB" ? " [dB]" : unit ? ` [${unit}]` : "");
const allEnds = (points) => points.flatMap(({ y, low, high }) => [y, low, high]);

// On a log axis a bar that reaches below zero does not stretch the axis beyond a third of the least mean.
function endsAboveZero(points) {
  const least = Math.min(...points.map(({ y }) => y)) / 3;
  return points.flatMap(({ y, low, high }) => [y, low > least ? low : Number.isNaN(low) ? y : least, high]);
}

// No point is dropped in silence: those without a place on these axes are named.
function lostOf({ curves, isSeen }) {
  const lost = curves.flatMap(({ scheme, points }) => points.filter((point) => !isSeen(point)).map((point) =>
    `${scheme}, ${point.lines[0]}${point.why ? `: ${point.why}` : ""}`));
  if (!lost.length) return [];
  const more = lost.length > MOST_LOST ? `; and ${lost.length - MOST_LOST} more` : "";
  return [`without a place on these axes: ${lost.slice(0, MOST_LOST).join("; ")}${more}`];
}

function frameOf({ area, across, up, xLabel, yLabel }) {
  const { left, right, top, bottom } = area;
  const parts = across.ticks(Math.max(3, (right - left) / 75)).flatMap(({ at, label }) => [
    drawn("path", { class: "grid", d: `M${at} ${top}V${bottom}` }),
    drawn("text", { x: at, y: bottom + 17, "text-anchor": "middle" }, label),
  ]);
  parts.push(...up.ticks((bottom - top) / 40).flatMap(({ at, label }) => [
    drawn("path", { class: "grid", d: `M${left} ${at}H${right}` }),
    drawn("text", { x: left - 7, y: at + 4, "text-anchor": "end" }, label),
  ]));
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  return [
    ...parts,
    drawn("rect", { class: "frame", x: left, y: top, width: right - left, height: bottom - top }),
    drawn("text", { x, y: bottom + 39, "text-anchor": "middle" }, xLabel),
    drawn("text", { x: 14, y, "text-anchor": "middle", transform: `rotate(-90 14 ${y})` }, yLabel),
  ];
}
