// The power needed for a target, and the power saved: one point for each row of savings.csv.

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
    ys: [
      { key: "power_db", label: "power needed, 10 log10 P", unit: "dB" },
      { key: "saving_db", label: `power saved against ${content.reference}`, unit: "dB" },
    ],
    xs: [{ key: "target", label: `target test ${content.metric}` }],
    start: { yKind: "linear", xKind: content.higher_is_better ? "linear" : "log" },
    curves: powerCurves,
    notes: { up: "\u25b3 more than the highest budget", down: "\u25bd less than the lowest budget" },
  });
}

function powerCurves({ y }) {
  return names.map((scheme) => {
    const points = content.savings.filter((row) => row.scheme === scheme).map((row) => powerPoint(row, y));
    return { scheme, points: points.sort((one, other) => one.x - other.x) };
  });
}

function powerPoint(row, column) {
  const ends = column === "power_db" ? ["power_low", "power_high"] : ["low", "high"];
  const [x, y, low, high] = ["target", column, ...ends].map((name) => numeric(row[name]));
  const rim = { Infinity: "up", "-Infinity": "down" }[y] ?? "";
  const words = { up: "above the highest budget", down: "below the lowest budget" };
  const interval = Number.isFinite(high - low) ? ` [${written(low, 3)}, ${written(high, 3)}]` : "";
  const what = words[rim] ?? (Number.isNaN(y) ? "not known" : `${written(y, 3)} dB${interval}`);
  const lines = [`target ${written(x)}`, `${column === "power_db" ? "needs" : "saves"}: ${what}`];
  return { x, y, low, high, rim, why: row.note, lines: row.note ? [...lines, row.note] : lines };
}
