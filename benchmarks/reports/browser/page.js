// The page, from its content.

const page = document.getElementById("page");
const names = content.schemes.map(({ name }) => name);
const section = (title) => page.appendChild(element("section", {}, element("h2", {}, title)));
const paragraph = (text, kind = "") => element("p", kind ? { class: kind } : {}, text);
const valueLine = (label, mean, half) => `${label}: ${written(mean, 4)}${Number.isFinite(half) ? ` \u00b1 ${written(half, 2)} (95 %)` : ""}`;

const SHORT = 10; // rows of a table that is open from the start
const folded = (title, inner, open) => element("details", open ? { open: "" } : {}, element("summary", {}, title), inner);

function head() {
  page.append(element("h1", {}, content.name), paragraph(content.about, "soft"));
  const answers = content.answers.map(({ scheme, text }) => inColourOf(scheme, element("li", {}, element("span", {}, element("b", {}, scheme), ` ${text}`))));
  page.append(element("ul", { class: "answers" }, ...answers));
  const [savings, results] = content.tables;
  if (!savings.rows.length) page.append(paragraph("No target is passed by all curves, or by the reference's, within the budgets: no saving is known."));
  else page.append(folded("power needed and saved, target by target", plainTable(savings), savings.rows.length <= SHORT));
  page.append(folded("results in a table", plainTable(results), false));
}

const QUANTITIES = [
  { key: "budget", label: "energy budget P per device and round", db: true, aside: true },
  { key: "spent", label: "energy spent per device and round", db: true },
  { key: "snr", label: "SNR per real symbol, P / (S \u03c3\u00b2)", db: true },
  { key: "uses", label: "channel uses until the end" },
  { key: "seconds", label: "time on the air until the end", unit: "s" },
];

function resultChart() {
  const parent = section(`Test ${content.metric} against power`);
  addChart(parent, {
    id: "results", title: "mean over seeds, bars are 95 % intervals; points at one budget are set apart sideways", names: [...names, content.noiseless], xs: QUANTITIES,
    ys: content.metrics, worse: content.higher_is_better ? "bottom" : "top", curves: resultCurves,
    start: content.higher_is_better ? { yKind: "linear" } : {},
    notes: (seen) => rimNotes(seen, { diverged: "\u2715 a seed diverged", failed: "\u25a1 runs failed: a missing budget, nothing is concluded across it" }),
  });
}

const rimNotes = (seen, texts) => Object.entries(texts).filter(([rim]) => seen.some((point) => point.rim === rim)).map(([, text]) => text);

function resultCurves({ x, y }) {
  const label = content.metrics.find(({ key }) => key === y).label;
  return [...names, content.noiseless].map((scheme) => {
    const points = content.points.filter((point) => point.scheme === scheme).map((point) => {
      const [mean, half] = point.metrics[y].map(numeric);
      const rim = Number.isFinite(mean) ? "" : point.state === "missing" ? "failed" : "diverged";
      const state = point.what || (rim && "no finite value");
      return { x: numeric(point[x]), y: mean, low: mean - half, high: mean + half, rim, why: state,
        lines: [`P = ${written(point.budget)} (${written(decibels(point.budget), 3)} dB)`, rim ? state : valueLine(label, mean, half), ...about(point)] };
    });
    const level = scheme === content.noiseless;
    return { scheme, level, points: level ? points.slice(-1) : points.sort((one, other) => one.x - other.x) };
  }).filter(({ points }) => points.length);
}

function about(point) {
  const lines = [["spent", "spent"], ["SNR per symbol", "snr"]].map(([label, key]) => [label, numeric(point[key])]);
  return [
    ...lines.filter(([, value]) => value > 0).map(([label, value]) => `${label}: ${written(value, 4)} (${written(decibels(value), 3)} dB)`),
    ...(Number.isFinite(numeric(point.learning_rate)) ? [`learning rate ${written(numeric(point.learning_rate))}${point.edge ? `, the ${point.edge} of its grid` : ""}${point.chosen ? `, ${point.chosen}` : ""}`] : []),
  ];
}

function powerChart() {
  if (!content.savings.length) return;
  const parent = section("Power for a target");
  addChart(parent, {
    id: "power", title: `against the target; shaded: 95 % intervals${"power_low" in content.savings[0] ? "" : " (of savings; savings.csv has none of the power needed)"}`, names, band: true, worse: "top",
    ys: [{ key: "power_db", label: "power needed, 10 log10 P", unit: "dB" }, { key: "saving_db", label: `power saved against ${content.reference}`, unit: "dB" }],
    xs: [{ key: "target", label: `target test ${content.metric}` }], curves: powerCurves,
    start: { yKind: "linear", xKind: content.higher_is_better ? "linear" : "log" },
    notes: (seen) => rimNotes(seen, { up: "\u25b3 more than the highest budget", down: "\u25bd less than the lowest budget" }),
  });
}

function powerCurves({ y }) {
  const ends = y === "power_db" ? ["power_low", "power_high"] : ["low", "high"];
  return names.map((scheme) => {
    const points = content.savings.filter((row) => row.scheme === scheme).map((row) => {
      const value = numeric(row[y]), [low, high] = ends.map((end) => numeric(row[end]));
      const rim = value === Infinity ? "up" : value === -Infinity ? "down" : "";
      const interval = Number.isFinite(low + high) ? ` [${written(low, 3)}, ${written(high, 3)}]` : "";
      const what = rim === "up" ? "above the highest budget" : rim ? "below the lowest budget" : `${written(value, 3)} dB${interval}`;
      return { x: numeric(row.target), y: value, low, high, rim, why: row.note,
        lines: [`target ${written(numeric(row.target))}`, `${y === "power_db" ? "needs" : "saves"} ${what}`, ...(row.note ? [row.note] : [])] };
    });
    return { scheme, points: points.sort((one, other) => one.x - other.x) };
  });
}

function convergenceChart() {
  const parent = section("Convergence over rounds");
  for (const text of content.remarks) parent.append(paragraph(text, "note"));
  if (!content.convergence.length) {
    parent.append(paragraph(content.runs ? "No chosen run has records here." : "The runs are not there (no folder runs/): the tables alone hold no rounds.", "soft"));
    return;
  }
  const quantities = [...new Set(content.convergence.map(({ quantity }) => quantity))];
  const own = `validation ${content.metric}`;
  const budgets = [...new Set(content.convergence.filter(({ scheme }) => scheme !== content.noiseless).map(({ budget }) => budget))].sort((one, other) => one - other);
  addChart(parent, {
    id: "convergence", title: "chosen candidates, mean over seeds; shaded: 95 % intervals", names: [...names, content.noiseless], band: true, worse: "top",
    more: [{ key: "budget", label: "budget", options: budgets.map((budget) => [String(budget), `P = ${written(budget)} (${written(decibels(budget), 3)} dB)`]) }],
    xs: [{ key: "round", label: "round" }, { key: "energy", label: "energy spent per device so far" }, { key: "uses", label: "channel uses so far" }, { key: "seconds", label: "time on the air so far", unit: "s" }],
    ys: quantities.map((quantity) => ({ key: quantity, label: quantity })), curves: convergenceCurves,
    start: { y: quantities.includes(own) ? own : quantities[0], xKind: "linear", yKind: content.higher_is_better ? "linear" : "log", budget: String(budgets[Math.floor(budgets.length / 2)]) },
  });
}

function convergenceCurves({ x, y, budget }) {
  const mine = content.convergence.filter((curve) => curve.quantity === y && (String(curve.budget) === budget || curve.scheme === content.noiseless));
  return mine.map((curve) => ({ scheme: curve.scheme, points: curve.round.map((round, i) => {
    const [mean, half, at] = [curve.mean, curve.half, curve[x]].map((values) => numeric(values[i]));
    return { x: at, y: mean, low: mean - half, high: mean + half, lines: [`round ${round}`, valueLine(y, mean, half), ...(x === "round" ? [] : [`${x}: ${written(at)}`])] };
  }) }));
}

function tables() {
  const [own] = content.metrics;
  const choices = section("What was chosen at each budget");
  const rows = content.points.map((point) => ({ ...point, state: point.state || "measured", mean: point.metrics[own.key][0], half: point.metrics[own.key][1] }));
  addTable(choices, { id: "choices", rows, filters: [["scheme", "scheme"], ["budget", "budget"], ["state", "status"]], columns: [
    { key: "scheme", label: "scheme", text: true }, { key: "budget", label: "P" }, { key: "mean", label: own.label }, { key: "half", label: "\u00b1 (95 %)" },
    { key: "spent", label: "spent" }, { key: "snr", label: "SNR per symbol" }, { key: "uses", label: "channel uses" }, { key: "learning_rate", label: "learning rate" },
    { key: "edge", label: "edge of grid", text: true }, { key: "chosen", label: "arguments", text: true }, { key: "state", label: "status", text: true }, { key: "what", label: "why", text: true }] });
  const runs = section("Runs");
  if (!content.runs) return runs.append(paragraph("The runs are not there: this folder holds the tables alone, without runs/.", "soft"));
  const texts = ["scheme", "arguments", "status", "chosen", "reason", "folder"];
  const columns = Object.keys(content.runs[0] ?? {}).map((key) => ({ key, label: key.replaceAll("_", " "), text: texts.includes(key) }));
  addTable(runs, { id: "runs", rows: content.runs, columns, filters: [["scheme", "scheme"], ["energy_budget", "budget"], ["status", "status"], ["chosen", "chosen"]] });
}

function tail() {
  section("How it was compared").append(...content.fairness.split("\n").map((text) => paragraph(text)));
  section("Configuration").append(folded("sweep.yaml", element("pre", { tabindex: 0 }, content.configuration), false));
  const made = Object.entries(content.environment).map(([name, value]) => [name, value === "" ? "none" : String(value)]);
  section("Made with").append(made.length ? plainTable({ caption: "environment.json", head: ["", ""], rows: made }) : paragraph("environment.json is not there: versions, commit and hardware are not known."));
}

page.replaceChildren();
head();
resultChart();
powerChart();
convergenceChart();
tables();
tail();
