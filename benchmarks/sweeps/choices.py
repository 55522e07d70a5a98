"""What each scheme chose at each budget, and what came of it.

The candidate (learning rate and tuned arguments) of a scheme at a budget is the one with the least mean validation loss
among those that were given the most seeds; the test part only measures.

A budget at which a run failed is missing: the candidates were not all tried, so that no choice among those left would be a
fair one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from laser_wireless.benchmarks.assembly import build
from laser_wireless.benchmarks.calculations.communication import count
from laser_wireless.benchmarks.calculations.model_shapes import shapes_of
from laser_wireless.benchmarks.intervals import half_width, standard_error
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.speed.shapes import Shapes
from laser_wireless.benchmarks.sweeps.candidates import NOISELESS
from laser_wireless.benchmarks.sweeps.sweep import AT_BEST, METRICS, Sweep, compressor_of, scheme_of

_EXPLODED = 1e3  # of the least validation loss of a scheme at a budget: beyond it a finite loss is that of a diverged run


class Trial(NamedTuple):
    """A candidate at a budget, by seed: validation loss, by which it is chosen, and test metric, lower being better."""

    validation: dict[int, float]
    costs: dict[int, float]


@dataclass(frozen=True)
class Point:
    """A scheme at one budget, with the candidate chosen on validation.

    values: test metric by seed; where a run diverged, infinite on the bad side.
    trials: all candidates among which it was chosen.
    failed: how many runs failed, of the num_runs of all candidates and seeds; the budget is then missing, without values.
    """

    scheme: str
    energy_budget: float
    learning_rate: float
    arguments: str
    rate_at_edge: str
    num_candidates: int
    values: dict[int, float]
    runs: list[Row]
    trials: Sequence[Trial] = ()
    higher_is_better: bool = False
    failed: int = 0
    num_runs: int = 0

    @property
    def missing(self) -> bool:
        """Whether nothing is known at this budget, because runs failed."""
        return self.failed > 0

    @property
    def power_db(self) -> float:
        """The budget in dB, 10 log10 P."""
        return 10 * math.log10(self.energy_budget)

    @property
    def mean(self) -> float:
        """Mean of the test metric over seeds; NaN where the budget is missing."""
        return _mean(self.values.values())

    @property
    def cost(self) -> float:
        """The mean, with the sign that makes lower better."""
        return -self.mean if self.higher_is_better else self.mean

    @property
    def seeds(self) -> Iterable[int]:
        """Of the runs of the chosen candidate."""
        return self.values.keys()

    @property
    def num_seeds(self) -> int:
        """How many they are."""
        return len(self.values)

    @property
    def spent_db(self) -> float:
        """Energy actually spent per device and round, in dB."""
        spent = _mean(run["mean_per_round"]["energy_spent"] for run in self.runs)
        return 10 * math.log10(spent) if spent > 0 else -math.inf

    @property
    def channel_uses(self) -> float:
        """Complex channel uses per round."""
        return _mean(run["mean_per_round"]["num_channel_uses"] for run in self.runs)


def choose(sweep: Sweep, rows: Sequence[Row]) -> dict[str, list[Point]]:
    """Curves by scheme: at each budget the candidate with the least mean validation loss (inf if a seed diverged).

    A budget at which any run of a scheme failed is in its curve, as missing.

    Args:
        sweep: to which the rows belong.
        rows: of runs; not every candidate needs every seed.

    Raises:
        ValueError: the task does not measure the sweep's metric.
    """
    curves: dict[str, list[Point]] = {}
    for scheme in (*sweep.schemes, NOISELESS):
        mine = [row for row in rows if row["scheme"] == scheme]
        for budget in sorted({row["energy_budget"] for row in mine}):
            curves.setdefault(scheme, []).append(
                _point(sweep, scheme, budget, [row for row in mine if row["energy_budget"] == budget])
            )
    return curves


def _point(sweep: Sweep, scheme: str, budget: float, rows: Sequence[Row]) -> Point:
    """The runs of the best candidate of a scheme at one budget, or that it is missing."""
    better, failed = sweep.higher_is_better, sum(row["status"] == "failed" for row in rows)
    by_candidate: dict[tuple[float, str], list[Row]] = {}
    for row in rows if failed else _exploded_as_diverged(rows):
        by_candidate.setdefault((row["learning_rate"], row["arguments"]), []).append(row)
    count = len(by_candidate)
    if failed:
        return Point(scheme, budget, math.nan, "", "", count, {}, [], (), better, failed, len(rows))
    rates = [rate for rate, _ in by_candidate]
    most = max(map(len, by_candidate.values()))
    finalists = {key: runs for key, runs in by_candidate.items() if len(runs) == most}
    trials = {key: _trial(sweep, runs) for key, runs in finalists.items()}
    best = min(trials, key=lambda key: _mean(trials[key].validation.values()))
    edge = ""
    if min(rates) < max(rates) and best[0] in (min(rates), max(rates)):
        edge = "lowest" if best[0] == min(rates) else "highest"
    values = {row["seed"]: measured(row, sweep.metric, sweep.result) for row in finalists[best]}
    return Point(scheme, budget, *best, edge, count, values, finalists[best], [*trials.values()], better, 0, len(rows))


def _trial(sweep: Sweep, runs: Sequence[Row]) -> Trial:
    return Trial(
        {run["seed"]: judged(run, sweep.result)["validation"]["loss"] for run in runs},
        {run["seed"]: sweep.cost(measured(run, sweep.metric, sweep.result)) for run in runs},
    )


def _exploded_as_diverged(rows: Sequence[Row]) -> list[Row]:
    """Rows of a scheme at a budget, in which a loss that exploded, though it is finite, is that of a diverged run."""
    nothing = {"validation": {"loss": math.inf}, "test": {"loss": math.inf}}
    found = []
    last, best = (_ceiling(rows, result) for result in ("last", "best"))
    for row in rows:
        if judged(row, "last")["validation"]["loss"] > last:
            row = row | {"status": "diverged", "metrics": nothing}
        if judged(row, "best")["validation"]["loss"] > best:
            row = row | {"best": row["best"] | {"metrics": nothing}}
        found.append(row)
    return found


def _ceiling(rows: Sequence[Row], result: str) -> float:
    losses = [judged(row, result)["validation"]["loss"] for row in rows]
    return _EXPLODED * min((loss for loss in losses if loss > 0), default=math.inf)


def judged(row: Row, result: str) -> Row:
    """Metrics of a run, {"validation": ..., "test": ...}: at its last round, or at the least validation loss."""
    metrics: Row = row["metrics"] if result == "last" else row["best"]["metrics"]
    return metrics


def measured(row: Row, metric: str, result: str) -> float:
    """Test metric of a run, infinite on the bad side where it diverged.

    Raises:
        ValueError: the task does not measure it.
    """
    found = judged(row, result)["test"]
    if metric in found:
        return float(found[metric])
    if math.isfinite(found["loss"]):
        raise ValueError(f"metric {metric!r} is not measured by this task; it gives {', '.join(found)}")
    return -math.inf if METRICS[metric] else math.inf


def table_of(sweep: Sweep, curves: dict[str, list[Point]]) -> list[Row]:
    """One row per scheme and budget: what was chosen, both results with their spread, what was spent and sent.

    runs and failed count those of all candidates; where one failed the budget is missing, and its numbers are NaN.
    """
    rows: list[Row] = []
    weigh = _scales(sweep)
    for points in curves.values():
        for point in points:
            runs = point.runs
            row: Row = {
                "scheme": point.scheme,
                "energy_budget": point.energy_budget,
                "learning_rate": point.learning_rate,
                "rate_at_edge": point.rate_at_edge,
                "chosen": point.arguments,
                "candidates": point.num_candidates,
                "seeds": len(runs),
                "diverged": sum(run["status"] == "diverged" for run in runs),
                "runs": point.num_runs,
                "failed": point.failed,
            }
            row["validation_loss"] = _mean(run["metrics"]["validation"]["loss"] for run in runs)
            row |= _metrics(sweep, runs, "last", "")
            row["best_round"] = _mean(run["best"]["round"] for run in runs)
            row |= _metrics(sweep, runs, "best", AT_BEST)
            spent = ("energy_spent", "max_energy_spent", "energy_allowed", "num_symbols", "num_channel_uses")
            row |= {f"{name}_per_round": _mean(run["mean_per_round"][name] for run in runs) for name in spent}
            row["num_bytes_per_round"] = math.nan if point.missing else weigh(point.scheme, point.arguments)
            rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, math.nan) for name in columns} for row in rows]


def _scales(sweep: Sweep) -> Callable[[str, str], float]:
    """A function of scheme and arguments: bytes of a device's message, if sent digitally, mean of the two kinds of round.

    NaN for a scheme that cannot be counted without values.
    """
    usual = shapes_of(build(sweep.task, "task").model(0))  # not on the meta device: a model's form may follow from its data

    @cache
    def shapes(scheme: str) -> Shapes:
        task = scheme_of(sweep, scheme).task
        return usual if task == sweep.task else shapes_of(build(task, f"schemes.{scheme}.task").model(0))

    @cache
    def weigh(scheme: str, arguments: str) -> float:
        try:
            return _mean(length.num_bytes for length in count(compressor_of(sweep, scheme, arguments), shapes(scheme)))
        except RuntimeError:
            return math.nan

    return weigh


def _metrics(sweep: Sweep, runs: Sequence[Row], result: str, suffix: str) -> Row:
    """Test metrics of one of the two results, the sweep's own one first and with its spread over seeds."""
    values = [measured(run, sweep.metric, result) for run in runs]
    row: Row = {
        f"test_{sweep.metric}{suffix}": _mean(values),
        f"standard_error{suffix}": standard_error(values),
        f"half_width_95{suffix}": half_width(values),
    }
    there = {name for run in runs for name in judged(run, result)["test"]}
    for name in METRICS:
        if name in there and name != sweep.metric:
            row[f"test_{name}{suffix}"] = _mean(measured(run, name, result) for run in runs)
    return row


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else math.nan
