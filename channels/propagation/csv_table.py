"""A table of numbers in text: lines of cells, real or complex, with or without a line of names above them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

_SEPARATORS = ("\t", ";", ",")
_IMAGINARY = re.compile(r"(?<=[\d.])[ij]\)?$")


def read_table(path: Path) -> tuple[list[str], np.ndarray]:
    """Read a table.

    Cells lie between commas, semicolons or tabs, of which the first line tells; numbers have a decimal point. A complex
    number is one cell, as NumPy and MATLAB write them: 0.3-1.2j, (0.3-1.2j) or 0.3-1.2i; in a table of these all cells are
    complex. Empty lines and lines that begin with # are left out. The first line holds names if one of its cells is no
    number.

    Returns:
        names: of the columns; empty without a line of names.
        table: float64 or complex128 [lines, columns].

    Raises:
        ValueError: no numbers, a cell that is no number, or lines of unequal length; the line is named.
    """
    lines = [
        (number, line.strip())
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise ValueError("it holds no numbers")
    separator = next((mark for mark in _SEPARATORS if mark in lines[0][1]), ",")
    rows = [(number, [cell.strip().strip('"') for cell in line.split(separator)]) for number, line in lines]
    names = [] if all(_number(cell) is not None for cell in rows[0][1]) else rows.pop(0)[1]
    width = len(names) if names else len(rows[0][1])
    if not rows:
        raise ValueError(f"it holds names, {names}, and no numbers")
    is_complex = _IMAGINARY.search(rows[0][1][0]) is not None
    values = []
    for number, cells in rows:
        if len(cells) != width:
            raise ValueError(f"line {number} must have {width} cells, as the first has, got {len(cells)}")
        for column, cell in enumerate(cells, 1):
            value = _number(cell)
            if value is None or is_complex != (_IMAGINARY.search(cell) is not None):
                kind = "complex number, like the first cell," if is_complex else "real number, like the first cell,"
                raise ValueError(f"line {number}, column {column} must be a {kind} got {cell!r}")
            values.append(value)
    table = np.array(values, dtype=np.complex128).reshape(-1, width)
    return names, table if is_complex else table.real.copy()


def _number(cell: str) -> complex | None:
    try:
        return complex(cell.replace("i", "j") if _IMAGINARY.search(cell) else cell)
    except ValueError:
        return None
