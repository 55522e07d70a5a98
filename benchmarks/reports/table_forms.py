"""A table as text: Markdown, LaTeX with booktabs, CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable

from laser_wireless.benchmarks.printed_numbers import INFINITY, MINUS, PLUS_MINUS
from laser_wireless.benchmarks.reports.tables import Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    PLUS_MINUS: r"$\pm$",
    MINUS: "$-$",
    INFINITY: r"$\infty$",
    "[": "{[}",  # at the head of a row, a bracket would be read as an option of the line before
    "]": "{]}",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}


def markdown(table: Table) -> str:
    """A caption and a table with pipes; signs that Markdown or HTML would read are escaped."""
    lines = [table.head, ["---"] * len(table.head), *table.rows]
    cells = [[cell if cell == "---" else _escaped(cell) for cell in line] for line in lines]
    return "\n".join([_escaped(table.caption), "", *(f"| {' | '.join(line)} |" for line in cells)]) + "\n"


def latex(table: Table) -> str:
    """A floating table; the document needs the package booktabs."""
    rows = [" & ".join(map(_latex, row)) + r" \\" for row in table.rows]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{_latex(table.caption)}}}",
            f"  \\label{{tab:{table.label}}}",
            f"  \\begin{{tabular}}{{{'l' * _num_names(table)}{'c' * (len(table.head) - _num_names(table))}}}",
            r"    \toprule",
            f"    {' & '.join(map(_latex, table.head))} \\\\",
            r"    \midrule",
            *(f"    {row}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def comma_separated(table: Table) -> str:
    """The cells, without the caption; minus signs are those of the keyboard."""
    file = io.StringIO()
    rows = [[cell.replace(MINUS, "-") for cell in row] for row in (table.head, *table.rows)]
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


FORMS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex, "csv": comma_separated}


def _num_names(table: Table) -> int:
    """Columns at the left that hold names, up to and with the schemes."""
    return table.head.index("scheme") + 1


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}<>\[\]|#~])", r"\\\1", text).replace("&", "&amp;")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
