// The power needed for a target, and the power saved: one point for each row of savings.csv.

// Columns of savings.csv, as far as it has them; ends: those of the interval, verb: what a scheme does with it.
const NEEDS = [
  { key: "power_db", label: "power needed, 10 log10 P", unit: "dB", ends: ["power_low", "power_high"], verb: "needs" },
  { key: "saving_db", label: `power saved against ${content.reference}`, unit: "dB", ends: ["low", "high"], verb: "saves" },
  { key: "spent_db", label: "energy spent at that power", unit: "dB", ends: [], verb: "spends" },
  { key: "spent_saving_db", label: `energy spent less than ${content.reference}`, unit: "dB", ends: [], verb: "saves" },
  { key: "channel_uses", label: "channel uses per round", unit: "", ends: [], verb: "takes" },
];

function powerChart() {
  if (!content.savings.length) return;
  const hasIntervals = "power_low" in content.savings[0];
  const known = hasIntervals ? "" : " (of what is saved; savings.csv has none of the power needed)";
  addChart(section("Power for a target"), {
    id: "power",
    title: `against the target; shaded: 95 % intervals${known}`,
    names,
    band: true,
    worse: "top",
    ys: NEEDS.filter(({ key }) => key in content.savings[0]),
    xs: [{ key: "target", label: `target test ${content.metric}` }],
    start: { yKind: "linear", xKind: content.higher_is_better ? "linear" : "log" },
    curves: powerCurves,
    notes: { up: "\u25b3 more than the highest budget", down: "\u25bd less than the lowest budget" },
  });
}

function powerCurves({ y }) {
  const need = NEEDS.find(({ key }) => key === y);
  return names.map((scheme) => {
    const points = content.savings.filter((row) => row.scheme === scheme).map((row) => powerPoint(row, need));
    return { scheme, points: points.sort((one, other) => one.x - other.x) };
  });
}

function powerPoint(row, { key, unit, ends, verb }) {
  const [x, y] = [numeric(row.target), numeric(row[key])];
  const [low = NaN, high = NaN] = ends.map((end) => numeric(row[end]));
  const rim = { Infinity: "up", "-Infinity": "down" }[y] ?? "";
  const words = { up: "above the highest budget", down: "below the lowest budget" };
  const interval = Number.isNaN(low) || Number.isNaN(high) ? "" : ` [${written(low, 3)}, ${written(high, 3)}]`;
  const value = Number.isNaN(y) ? "not known" : `${written(y, 3)} ${unit}`;
  const lines = [`target ${written(x)}`, `${verb}: ${words[rim] ?? value}${rim ? "" : interval}`];
  return { x, y, low, high, rim, why: row.note, lines: row.note ? [...lines, row.note] : lines };
}
