// Curves of a chart. A curve's place on the drawing is kept in chart.places, for the pointer.

const MOST_MARKS = 40; // points of a curve that have a marker each
const along = (places) => `M${places.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;

function levelOf(chart, { scheme, points: [point] }, { up, area }) {
  const at = up.place(point.y), [low, high] = endsOf(point, up, area);
  chart.places.push({ x: area.right - 30, y: at, scheme, point });
  const parts = [drawn("path", { class: "level", d: `M${area.left} ${at}H${area.right}` })];
  if (Number.isFinite(high - low)) {
    parts.unshift(drawn("path", { class: "band", d: `M${area.left} ${low}H${area.right}V${high}H${area.left}Z` }));
  }
  return parts.map((part) => inColourOf(scheme, part));
}

// The intervals of a curve, which lie under all lines, and what lies over them.
function curveOf(chart, { scheme, points }, view, number) {
  const places = points.map((point) => (view.isSeen(point) ? placeOf(chart, point, view, number) : null));
  const spans = unbroken(places);
  const intervals = chart.spec.band ? spans.map(bandOf) : places.filter(hasInterval).map(barOf);
  const lines = spans.map((span) => drawn("path", {
    class: schemes.get(scheme).free ? "level" : "line", d: along(span.map(({ x, y }) => [x, y])),
  }));
  const there = places.filter(Boolean);
  chart.places.push(...there.map(({ x, y, point }) => ({ x, y, scheme, point })));
  const marked = points.length <= MOST_MARKS ? there : there.filter(({ point }) => point.rim);
  const marks = marked.map(({ x, y, point }) => markOf(scheme, x, y, point.rim));
  for (const mark of marks) mark.classList.add("point");
  for (const part of [...intervals, ...lines]) inColourOf(scheme, part);
  return { intervals, over: [...lines, ...marks] };
}

function placeOf(chart, point, { across, up, area, aside }, number) {
  const x = across.place(point.x) + aside(number);
  if (point.rim) return { x, y: rimOf(chart, x, point.rim, area), point };
  const [low, high] = endsOf(point, up, area);
  return { x, y: up.place(point.y), low, high, point };
}

// Where an interval ends, within the frame; what has no logarithm lies below it.
function endsOf({ low, high }, up, area) {
  return [low, high].map((end) => {
    if (Number.isNaN(end)) return NaN;
    const at = up.place(end);
    return Number.isNaN(at) ? area.bottom : Math.min(area.bottom, Math.max(area.top, at));
  });
}

// Marks of what lies beyond the axis stand at its rim, in a row inwards where they meet.
function rimOf(chart, x, rim, area) {
  const end = { up: "top", down: "bottom" }[rim] ?? chart.spec.worse;
  const height = (step) => (end === "top" ? area.top + 12 + 14 * step : area.bottom - 12 - 14 * step);
  const isTaken = (y) => chart.places.some((place) => Math.abs(place.x - x) < 9 && Math.abs(place.y - y) < 9);
  let step = 0;
  while (isTaken(height(step))) step += 1;
  return height(step);
}

// Stretches of neighbours that have values: a line is drawn within them, never across a gap.
function unbroken(places) {
  const spans = [[]];
  for (const place of places) {
    if (place && !place.point.rim) spans.at(-1).push(place);
    else spans.push([]);
  }
  return spans.filter((span) => span.length);
}

const hasInterval = (place) => Boolean(place) && Number.isFinite(place.high - place.low);

function barOf({ x, low, high }) {
  return drawn("path", { class: "bar", d: `M${x} ${low}V${high}M${x - 4} ${high}h8M${x - 4} ${low}h8` });
}

function bandOf(span) {
  const known = span.filter(hasInterval);
  const around = [...known.map(({ x, high }) => [x, high]), ...[...known].reverse().map(({ x, low }) => [x, low])];
  return drawn("path", { class: "band", d: around.length ? `${along(around)}Z` : "" });
}
