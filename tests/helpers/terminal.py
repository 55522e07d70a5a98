"""A terminal that is no terminal: what a person would see on it."""

import io
import re

_MOVES = re.compile(r"\x1b\[A|\r|\n|[^\x1b\r\n]+")


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def lines(self):
        """The screen as it stands, without empty lines; of any height."""
        rows, row, column = [""], 0, 0
        for part in _MOVES.findall(self.getvalue()):
            if part == "\x1b[A":
                row -= 1
            elif part == "\r":
                column = 0
            elif part == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            else:
                rows[row] = rows[row].ljust(column)[:column] + part + rows[row][column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in rows if line.strip()]
