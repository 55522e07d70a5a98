"""The callbacks of one run, and how far each has been told of it."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from laser_wireless.benchmarks.callbacks.contract import Callback, Recorded
from laser_wireless.benchmarks.records import Row
from laser_wireless.channels.contracts import shown


def check_callbacks(callbacks: Sequence[Any]) -> None:
    """Refuse what cannot be called with one argument.

    Raises:
        TypeError: names the callback by its place, from 0.
    """
    for place, callback in enumerate(callbacks):
        found = _misfit(callback)
        if found:
            raise TypeError(f"callbacks[{place}] must be a function of one argument, what the run has recorded, got {found}")


def _misfit(callback: Any) -> str:
    """What something is that is no callback, in words; empty for one that is."""
    if not callable(callback):
        return shown(callback)
    if inspect.isclass(callback):
        return f"the class {_name(callback)}; make an object of it, {callback.__name__}(...)"
    try:
        signature = inspect.signature(callback)
    except ValueError:  # of C, which does not say
        return ""
    try:
        signature.bind(None)
    except TypeError:
        return f"{_name(callback)}{signature}"
    return ""


class Audience:
    """Tells callbacks what a run records.

    Args:
        callbacks: in the order in which they are told.
        folder: of the run.
        run: the `TrainingRun`.
        configuration: its plain configuration.

    Attributes:
        told: name of a callback -> rounds of which it has been told; kept in checkpoints.
        failed: whether a callback raised an error.

    Raises:
        TypeError: one of them is none.
    """

    def __init__(
        self, callbacks: Sequence[Callback], folder: Path, run: Any, configuration: Mapping[str, Any] | None
    ) -> None:
        check_callbacks(callbacks)
        self._callbacks, self._folder, self._run = dict(zip(_names(callbacks), callbacks, strict=True)), folder, run
        self._configuration = None if configuration is None else deepcopy(dict(configuration))
        self.told: dict[str, int] = {}
        self.failed = False

    def go_on_from(self, told: Mapping[str, int], round: int) -> None:
        """Take up how far each was told when a checkpoint of a round was written.

        Raises:
            ValueError: of more rounds than there were.
        """
        if any(not 0 <= rounds <= round for rounds in told.values()):
            raise ValueError(f"its callbacks were told of more than its {round} rounds: {dict(told)}")
        self.told = dict(told)

    def tell(self, rows: Sequence[Row], evaluations: Sequence[Row], result: Row | None = None) -> None:
        """Tell each callback what it has not been told, in copies.

        Args:
            rows: of all rounds read so far.
            evaluations: all of them; that of the round that `rows` end with has been taken if it is due.
            result: of a run that is over.
        """
        for name, callback in self._callbacks.items():
            since = self.told.get(name, 0)
            news = [dict(row) for row in rows[since:]]
            looks = [dict(row) for row in evaluations if row["round"] > since]
            if news or looks or result is not None:
                given = Recorded(self._folder, self._run, self._configuration, since, news, looks, deepcopy(result))
                self._call(callback, given)
            self.told[name] = len(rows)

    def _call(self, callback: Callback, given: Recorded) -> None:
        try:
            callback(given)
        except KeyboardInterrupt:
            raise
        except BaseException:
            self.failed = True
            raise


def _names(callbacks: Sequence[Callback]) -> list[str]:
    """By what callbacks are known from process to process: where they come from; a second one of a name is NAME 2."""
    names, seen = [], Counter[str]()
    for callback in callbacks:
        name = _name(callback)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return names


def _name(callback: Callable[..., Any]) -> str:
    function = getattr(callback, "func", callback)  # of a partial
    named = function if inspect.isroutine(function) or inspect.isclass(function) else type(function)
    return f"{named.__module__}.{named.__qualname__}"
