"""What a callback is told, and when.

Rows are read from the device where a run reads them anyway, at evaluations and checkpoints: a callback gets them there, in
batches. It gets every row of the run's CSV files once, in their order, and the result in the last call, over as many
processes as the run took. Only where a process was killed some time after its last checkpoint are rounds computed again and
told again: `since` says from which on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

from laser_wireless.benchmarks.records import Row


class Recorded(NamedTuple):
    """What a run has recorded since the last call.

    Attributes:
        folder: of the run.
        run: the `TrainingRun`.
        configuration: the plain one, as in config.yaml; None of a run that was put together in Python without one.
        since: rounds whose rows are known from earlier calls. What was told of later ones counts no more.
        rounds: new rows of rounds.csv.
        evaluations: new rows of evaluations.csv.
        result: the content of result.json without its digests, in the last call; None before.
    """

    folder: Path
    run: Any
    configuration: dict[str, Any] | None
    since: int
    rounds: list[Row]
    evaluations: list[Row]
    result: Row | None


class Callback(Protocol):
    """Is told what a run records; a function of one argument will do. Nothing that it does changes a result."""

    def __call__(self, recorded: Recorded, /) -> None:
        """Take new rows. An error ends the run, which is saved: the same command goes on with these rows."""
        ...
