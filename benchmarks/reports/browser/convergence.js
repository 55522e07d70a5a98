// How the chosen candidates converged, over rounds and over what was spent until then.

function convergenceChart() {
  const parent = section("Convergence over rounds");
  for (const text of content.remarks) parent.append(paragraph(text, "note"));
  if (!content.convergence.length) {
    const why = content.runs ? "No chosen run has records here." : "The runs are not there: the tables hold no rounds.";
    parent.append(paragraph(why, "soft"));
    return;
  }
  const quantities = distinct(content.convergence.map(({ quantity }) => quantity));
  const noisy = content.convergence.filter(({ scheme }) => scheme !== content.noiseless);
  const budgets = distinct((noisy.length ? noisy : content.convergence).map(({ budget }) => budget));
  budgets.sort((one, other) => one - other);
  const own = `validation ${content.metric}`;
  addChart(parent, {
    id: "convergence",
    title: "chosen candidates, mean over seeds; shaded: 95 % intervals",
    names: [...names, content.noiseless],
    band: true,
    worse: "top",
    more: [{ key: "budget", label: "budget", options: budgets.map((budget) =>
      [String(budget), `P = ${written(budget)} (${inDecibels(budget)})`]) }],
    xs: [
      { key: "round", label: "round" },
      { key: "energy", label: "energy spent per device so far" },
      { key: "uses", label: "channel uses so far" },
      { key: "seconds", label: "time on the air so far", unit: "s" },
    ],
    ys: quantities.map((quantity) => ({ key: quantity, label: quantity })),
    start: {
      y: quantities.includes(own) ? own : quantities[0],
      xKind: "linear",
      yKind: content.higher_is_better ? "linear" : "log",
      budget: String(budgets[Math.floor(budgets.length / 2)]),
    },
    curves: convergenceCurves,
  });
}

function convergenceCurves({ x, y, budget }) {
  const mine = content.convergence.filter((curve) =>
    curve.quantity === y && (String(curve.budget) === budget || curve.scheme === content.noiseless));
  return mine.map((curve) => ({
    scheme: curve.scheme,
    points: curve.round.map((round, i) => {
      const [mean, half, at] = [curve.mean, curve.half, curve[x]].map((values) => numeric(values[i]));
      const lines = [`round ${round}`, valueLine(y, mean, half), ...(x === "round" ? [] : [`${x}: ${written(at)}`])];
      return { x: at, y: mean, low: mean - half, high: mean + half, lines };
    }),
  }));
}
