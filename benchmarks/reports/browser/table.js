// Tables: plain ones, and ones to filter and sort.

const MOST_ROWS = 40; // at once, unless all are asked for

function plainTable({ caption, head, rows }) {
  const table = element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))));
  return element("div", {}, element("p", { class: "note" }, caption), element("div", { class: "wide", tabindex: 0 }, table));
}

// columns: {key, label, text}, those without text being of numbers; filters: [key, label] of what is chosen from a list.
function addTable(parent, { id, columns, rows, filters }) {
  const state = { by: null, sign: 1, all: false };
  const body = element("tbody"), count = element("p", { class: "note", role: "status" });
  const more = element("button", { type: "button" }, "show all rows");
  const words = element("input", { type: "search", size: 18 });
  const selects = filters.map(([key, label]) => {
    const values = distinct(rows.map((row) => String(row[key])));
    return { key, label, select: choice([["", "all"], ...values.map((value) => [`=${value}`, value || "no"])], update) };
  });
  const headers = columns.map((column) => headerOf(column, state, update));
  words.addEventListener("input", update);
  more.addEventListener("click", () => { state.all = true; update(); });
  const choices = [...selects.map(({ label, select }) => labelled(label, select)), labelled("text", words)];
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...headers)), body);
  const scrolled = element("div", { class: "wide", tabindex: 0 }, table);
  parent.append(element("div", { id }, element("div", { class: "choices" }, ...choices), count, scrolled, more));
  update();

  function update() {
    const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => selects.every(({ key, select }) => ["", `=${row[key]}`].includes(select.value))
      && asked.every((word) => columns.some((column) => cellText(row, column).toLowerCase().includes(word))));
    if (state.by) found.sort((one, other) => state.sign * compared(one, other, state.by));
    const shown = state.all ? found : found.slice(0, MOST_ROWS);
    body.replaceChildren(...shown.map((row) => element("tr", {}, ...columns.map((column) =>
      element("td", column.text ? {} : { class: "number" }, cellText(row, column))))));
    const first = shown.length < found.length ? `, the first ${shown.length} shown` : "";
    count.textContent = `${found.length} of ${rows.length} rows${first}`;
    more.hidden = shown.length === found.length;
    const order = state.sign > 0 ? "ascending" : "descending";
    headers.forEach((header, i) => header.setAttribute("aria-sort", state.by === columns[i] ? order : "none"));
  }
}

function headerOf(column, state, update) {
  const button = element("button", { type: "button" }, column.label);
  button.addEventListener("click", () => {
    state.sign = state.by === column ? -state.sign : 1;
    state.by = column;
    update();
  });
  return element("th", { scope: "col" }, button);
}

function cellText(row, { key, text }) {
  const value = row[key];
  return text || value === "" ? String(value) : written(numeric(value));
}

// By words or by numbers; what is no number comes after all numbers.
function compared(first, second, { key, text }) {
  if (text) return String(first[key]).localeCompare(String(second[key]), undefined, { numeric: true });
  const [one, other] = [numeric(first[key]), numeric(second[key])];
  if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other);
  return one === other ? 0 : one - other;
}
