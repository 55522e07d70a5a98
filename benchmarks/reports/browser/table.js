// Tables: plain ones, and ones to filter and sort.

const MOST_ROWS = 40; // at once, unless all are asked for

function plainTable({ caption, head, rows }) {
  const table = element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))));
  return element("div", {}, element("p", { class: "note" }, caption), element("div", { class: "wide", tabindex: 0 }, table));
}

// columns: {key, label, text}, the values of a column of numbers being numbers; filters: keys that are chosen from a list.
function addTable(parent, { id, columns, rows, filters }) {
  const state = { by: null, sign: 1, all: false };
  const body = element("tbody"), count = element("p", { class: "note", role: "status" });
  const more = element("button", { type: "button" }, "show all rows");
  const words = element("input", { type: "search", size: 18 });
  const valuesOf = (key) => [...new Set(rows.map((row) => String(row[key])))];
  const selects = filters.map(([key, label]) => [key, label, choice([["", "all"], ...valuesOf(key).map((value) => [`=${value}`, value])], update)]);
  const headers = columns.map((column) => headerOf(column, state, update));
  words.addEventListener("input", update);
  more.addEventListener("click", () => { state.all = true; update(); });
  parent.append(element("div", { id },
    element("div", { class: "choices" }, ...selects.map(([, label, select]) => labelled(label, select)), labelled("text", words)),
    count,
    element("div", { class: "wide", tabindex: 0 }, element("table", {}, element("thead", {}, element("tr", {}, ...headers)), body)),
    more));
  update();

  function update() {
    const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => selects.every(([key, , select]) => !select.value || select.value === `=${row[key]}`)
      && asked.every((word) => columns.some((column) => cellText(row[column.key], column).toLowerCase().includes(word)));
    const found = rows.filter(fits);
    if (state.by) found.sort((one, other) => state.sign * compared(one[state.by.key], other[state.by.key], state.by.text));
    const shown = state.all ? found : found.slice(0, MOST_ROWS);
    body.replaceChildren(...shown.map((row) => element("tr", {}, ...columns.map((column) =>
      element("td", column.text ? {} : { class: "number" }, cellText(row[column.key], column))))));
    count.textContent = `${found.length} of ${rows.length} rows${shown.length < found.length ? `, the first ${shown.length} shown` : ""}`;
    more.hidden = shown.length === found.length;
    headers.forEach((header, i) => header.setAttribute("aria-sort", state.by !== columns[i] ? "none" : state.sign > 0 ? "ascending" : "descending"));
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

const cellText = (value, column) => (column.text ? String(value) : value === "" ? "" : written(numeric(value)));

// By words or by numbers; what is no number comes last.
function compared(one, other, text) {
  if (text) return String(one).localeCompare(String(other), undefined, { numeric: true });
  const [a, b] = [numeric(one), numeric(other)];
  return Number.isNaN(a) || Number.isNaN(b) ? Number.isNaN(a) - Number.isNaN(b) : a === b ? 0 : a - b;
}
