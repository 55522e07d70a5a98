"""A Markdown table that is printed, and written where asked, row by row as they are known: a run cut off loses none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


class GrowingTable:
    """Begins with what a reader must know to repeat the run.

    Args:
        known: name -> value, a line each.
        header: names of the columns.
        output: file that holds all rows so far; None to print only.
    """

    def __init__(self, known: Mapping[str, str], header: Iterable[str], output: Path | None) -> None:
        names = list(header)
        self._lines: list[str] = []
        self._output = output
        self._print([*(f"- {name}: {value}" for name, value in known.items()), "", _row(names), "|" + "---|" * len(names)])

    def add(self, rows: Iterable[Iterable[str]]) -> None:
        """Add rows, each of as many cells as there are columns."""
        self._print([_row(cells) for cells in rows])
        if self._output:
            self._output.parent.mkdir(parents=True, exist_ok=True)
            self._output.write_text("\n".join([*self._lines, ""]))

    def _print(self, lines: list[str]) -> None:
        print(*lines, sep="\n", flush=True)
        self._lines += lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
