"""How far a command is: a bar on a terminal; in a log or a pipe a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

from laser_wireless.benchmarks.lines_below import screen_of

T = TypeVar("T")

_FIRST_S, _EVERY_S = 2.0, 30.0  # seconds to the first line, and between lines


class Progress:
    """Show how many are done, the time passed and the time left, on stderr.

    Args:
        total: of all.
        unit: what is counted, in the singular.
        done: of them before the command began, which took no time; one less than the first number shown if None.
        file: where to write; stderr if None.
        clock: seconds, for lines.

    Attributes:
        on_terminal: whether there is a bar.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        *,
        done: int | None = None,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = sys.stderr if file is None else file
        self._total, self._unit, self._clock = total, unit, clock
        self._before, self._done, self._remark = done, done or 0, ""
        self._start = clock()
        self._due = self._start + _FIRST_S
        self.on_terminal = self._file.isatty()
        columns, rows = screen_of(self._file)  # tqdm takes a terminal without a size for one of -1
        more: dict[str, Any] = {"initial": done or 0, "file": self._file, "smoothing": 0.05}
        self._bar = tqdm(total=total, unit=unit, ncols=columns, nrows=rows, **more) if self.on_terminal else None

    def more(self, total: int, done: int) -> None:
        """So many more are to be done; `done` of them are done already, which took no time."""
        self._total, self._done, self._before = self._total + total, self._done + done, (self._before or 0) + done
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.initial += done
            self._bar.n += done
            self._bar.last_print_n += done
            self._bar.refresh()

    def to(self, done: int, remark: str = "", *, at_once: bool = False) -> None:
        """So many are done; the remark stands beside the number. A bar is drawn when it is time, unless at once."""
        if self._before is None:
            self._before = done - 1
            if self._bar is not None:
                self._bar.initial = self._bar.n = self._bar.last_print_n = done - 1
        self._done, self._remark = done, remark
        if self._bar is not None:
            self._bar.ncols = screen_of(self._file).columns
            self._bar.set_postfix_str(remark, refresh=False)
            self._bar.update(done - self._bar.n)
            if at_once:
                self._bar.refresh()
        self.tick()

    def tick(self) -> None:
        """Time has passed: write a line if one is due."""
        if self._bar is None and self._clock() >= self._due:
            self._line()
            self._due = self._clock() + _EVERY_S

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None and self._before is not None:  # else nothing was done, or something else is to be said
            self._line()

    def _line(self) -> None:
        passed, done = self._clock() - self._start, self._done - (self._before or 0)
        parts = [f"{self._done} of {self._total} {self._unit}s", f"{tqdm.format_interval(passed)} passed"]
        if self._done < self._total:
            left = tqdm.format_interval(passed / done * (self._total - self._done)) if done else "unknown time"
            parts.append(f"{left} left")
        print(", ".join([*parts, *([self._remark] if self._remark else [])]), file=self._file, flush=True)


def shown(items: Sequence[T], unit: str, *, done: int = 0) -> Iterator[T]:
    """Go through items and show how far; `done` others came before them."""
    with Progress(done + len(items), unit, done=done) as progress:
        for number, item in enumerate(items, start=done + 1):
            yield item
            progress.to(number)
