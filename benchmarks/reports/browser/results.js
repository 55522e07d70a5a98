// The metric against energy, SNR, channel uses or time: one point for each row of table.csv.

const QUANTITIES = [
  { key: "budget", label: "energy budget P per device and round", db: true, aside: true },
  { key: "spent", label: "energy spent per device and round", db: true },
  { key: "snr", label: "SNR per real symbol, P / (S \u03c3\u00b2)", db: true },
  { key: "uses", label: "channel uses until the end" },
  { key: "seconds", label: "time on the air until the end", unit: "s" },
];

function resultChart() {
  addChart(section(`Test ${content.metric} against power`), {
    id: "results",
    title: "mean over seeds, bars are 95 % intervals; points at one budget are set apart sideways",
    names: [...names, content.noiseless],
    xs: QUANTITIES,
    ys: content.metrics,
    start: { yKind: content.higher_is_better ? "linear" : "log" },
    worse: content.higher_is_better ? "bottom" : "top",
    curves: resultCurves,
    notes: {
      diverged: "\u2715 a seed diverged at the best candidate",
      failed: "\u25a1 runs failed: a missing budget, nothing is concluded across it",
    },
  });
}

function resultCurves({ x, y }) {
  const { label } = content.metrics.find(({ key }) => key === y);
  return [...names, content.noiseless].map((scheme) => {
    const rows = content.points.filter((row) => row.scheme === scheme);
    const points = rows.map((row) => resultPoint(row, numeric(row[x]), label, ...row.metrics[y].map(numeric)));
    const level = scheme === content.noiseless;
    return { scheme, level, points: level ? points.slice(-1) : points.sort((one, other) => one.x - other.x) };
  }).filter(({ points }) => points.length);
}

function resultPoint(row, x, label, mean, half) {
  const rim = Number.isFinite(mean) ? "" : row.state === "missing" ? "failed" : "diverged";
  const why = row.what || (rim && "no finite value");
  const lines = [
    `P = ${written(row.budget)} (${inDecibels(row.budget)})`,
    rim ? why : valueLine(label, mean, half),
    ...[["spent", row.spent], ["SNR per symbol", row.snr]].filter(([, value]) => numeric(value) > 0)
      .map(([name, value]) => `${name}: ${written(value, 4)} (${inDecibels(value)})`),
    `learning rate ${written(numeric(row.learning_rate))}${row.edge && `, the ${row.edge} of its grid`}`,
    ...(row.chosen ? [row.chosen] : []),
  ];
  return { x, y: mean, low: mean - half, high: mean + half, rim, why, lines };
}
