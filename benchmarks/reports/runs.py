"""What the runs of a sweep say on the page: one row each, and how the chosen ones converged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from laser_wireless.benchmarks.failures import TRACEBACK_FILE
from laser_wireless.benchmarks.intervals import half_width
from laser_wireless.benchmarks.loading import RunEntry, run_entries, run_row
from laser_wireless.benchmarks.records import Row, read_csv
from laser_wireless.benchmarks.reports.sweep_folder import SweepFolder

_MOST = 100  # points of a curve over rounds; more of them are averaged in blocks
_SPENDINGS = {"energy": "energy_spent", "uses": "num_channel_uses", "seconds": "seconds"}
_SHOWN = ("scheme", "energy_budget", "learning_rate", "arguments", "seed", "status", "chosen", "rounds")
_MEASURED = ("validation_loss", "energy_spent", "max_energy_spent", "outage")


class Runs(NamedTuple):
    """What is known of the runs of a sweep.

    Attributes:
        rows: one for each run.
        curves: one for each scheme, budget and quantity: its means over the rounds.
        seconds: on the air until the end, by scheme and budget.
        remarks: what is not as it should be.
    """

    rows: list[Row]
    curves: list[Row]
    seconds: dict[tuple[str, float], float]
    remarks: list[str]


def runs_of(found: SweepFolder) -> Runs | None:
    """Read runs/ of a sweep; None where that is not there.

    Raises:
        ValueError: a file of a run is damaged; it is named.
    """
    if not (found.path / "runs").is_dir():
        return None
    entries = run_entries(found.path)
    chosen = {(row["scheme"], row["energy_budget"]): (row["learning_rate"], str(row["chosen"])) for row in found.table}
    rows = [_row(found, entry, chosen) for entry in entries]
    curves: list[Row] = []
    seconds: dict[tuple[str, float], float] = {}
    remarks = []
    taken: dict[tuple[str, float], list[RunEntry]] = {}
    for entry, row in zip(entries, rows, strict=True):
        if row["chosen"] == "yes":
            taken.setdefault((row["scheme"], row["energy_budget"]), []).append(entry)
    for key, group in taken.items():
        members = [member for member in (_Member.read(entry) for entry in group) if member.evaluations]
        if not members:
            continue
        mine = _curves(members)
        curves += [{"scheme": key[0], "budget": key[1], **curve} for curve in mine]
        seconds[key] = float(np.mean([member.total("seconds") for member in members]))
        ends = sorted({member.evaluations[-1]["round"] for member in members})
        if len(ends) > 1:
            remarks.append(f"{key[0]} at P = {key[1]:g}: drawn to round {ends[0]}, where a seed ends")
    left = sum(row["status"] == "not done" for row in rows)
    if left:
        remarks.append(f"{left} of {len(rows)} runs are not there: not done, removed, or of another configuration")
    return Runs(rows, curves, seconds, remarks)


def _row(found: SweepFolder, entry: RunEntry, chosen: dict[tuple[str, float], tuple[float, str]]) -> Row:
    row = run_row(entry)
    if row["status"] == "not done" and (entry.folder / TRACEBACK_FILE).exists():
        row["status"] = "failed"
    candidate = (row["learning_rate"], row["arguments"])
    row["chosen"] = "yes" if chosen.get((row["scheme"], row["energy_budget"])) == candidate else ""
    measured = dict.fromkeys([f"test_{found.sweep.metric}", *_MEASURED])
    return {
        **{name: row.get(name, "") for name in _SHOWN},
        **{name: row.get(name, math.nan) for name in measured},
        "reason": f"see {entry.folder.name}/{TRACEBACK_FILE}" if row["status"] == "failed" else row.get("reason", ""),
        "folder": entry.folder.name,
    }


class _Member(NamedTuple):
    """One of the seeds behind a curve."""

    evaluations: list[Row]
    rounds: list[Row]

    @staticmethod
    def read(entry: RunEntry) -> _Member:
        files = (entry.folder / name for name in ("evaluations.csv", "rounds.csv"))
        evaluations, rounds = (read_csv(file) if file.exists() else [] for file in files)
        return _Member(evaluations, rounds)

    def total(self, name: str) -> float:
        """Sum of a column over all rounds; NaN where it is not there."""
        return float(sum(row.get(name, math.nan) for row in self.rounds)) if self.rounds else math.nan


def _curves(members: Sequence[_Member]) -> Iterable[Row]:
    """Validation metrics at each look, and the training loss, over what was spent until then."""
    rounds = sorted(set.intersection(*({row["round"] for row in member.evaluations} for member in members)))
    looks = [{row["round"]: row for row in member.evaluations} for member in members]
    names = [name for name in members[0].evaluations[0] if name != "round"]
    spent = {name: _spent(members, column, rounds) for name, column in _SPENDINGS.items()}
    for name in names:
        values = [[look[round].get(name, math.nan) for look in looks] for round in rounds]
        yield {"quantity": f"validation {name}", "round": rounds, **spent, **_spread(values)}
    length = min(len(member.rounds) for member in members)
    ends = [int(end) for end in np.unique(np.linspace(0, length, min(length, _MOST) + 1).round())]
    blocks = list(itertools.pairwise(ends))
    if blocks:
        mean = _block_mean(members, "training_loss")
        spent = {name: _spent(members, column, ends[1:]) for name, column in _SPENDINGS.items()}
        yield {"quantity": "training loss", "round": ends[1:], **spent, **_spread([mean(*block) for block in blocks])}


def _block_mean(members: Sequence[_Member], column: str) -> Callable[[int, int], list[float]]:
    """A function of the ends of a block of rounds: the mean of a column over it, for each seed."""
    series = [np.array([row.get(column, math.nan) for row in member.rounds], dtype=float) for member in members]
    return lambda start, end: [float(values[start:end].mean()) for values in series]


def _spent(members: Sequence[_Member], column: str, rounds: Sequence[int]) -> list[float]:
    """Mean over seeds of what a device had spent, or of what the air had carried, after so many rounds."""
    columns = [[row.get(column, math.nan) for row in member.rounds] for member in members]
    sums = [np.concatenate([[0.0], np.cumsum(values)]) for values in columns]
    return [float(np.mean([total[round] if round < len(total) else math.nan for total in sums])) for round in rounds]


def _spread(values: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    return {"mean": [float(np.mean(seeds)) for seeds in values], "half": [half_width(list(seeds)) for seeds in values]}
