// A chart: choices of axes, a drawing as wide as the window, values under the pointer, a legend that hides schemes everywhere.
//
// spec.id, spec.title; spec.xs and spec.ys: {key, label, db, unit, aside} of the axes, aside setting curves apart sideways; spec.more: {key, label, options} of further choices;
// spec.curves(chosen): [{scheme, points: [{x, y, low, high, rim, lines}], level}], rim being "diverged", "failed", "up" or "down"
// for what lies beyond an axis; spec.worse: the end of the vertical axis where diverged points stand, "top" or "bottom".

const hidden = new Set();
const charts = [];

function addChart(parent, spec) {
  const figure = element("figure", { id: spec.id });
  const controls = element("div", { class: "choices" });
  const chart = { spec, figure, chosen: {}, box: element("div"), notes: element("div"), tip: element("div", { class: "tip" }) };
  const selects = [
    ...(spec.more ?? []).map(({ key, label, options }) => [key, label, options]),
    ["y", "vertical", spec.ys.map(({ key, label }) => [key, label])],
    ["x", "horizontal", spec.xs.map(({ key, label }) => [key, label])],
  ];
  const selectOf = (key, options) => {
    const select = choice(options, () => { chart.chosen[key] = select.value; draw(chart); });
    select.value = chart.chosen[key] = spec.start?.[key] ?? options[0][0];
    return select;
  };
  for (const [key, label, options] of selects) {
    const pair = element("span", { class: "pair" }, labelled(label, selectOf(key, options)));
    if (key === "x" || key === "y") {
      const kind = selectOf(`${key}Kind`, [["log", "log"], ["linear", "linear"]]);
      kind.setAttribute("aria-label", `scale of the ${label} axis`);
      pair.append(kind);
    }
    controls.append(pair);
  }
  chart.tip.hidden = true;
  chart.tip.setAttribute("role", "status");
  figure.append(element("figcaption", {}, spec.title), controls, chart.box, chart.tip, legendOf(spec), chart.notes);
  parent.append(figure);
  charts.push(chart);
  const refit = () => { if (chart.width !== chart.box.clientWidth) draw(chart); };
  new ResizeObserver(() => requestAnimationFrame(refit)).observe(chart.box); // not within the observer: drawing resizes
  draw(chart);
}

function legendOf(spec) {
  const legend = element("div", { class: "legend", role: "group", "aria-label": "schemes; press to hide or show" });
  for (const name of spec.names) {
    const sign = drawn("svg", { width: 26, height: 14, "aria-hidden": "true" },
      drawn("path", { d: "M0 7H26", stroke: "currentColor", "stroke-width": 1.8, ...(schemes.get(name).free ? { "stroke-dasharray": "6 4" } : {}) }));
    if (!schemes.get(name).free) sign.append(markOf(name, 13, 7));
    const button = element("button", { type: "button", "aria-pressed": "true", "data-scheme": name }, inColourOf(name, sign), name);
    button.addEventListener("click", () => toggle(name));
    legend.append(button);
  }
  return legend;
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
  const width = Math.max(240, chart.width), height = Math.round(Math.min(430, Math.max(270, 0.5 * width)));
  const [x, y] = [spec.xs.find(({ key }) => key === chosen.x), spec.ys.find(({ key }) => key === chosen.y)];
  const kinds = { x: kindOf(x, chosen.xKind), y: kindOf(y, chosen.yKind) };
  const all = spec.curves(chosen);
  const shown = all.filter(({ scheme }) => !hidden.has(scheme));
  const fits = (value, kind) => Number.isFinite(value) && (kind === "linear" || value > 0);
  const isSeen = (point) => fits(point.x, kinds.x) && (point.rim || fits(point.y, kinds.y));
  const seen = shown.flatMap(({ points, level }) => (level ? [] : points.filter(isSeen)));
  const levels = shown.filter(({ points, level }) => level && fits(points[0].y, kinds.y));
  const heights = [...seen.filter(({ rim }) => !rim), ...levels.map(({ points }) => points[0])];
  const ends = kinds.y === "linear" ? heights.flatMap(({ y, low, high }) => [y, low, high]) : endsAboveZero(heights);
  const area = { left: 62, right: width - 14, top: 10, bottom: height - 48 };
  const across = scaleOf(seen.map((point) => point.x), kinds.x, area.left, area.right);
  const up = scaleOf(ends, kinds.y, area.bottom, area.top);
  const svg = drawn("svg", { class: "chart", width, height, tabindex: 0, role: "img", "aria-label": `${spec.title}: ${y.label} against ${x.label}; arrow keys move between points` });
  svg.append(...frame(area, across, up, axisLabel(x, kinds.x), axisLabel(y, kinds.y)));
  chart.places = [];
  for (const curve of levels) svg.append(...levelOf(chart, curve, up, area));
  const curves = shown.filter(({ level }) => !level);
  const aside = (i) => (x.aside ? Math.min(4, 0.04 * width / curves.length) * (i - (curves.length - 1) / 2) : 0); // so that bars do not hide each other
  curves.forEach((curve, i) => svg.append(...curveOf(chart, curve, { across, up, area, isSeen, aside: aside(i) })));
  chart.ring = svg.appendChild(drawn("circle", { class: "near", r: 9, visibility: "hidden" }));
  box.replaceChildren(svg);
  chart.tip.hidden = true;
  listen(chart, svg);
  const left = shown.flatMap(({ scheme, points, level }) => (level ? [] : points.filter((point) => !isSeen(point)).map((point) => `${scheme}, ${point.lines[0]}${point.why ? `: ${point.why}` : ""}`)));
  const empty = seen.length ? [] : [`nothing to draw: no point has both ${x.label} and ${y.label}`];
  const lost = left.length ? [`without a place on these axes: ${left.slice(0, 12).join("; ")}${left.length > 12 ? `; and ${left.length - 12} more` : ""}`] : [];
  const rims = spec.notes?.(seen) ?? [];
  const notes = [...empty, ...(rims.length ? [rims.join("; ")] : []), ...lost];
  chart.notes.replaceChildren(...notes.map((text) => element("p", { class: "note" }, text)));
}

const kindOf = (axis, kind) => (kind === "log" && axis.db ? "dB" : kind);
const axisLabel = (axis, kind) => axis.label + (kind === "dB" ? " [dB]" : axis.unit ? ` [${axis.unit}]` : "");

// On a log axis a bar that reaches below zero does not stretch the axis beyond a third of the least mean.
function endsAboveZero(points) {
  const least = Math.min(...points.map(({ y }) => y)) / 3;
  return points.flatMap(({ y, low, high }) => [y, low > 0 ? Math.max(low, least) : least, high]);
}

function frame(area, across, up, xLabel, yLabel) {
  const parts = [];
  for (const { at, label } of across.ticks(Math.max(3, (area.right - area.left) / 75))) {
    parts.push(drawn("path", { class: "grid", d: `M${at} ${area.top}V${area.bottom}` }));
    parts.push(drawn("text", { x: at, y: area.bottom + 17, "text-anchor": "middle" }, label));
  }
  for (const { at, label } of up.ticks((area.bottom - area.top) / 40)) {
    parts.push(drawn("path", { class: "grid", d: `M${area.left} ${at}H${area.right}` }));
    parts.push(drawn("text", { x: area.left - 7, y: at + 4, "text-anchor": "end" }, label));
  }
  const [x, y] = [(area.left + area.right) / 2, (area.top + area.bottom) / 2];
  return [
    ...parts,
    drawn("rect", { class: "frame", x: area.left, y: area.top, width: area.right - area.left, height: area.bottom - area.top }),
    drawn("text", { x, y: area.bottom + 39, "text-anchor": "middle" }, xLabel),
    drawn("text", { x: 14, y, "text-anchor": "middle", transform: `rotate(-90 14 ${y})` }, yLabel),
  ];
}

function levelOf(chart, { scheme, points: [point] }, up, area) {
  const at = up.place(point.y);
  const [low, high] = [point.low, point.high].map((end) => Math.min(area.bottom, Math.max(area.top, up.place(end))));
  chart.places.push({ x: area.right - 30, y: at, scheme, point });
  const band = Number.isFinite(high - low) ? [inColourOf(scheme, drawn("path", { class: "band", d: `M${area.left} ${low}H${area.right}V${high}H${area.left}Z` }))] : [];
  return [...band, inColourOf(scheme, drawn("path", { class: "level", d: `M${area.left} ${at}H${area.right}` }))];
}

function curveOf(chart, { scheme, points }, { across, up, area, isSeen, aside }) {
  const clipped = (value) => (Number.isNaN(value) ? value : Math.min(area.bottom, Math.max(area.top, value)));
  const places = points.map((point) => {
    if (!isSeen(point)) return null;
    const x = across.place(point.x) + aside, [low, high] = [point.low, point.high].map((end) => (end > 0 || up.place(end) ? clipped(up.place(end)) : area.bottom));
    return point.rim ? { x, y: rimOf(chart, x, point.rim, area), rim: point.rim, point } : { x, y: up.place(point.y), low, high, point };
  });
  const spans = unbroken(places);
  const line = spans.map((span) => `M${span.map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`).join("");
  const parts = chart.spec.band
    ? spans.map((span) => drawn("path", { class: "band", d: bandOf(span) }))
    : places.filter((place) => place && Number.isFinite(place.high - place.low)).map(({ x, low, high }) => drawn("path", { class: "bar", d: `M${x} ${low}V${high}m-4 0h8M${x - 4} ${low}h8` }));
  if (line) parts.push(drawn("path", { class: "line", d: line, ...(schemes.get(scheme).free ? { "stroke-dasharray": "6 4" } : {}) }));
  for (const part of parts) inColourOf(scheme, part);
  for (const place of places) {
    if (!place) continue;
    chart.places.push({ x: place.x, y: place.y, scheme, point: place.point });
    if (places.length <= 40 || place.rim) {
      const mark = markOf(scheme, place.x, place.y, place.rim);
      mark.classList.add("point");
      parts.push(mark);
    }
  }
  return parts;
}

// Marks of what lies beyond an axis stand at its rim, beside each other where they meet.
function rimOf(chart, x, rim, area) {
  const end = rim === "up" ? "top" : rim === "down" ? "bottom" : chart.spec.worse;
  const y = (step) => (end === "top" ? area.top + 12 + 14 * step : area.bottom - 12 - 14 * step);
  let step = 0;
  while (chart.places.some((place) => Math.abs(place.x - x) < 9 && Math.abs(place.y - y(step)) < 9)) step += 1;
  return y(step);
}

// Stretches of neighbours that have values: a line is drawn within them, never across a gap.
function unbroken(places) {
  const spans = [[]];
  for (const place of places) {
    if (place && !place.rim) spans.at(-1).push(place);
    else if (spans.at(-1).length) spans.push([]);
  }
  return spans.filter((span) => span.length);
}

function bandOf(span) {
  const known = span.filter(({ low, high }) => Number.isFinite(high - low));
  if (!known.length) return "";
  const around = [...known.map(({ x, high }) => [x, high]), ...known.toReversed().map(({ x, low }) => [x, low])];
  return `M${around.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}Z`;
}

function listen(chart, svg) {
  const places = chart.places.toSorted((one, other) => one.x - other.x);
  let current = -1;
  const point = (event) => {
    const { left, top } = svg.getBoundingClientRect(), [x, y] = [event.clientX - left, event.clientY - top];
    const far = places.map((place) => Math.hypot(place.x - x, place.y - y));
    const nearest = far.indexOf(Math.min(...far));
    show(chart, far[nearest] < 40 ? places[nearest] : null);
    current = nearest;
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", () => show(chart, null));
  svg.addEventListener("blur", () => show(chart, null));
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return show(chart, null);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !places.length) return;
    event.preventDefault();
    current = (Math.max(current, step > 0 ? -1 : 0) + step + places.length) % places.length;
    show(chart, places[current]);
  });
}

function show(chart, place) {
  chart.tip.hidden = !place;
  chart.ring.setAttribute("visibility", place ? "visible" : "hidden");
  if (!place) return;
  chart.ring.setAttribute("transform", `translate(${place.x} ${place.y})`);
  chart.tip.replaceChildren(...[place.scheme, ...place.point.lines].map((line) => element("div", {}, line)));
  const { offsetWidth, offsetHeight } = chart.tip;
  const [left, right] = [place.x - 16 - offsetWidth, place.x + 16];
  const beside = right + offsetWidth <= chart.width ? right : left;
  chart.tip.style.left = `${Math.max(0, beside)}px`;
  chart.tip.style.top = `${chart.box.offsetTop + (beside < 0 ? chart.box.offsetHeight : Math.max(0, place.y - offsetHeight / 2))}px`;
}
