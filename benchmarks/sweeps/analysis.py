"""From the rows of a sweep to its answer: who needs how much power, in dB, and how sure that is.

The candidate (learning rate and tuned arguments) of each scheme and budget is the one with the least mean validation loss;
the test part only measures. The power that a seed needs for a target is read off its test curve, linear between budgets on
the dB axis, at the first crossing. The saving is the difference in dB to the reference for the same seed; its interval is
Student's over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from laser_wireless.benchmarks.assembly import build
from laser_wireless.benchmarks.calculations.communication import count
from laser_wireless.benchmarks.calculations.model_shapes import shapes_of
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.candidates import grid_of
from laser_wireless.benchmarks.sweeps.sweep import METRICS, NOISELESS, Sweep, compressor_of
from scipy.stats import t as student

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Point:
    """A scheme at one budget, with the candidate chosen on validation.

    values: test metric by seed; where a run diverged, infinite on the bad side.
    """

    scheme: str
    energy_budget: float
    learning_rate: float
    arguments: str
    rate_at_edge: str
    num_candidates: int
    values: dict[int, float]
    runs: list[Row]
    higher_is_better: bool = False

    @property
    def mean(self) -> float:
        """Mean of the test metric over seeds."""
        return float(np.mean(list(self.values.values())))

    @property
    def standard_error(self) -> float:
        """Of the mean over seeds; NaN for one seed or a diverged one."""
        return standard_error(list(self.values.values()))

    @property
    def half_width(self) -> float:
        """Of Student's interval of the mean over seeds; NaN for one seed or a diverged one."""
        return half_width(list(self.values.values()))

    def cost(self, seed: int | None) -> float:
        """Test metric of a seed, or its mean, with the sign that makes lower better."""
        value = self.mean if seed is None else self.values[seed]
        return -value if self.higher_is_better else value


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of independent values; NaN for a single or an infinite one."""
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def half_width(values: Sequence[float]) -> float:
    """Half of Student's interval of the mean of independent values; NaN for a single or an infinite one."""
    return float(student.ppf((1 + CONFIDENCE) / 2, max(1, len(values) - 1)) * standard_error(values))


def choose(sweep: Sweep, rows: Sequence[Row]) -> dict[str, list[Point]]:
    """Curves by scheme: at each budget the candidate with the least mean validation loss (inf if a seed diverged).

    Raises:
        ValueError: the task does not measure the sweep's metric.
    """
    curves: dict[str, list[Point]] = {}
    for scheme in (*sweep.schemes, NOISELESS):
        for budget in sweep.energy_budgets:
            here = [row for row in rows if row["scheme"] == scheme and row["energy_budget"] == budget]
            if here and all(row["status"] != "failed" for row in here):
                curves.setdefault(scheme, []).append(_point(sweep, scheme, budget, here))
    return curves


def _point(sweep: Sweep, scheme: str, budget: float, rows: Sequence[Row]) -> Point:
    """The runs of the best candidate of a scheme at one budget."""
    by_candidate: dict[tuple[float, str], list[Row]] = {}
    for candidate in sweep.candidates(scheme):
        key = (candidate.learning_rate, candidate.label)
        by_candidate[key] = [row for row in rows if (row["learning_rate"], row["arguments"]) == key]
    loss = {
        key: np.mean([judged(row, sweep.result)["validation"]["loss"] for row in runs]) for key, runs in by_candidate.items()
    }
    best = min(by_candidate, key=lambda key: loss[key])
    grid, edge = grid_of(sweep.learning_rates, scheme), ""
    if len(grid) > 1 and best[0] in (grid[0], grid[-1]):
        edge = "lowest" if best[0] == grid[0] else "highest"
    runs = by_candidate[best]
    values = {row["seed"]: measured(row, sweep.metric, sweep.result) for row in runs}
    return Point(scheme, budget, *best, edge, len(by_candidate), values, runs, sweep.higher_is_better)


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


def table(sweep: Sweep, curves: dict[str, list[Point]]) -> list[Row]:
    """One row per scheme and budget: what was chosen, both results with their spread, what was spent and sent."""
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
            }
            row["validation_loss"] = _mean(run["metrics"]["validation"]["loss"] for run in runs)
            row |= _metrics(sweep, runs, "last", "")
            row["best_round"] = _mean(run["best"]["round"] for run in runs)
            row |= _metrics(sweep, runs, "best", "_at_best_validation")
            spent = ("energy_spent", "max_energy_spent", "energy_allowed", "num_symbols", "num_channel_uses")
            row |= {f"{name}_per_round": _mean(run["mean_per_round"][name] for run in runs) for name in spent}
            row["num_bytes_per_round"] = weigh(point.scheme, point.arguments)
            rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, math.nan) for name in columns} for row in rows]


def _scales(sweep: Sweep) -> Callable[[str, str], float]:
    """A function of scheme and arguments: bytes of a device's message, if sent digitally, mean of the two kinds of round.

    NaN for a scheme that cannot be counted without values.
    """
    with torch.device("meta"):
        shapes = shapes_of(build(sweep.task, "task").model(0))

    @cache
    def weigh(scheme: str, arguments: str) -> float:
        try:
            return _mean(length.num_bytes for length in count(compressor_of(sweep, scheme, arguments), shapes))
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


def needed_power_db(points: Sequence[Point], seed: int | None, target: float) -> float:
    """Power in dB (10 log10 P) at which a seed's curve, or the mean curve, first reaches the target.

    Returns:
        -inf if the lowest budget is good enough already, inf if none is.
    """
    aim = -target if points[0].higher_is_better else target
    values = [point.cost(seed) for point in points]
    powers = [10 * math.log10(point.energy_budget) for point in points]
    if values[0] <= aim:
        return -math.inf
    for i in range(1, len(values)):
        if values[i] <= aim:
            if not math.isfinite(values[i - 1]):
                return powers[i]
            part = (values[i - 1] - aim) / (values[i - 1] - values[i])
            return powers[i - 1] + part * (powers[i] - powers[i - 1])
    return math.inf


def targets_of(sweep: Sweep, curves: dict[str, list[Point]]) -> list[float]:
    """The targets asked for, or four levels that every scheme's mean curve passes; if there are none, the reference's.

    They are evenly spaced, on a log scale for losses and perplexities, from easy to hard.
    """
    if sweep.targets:
        return list(sweep.targets)
    found = _levels(sweep, [curves[scheme] for scheme in sweep.schemes if scheme in curves])
    return found or _levels(sweep, [curves[sweep.baseline]] if sweep.baseline in curves else [])


def _levels(sweep: Sweep, curves: Sequence[Sequence[Point]]) -> list[float]:
    finite = [[point.cost(None) for point in points if math.isfinite(point.mean)] for points in curves]
    if not finite or not all(finite):
        return []
    easiest, hardest = min(max(costs) for costs in finite), max(min(costs) for costs in finite)
    if hardest >= easiest:
        return []
    if sweep.higher_is_better:
        return [float(f"{-cost:.3g}") for cost in np.linspace(easiest, hardest, 6)[1:-1]]
    if hardest <= 0:
        return []
    return [float(f"{cost:.3g}") for cost in np.geomspace(easiest, hardest, 6)[1:-1]]


def savings(sweep: Sweep, curves: dict[str, list[Point]]) -> list[Row]:
    """Per target and scheme: power needed, and the saving in dB against the reference with its interval over seeds."""
    rows: list[Row] = []
    for target in targets_of(sweep, curves):
        for scheme in sweep.schemes:
            if scheme not in curves or sweep.baseline not in curves:
                continue
            own = [needed_power_db(curves[scheme], seed, target) for seed in sweep.seeds]
            other = [needed_power_db(curves[sweep.baseline], seed, target) for seed in sweep.seeds]
            mean, low, high, note = _paired(own, other)
            rows.append(
                {
                    "target": target,
                    "scheme": scheme,
                    "power_db": needed_power_db(curves[scheme], None, target),
                    "saving_db": mean,
                    "low": low,
                    "high": high,
                    "note": "reference" if scheme == sweep.baseline else note,
                }
            )
    return rows


def crossovers_db(first: Sequence[Point], second: Sequence[Point]) -> list[float]:
    """Powers in dB at which the mean curves of two schemes cross, at the budgets that both have."""
    others = {point.energy_budget: point.mean for point in second}
    shared = [point for point in first if point.energy_budget in others]
    difference = [point.mean - others[point.energy_budget] for point in shared]
    powers = [10 * math.log10(point.energy_budget) for point in shared]
    found = []
    for i in range(1, len(difference)):
        before, after = difference[i - 1], difference[i]
        if math.isfinite(before) and math.isfinite(after) and before * after < 0:
            found.append(powers[i - 1] + before / (before - after) * (powers[i] - powers[i - 1]))
    return found


def _paired(own: Sequence[float], other: Sequence[float]) -> tuple[float, float, float, str]:
    """Mean saving, interval and note; a bound where a curve leaves the range of budgets."""
    if not all(map(math.isfinite, own)):
        return math.nan, math.nan, math.nan, "target not reached" if math.inf in own else "below the lowest budget"
    if not all(map(math.isfinite, other)):
        return math.nan, math.nan, math.nan, "reference " + ("not there" if math.inf in other else "below the lowest budget")
    difference = np.subtract(other, own).tolist()
    mean = _mean(difference)
    if len(difference) < 2:
        return mean, math.nan, math.nan, "one seed: no interval"
    half = half_width(difference)
    return mean, mean - half, mean + half, ""


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
