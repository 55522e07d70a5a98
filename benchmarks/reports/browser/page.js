// The page, from its content.

const page = document.getElementById("page");
const names = content.schemes.map(({ name }) => name);
const SHORT = 10; // rows of a table that is open from the start

function section(title) {
  return page.appendChild(element("section", {}, element("h2", {}, title)));
}

function paragraph(text, kind = "") {
  return element("p", kind ? { class: kind } : {}, text);
}

function folded(title, inner, open) {
  return element("details", open ? { open: "" } : {}, element("summary", {}, title), inner);
}

function head() {
  page.append(element("h1", {}, content.name), paragraph(content.about, "soft"));
  const answers = content.answers.map(({ scheme, text }) => {
    const words = element("span", {}, element("b", {}, scheme), ` ${text}`);
    return inColourOf(scheme, element("li", {}, words));
  });
  page.append(element("ul", { class: "answers" }, ...answers));
  const [savings, results] = content.tables;
  const none = "No target is passed by all curves, or by the reference's, within the budgets: no saving is known.";
  const isShort = savings.rows.length <= SHORT;
  page.append(
    savings.rows.length ? folded("power needed and saved, by target", plainTable(savings), isShort) : paragraph(none),
    folded("results in a table", plainTable(results), false),
  );
}

function choicesTable() {
  const { key, label } = content.metrics[0];
  const rows = content.points.map((row) => {
    const [mean, half] = row.metrics[key];
    return { ...row, state: row.state || "measured", mean, half };
  });
  addTable(section("What was chosen at each budget"), {
    id: "choices",
    rows,
    filters: [["scheme", "scheme"], ["budget", "budget"], ["state", "status"]],
    columns: [
      { key: "scheme", label: "scheme", text: true },
      { key: "budget", label: "P" },
      { key: "mean", label },
      { key: "half", label: "\u00b1 (95 %)" },
      { key: "spent", label: "spent" },
      { key: "snr", label: "SNR per symbol" },
      { key: "uses", label: "channel uses" },
      { key: "learning_rate", label: "learning rate" },
      { key: "edge", label: "edge of grid", text: true },
      { key: "chosen", label: "arguments", text: true },
      { key: "state", label: "status", text: true },
      { key: "what", label: "why", text: true },
    ],
  });
}

const TEXTS = ["scheme", "arguments", "status", "chosen", "reason", "folder"];

function runsTable() {
  const parent = section("Runs");
  if (!content.runs) {
    parent.append(paragraph("The runs are not there: this folder holds the tables alone, without runs/.", "soft"));
    return;
  }
  const keys = Object.keys(content.runs[0] ?? {});
  addTable(parent, {
    id: "runs",
    rows: content.runs,
    filters: [["scheme", "scheme"], ["energy_budget", "budget"], ["status", "status"], ["chosen", "chosen"]],
    columns: keys.map((key) => ({ key, label: key.replaceAll("_", " "), text: TEXTS.includes(key) })),
  });
}

function tail() {
  section("How it was compared").append(...content.fairness.split("\n").map((text) => paragraph(text)));
  const text = element("pre", { tabindex: 0 }, content.configuration);
  section("Configuration").append(folded("sweep.yaml", text, false));
  const made = Object.entries(content.environment);
  const rows = made.map(([name, value]) => [name, value === "" ? "none" : String(value)]);
  const none = "environment.json is not there: versions, commit and hardware are not known.";
  const table = { caption: "environment.json", head: ["", "value"], rows };
  section("Made with").append(made.length ? plainTable(table) : paragraph(none));
}

page.replaceChildren();
head();
resultChart();
powerChart();
convergenceChart();
choicesTable();
runsTable();
tail();
