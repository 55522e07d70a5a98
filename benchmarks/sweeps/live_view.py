"""What a sweep or a search has come to while it goes on.

On a terminal: how many runs are done, running and failed, the time left, and of each scheme the curve so far. Elsewhere a
plain line now and then. Files are looked at once a second at most, and each result is read once.
"""

from __future__ import annotations

import math
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Literal, TextIO

from laser_wireless.benchmarks.lines_below import LinesBelow, screen_of
from laser_wireless.benchmarks.progress import Progress
from laser_wireless.benchmarks.records import Row, read_json
from laser_wireless.benchmarks.sweeps.choices import judged
from laser_wireless.benchmarks.sweeps.claims import seems_computed

_LOOK_S = 1.0  # between looks at the files of runs that are on their way
_CELL, _NAME = 8, 14  # columns of a number, and of a scheme's name at most


class LiveView:
    """Shows how far a sweep is; `begin` says which runs come next, `took` what came of one.

    A result of changed code stays on disk until the new one is whole, and counts as done meanwhile.

    Args:
        result: "last" or "best": by which round a run is judged.
        file: where to write; stderr if None.
        clock: seconds.
    """

    def __init__(
        self,
        *,
        result: Literal["last", "best"] = "last",
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file, self._clock = sys.stderr if file is None else file, clock
        self._curves = Curves(result)
        self._lines = LinesBelow(self._file) if self._file.isatty() else None
        self._progress: Progress | None = None
        self._headline = ""
        self._known: Sequence[Row] = []
        self._folders: Sequence[Path] = []
        self._open: set[int] = set()
        self._on_disk: set[int] = set()
        self._taken = self._failed = 0
        self._due = clock()

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._lines is not None:
            self._lines.close()
        if self._progress is not None:
            self._progress.__exit__(kind, error, trace)

    def head(self, line: str, text: str) -> None:
        """Say what is being done: in a log as a line, on a terminal as a text beside the numbers."""
        self._headline = text
        if self._lines is None:
            print(line, file=self._file, flush=True)

    def begin(self, known: Sequence[Row], folders: Sequence[Path]) -> list[bool]:
        """These runs come next, after all that came before; which of them are done already, as their files say.

        Args:
            known: of each run, its scheme, energy_budget, learning_rate, arguments and seed.
            folders: of each run.
        """
        self._known, self._folders, self._on_disk = known, folders, set()
        self._open = set(range(len(folders)))
        self._find()
        if self._progress is None:
            done = len(self._on_disk)
            self._progress = Progress(len(folders), "run", done=done, file=self._file, clock=self._clock)
        else:
            self._progress.more(len(folders), len(self._on_disk))
        self.now()
        return [number in self._on_disk for number in range(len(folders))]

    def took(self, number: int, row: Row) -> None:
        """A run has come to its end, or failed."""
        self._open.discard(number)
        self._on_disk.discard(number)
        self._taken += 1
        self._failed += row["status"] == "failed"
        self._curves.note(self._known[number], row)

    def now_and_then(self) -> None:
        """Look and show, if it was long ago."""
        if self._clock() >= self._due:
            self.now()

    def now(self) -> None:
        """Look and show."""
        self._find()
        failed = f"{self._failed} failed" if self._failed else ""
        if self._progress is not None:
            self._progress.to(self._taken + len(self._on_disk), "" if self._lines else failed, at_once=True)
        if self._lines is not None:
            self._lines.show(self._text())
        self._due = self._clock() + _LOOK_S

    def _find(self) -> None:
        """See which runs have a result on disk by now, and read it if it is shown."""
        for number in self._open - self._on_disk:
            path = self._folders[number] / "result.json"
            if path.exists():
                self._on_disk.add(number)
                if self._lines is not None:
                    with suppress(ValueError, OSError, LookupError, TypeError):  # damaged: who computes the run says so
                        self._curves.note(self._known[number], read_json(path))

    def _text(self) -> list[str]:
        width = screen_of(self._file).columns
        running = sum(seems_computed(self._folders[number]) for number in self._open - self._on_disk)
        counts = f"{self._taken + len(self._on_disk) - self._failed} finished, {running} running, {self._failed} failed"
        texts = [counts, self._headline] if self._headline else [counts]
        return [*(part for text in texts for part in textwrap.wrap(text, max(width, 10))), *self._curves.lines(width)]


class Curves:
    """Of each scheme and budget the least mean validation loss so far.

    Args:
        result: see `LiveView`.
    """

    def __init__(self, result: Literal["last", "best"]) -> None:
        self._result = result
        self._losses: dict[str, dict[float, dict[tuple[float, str], dict[int, float]]]] = {}

    def note(self, known: Row, row: Row) -> None:
        """Take up the result of a run; one that failed has none."""
        by_candidate = self._losses.setdefault(known["scheme"], {}).setdefault(known["energy_budget"], {})
        if row["status"] != "failed":
            candidate = known["learning_rate"], known["arguments"]
            by_candidate.setdefault(candidate, {})[known["seed"]] = judged(row, self._result)["validation"]["loss"]

    def best(self, scheme: str, energy_budget: float) -> float:
        """Of the candidates with the most seeds the least mean; NaN where nothing is known."""
        by_candidate = self._losses.get(scheme, {}).get(energy_budget, {})
        most = max(map(len, by_candidate.values()), default=0)
        means = [fmean(losses.values()) for losses in by_candidate.values() if len(losses) == most]
        return min(means, default=math.nan)

    def lines(self, width: int) -> list[str]:
        """A table within so many columns: schemes by budgets, evenly chosen ones where not all of them fit."""
        budgets = sorted({budget for by_budget in self._losses.values() for budget in by_budget})
        if not budgets:
            return []
        name = min(_NAME, max(8, width - 2 * _CELL))
        shown = _evenly(budgets, max(1, (width - name) // _CELL))
        some = "" if len(shown) == len(budgets) else f" ({len(shown)} of {len(budgets)})"
        rows = [f"validation loss by budget P{some}"]
        rows.append(" " * name + "".join(f"{budget:{_CELL}.4g}" for budget in shown))
        for scheme in self._losses:
            short = scheme if len(scheme) < name else f"{scheme[: name - 2]}."
            cells = (self.best(scheme, budget) for budget in shown)
            rows.append(f"{short:{name}}" + "".join(f"{'-':>{_CELL}}" if x != x else f"{x:{_CELL}.4g}" for x in cells))
        return rows


def _evenly(values: Sequence[float], count: int) -> list[float]:
    """At most so many of the values, the last one and as far as possible the first one among them."""
    if len(values) <= count:
        return list(values)
    last = len(values) - 1
    return [values[last - round(i * last / max(1, count - 1))] for i in reversed(range(count))]
