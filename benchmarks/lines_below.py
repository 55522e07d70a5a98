"""Lines of text below a progress bar, on a terminal of any width."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, TextIO

from tqdm import tqdm
from tqdm.utils import disp_trim

_USUAL = os.terminal_size((80, 24))


def screen_of(file: TextIO) -> os.terminal_size:
    """Columns to write in, which is all but the last one, and rows of a terminal.

    As COLUMNS and LINES say, else as the terminal does, else 80 x 24.
    """
    try:
        found = os.get_terminal_size(file.fileno())
    except (OSError, ValueError):  # no terminal of the system's
        found = _USUAL
    asked = [os.environ.get(name, "") for name in ("COLUMNS", "LINES")]
    sizes = zip(asked, found, _USUAL, strict=True)
    columns, rows = (int(word) if word.isdecimal() and int(word) else own or usual for word, own, usual in sizes)
    return os.terminal_size((max(1, columns - 1), max(2, rows)))


class LinesBelow:
    """Text below a bar of `tqdm` in the same file; what `tqdm.write` says goes above both."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: list[tqdm[Any]] = []

    def show(self, texts: Sequence[str]) -> None:
        """Show these in place of those before, cut at the edge of the screen; the last ones are left out if it is low."""
        columns, rows = screen_of(self._file)
        texts = texts[: max(0, rows - 3)]
        while len(self._lines) < len(texts):
            place = len(self._lines) + 1
            more: dict[str, Any] = {"position": place, "leave": False, "file": self._file}
            self._lines.append(tqdm(bar_format="{desc}", ncols=columns, nrows=rows, **more))
        for line, text in zip_longest(self._lines, texts, fillvalue=""):
            if isinstance(line, tqdm):
                line.ncols, line.nrows = columns, rows
                line.set_description_str(disp_trim(str(text), columns))

    def close(self) -> None:
        """Remove them from the screen."""
        for line in reversed(self._lines):
            line.close()
        self._lines.clear()
