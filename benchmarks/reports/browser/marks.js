// Markers, named as in the pictures, as paths around (0, 0) that fit into a circle of radius 1.

const star = (corners, inner) => Array.from({ length: 2 * corners }, (_, i) => {
  const angle = (Math.PI * i) / corners - Math.PI / 2, radius = i % 2 ? inner : 1;
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
});
const regular = (corners) => star(corners, Math.cos(Math.PI / corners));
const plus = [[-0.35, -1], [0.35, -1], [0.35, -0.35], [1, -0.35], [1, 0.35], [0.35, 0.35], [0.35, 1], [-0.35, 1],
  [-0.35, 0.35], [-1, 0.35], [-1, -0.35], [-0.35, -0.35]];
const turned = ([x, y]) => [(x + y) * Math.SQRT1_2, (y - x) * Math.SQRT1_2];
const CORNERS = {
  o: regular(12),
  s: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
  D: [[0, -1.1], [1.1, 0], [0, 1.1], [-1.1, 0]],
  "^": [[0, -1], [0.95, 0.85], [-0.95, 0.85]],
  v: [[0, 1], [0.95, -0.85], [-0.95, -0.85]],
  P: plus,
  X: plus.map(turned),
  "*": star(5, 0.42).map(([x, y]) => [1.25 * x, 1.25 * y]),
  h: regular(6),
  "<": [[-1, 0], [0.85, 0.95], [0.85, -0.95]],
  p: regular(5),
  ">": [[1, 0], [-0.85, 0.95], [-0.85, -0.95]],
};
const CROSS = "M-5-5L5 5M-5 5L5-5"; // a diverged point, on the rim

function markOf(name, x, y, kind = "") {
  const marker = CORNERS[kind === "failed" ? "s" : kind === "up" ? "^" : kind === "down" ? "v" : schemes.get(name).marker];
  const corners = marker.map(([a, b]) => `${(a * 4.6).toFixed(2)} ${(b * 4.6).toFixed(2)}`);
  const path = kind === "diverged" ? CROSS : `M${corners.join("L")}Z`;
  const made = drawn("path", { d: path, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, "data-scheme": name });
  made.classList.add("mark", ...(kind ? ["hollow"] : []));
  return inColourOf(name, made);
}
