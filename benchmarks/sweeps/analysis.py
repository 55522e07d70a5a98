"""From the rows of a sweep to its answer: who needs how much power, in dB, and how sure that is.

The candidate (learning rate and tuned arguments) of each scheme and budget is the one with the least mean validation loss;
the test part only measures. The power that a seed needs for a target is read off its test curve, linear between budgets on
the dB axis, at the first crossing. The saving is the difference in dB to the reference for the same seed; its interval is
Student's over seeds.

A budget at which a run failed is missing: the candidates were not all tried, so that no choice among those left would be a
fair one. Nothing is concluded across a missing budget: a crossing that may lie in it is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from laser_wireless.benchmarks.assembly import build
from laser_wireless.benchmarks.calculations.communication import count
from laser_wireless.benchmarks.calculations.model_shapes import shapes_of
from laser_wireless.benchmarks.intervals import half_width, standard_error
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.candidates import NOISELESS, grid_of
from laser_wireless.benchmarks.sweeps.sweep import METRICS, Sweep, compressor_of


@dataclass(frozen=True)
class Point:
    """A scheme at one budget, with the candidate chosen on validation.

    values: test metric by seed; where a run diverged, infinite on the bad side.
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
    def standard_error(self) -> float:
        """Of the mean over seeds; NaN for one seed, a diverged one or none."""
        return standard_error(list(self.values.values()))

    @property
    def half_width(self) -> float:
        """Of Student's interval of the mean over seeds; NaN for one seed, a diverged one or none."""
        return half_width(list(self.values.values()))

    def cost(self, seed: int | None) -> float:
        """Test metric of a seed, or its mean, with the sign that makes lower better."""
        value = self.mean if seed is None else self.values[seed]
        return -value if self.higher_is_better else value


def choose(sweep: Sweep, rows: Sequence[Row]) -> dict[str, list[Point]]:
    """Curves by scheme: at each budget the candidate with the least mean validation loss (inf if a seed diverged).

    A budget at which any run of a scheme failed is in its curve, as missing.

    Raises:
        ValueError: the task does not measure the sweep's metric.
    """
    curves: dict[str, list[Point]] = {}
    for scheme in (*sweep.schemes, NOISELESS):
        for budget in sweep.energy_budgets:
            here = [row for row in rows if row["scheme"] == scheme and row["energy_budget"] == budget]
            if here:
                curves.setdefault(scheme, []).append(_point(sweep, scheme, budget, here))
    return curves


def _point(sweep: Sweep, scheme: str, budget: float, rows: Sequence[Row]) -> Point:
    """The runs of the best candidate of a scheme at one budget, or that it is missing."""
    failed = sum(row["status"] == "failed" for row in rows)
    if failed:
        num_candidates, better = len(sweep.candidates(scheme)), sweep.higher_is_better
        return Point(scheme, budget, math.nan, "", "", num_candidates, {}, [], better, failed, len(rows))
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
    return Point(scheme, budget, *best, edge, len(by_candidate), values, runs, sweep.higher_is_better, 0, len(rows))


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
            row |= _metrics(sweep, runs, "best", "_at_best_validation")
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
    shapes = shapes_of(build(sweep.task, "task").model(0))  # not on the meta device: a model's form may follow from its data

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
        -inf if the lowest budget is good enough already, inf if none is, NaN if that is not known: a budget is missing
        before the curve is seen to reach the target, and may hold the first crossing.
    """
    aim = -target if points[0].higher_is_better else target
    before: Point | None = None
    for point in points:
        if point.missing:
            return math.nan
        if point.cost(seed) <= aim:
            return -math.inf if before is None else _crossing_db(before, point, seed, aim)
        before = point
    return math.inf


def _crossing_db(before: Point, after: Point, seed: int | None, aim: float) -> float:
    """Power in dB at which the line between two budgets reaches the aim; from a diverged one, only the second is known."""
    high, low = before.cost(seed), after.cost(seed)
    if not math.isfinite(high):
        return after.power_db
    return before.power_db + (high - aim) / (high - low) * (after.power_db - before.power_db)


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
    """Per target and scheme: power needed, and the saving in dB against the reference with its interval over seeds.

    The reference saves exactly nothing against itself, wherever it reaches the target. A note says why there is no saving.
    """
    rows: list[Row] = []
    for target in targets_of(sweep, curves):
        for scheme in sweep.schemes:
            if scheme not in curves or sweep.baseline not in curves:
                continue
            mean, low, high, note = _saving(sweep, curves, scheme, target)
            rows.append(
                {
                    "target": target,
                    "scheme": scheme,
                    "reference": sweep.baseline,
                    "power_db": needed_power_db(curves[scheme], None, target),
                    "saving_db": mean,
                    "low": low,
                    "high": high,
                    "note": note,
                }
            )
    return rows


def missing_budgets(points: Sequence[Point]) -> str:
    """Budgets of a curve at which runs failed, such as "P = 1, 4"; empty if there are none."""
    missing = ", ".join(f"{point.energy_budget:g}" for point in points if point.missing)
    return f"P = {missing}" if missing else ""


def crossovers_db(first: Sequence[Point], second: Sequence[Point]) -> list[float]:
    """Powers in dB at which the mean curves of two schemes cross, between neighbouring budgets that both have."""
    others = {point.energy_budget: point.mean for point in second}
    shared = [point for point in first if point.energy_budget in others]
    difference = [point.mean - others[point.energy_budget] for point in shared]  # NaN where one is missing
    powers = [point.power_db for point in shared]
    found = []
    for i in range(1, len(difference)):
        before, after = difference[i - 1], difference[i]
        if math.isfinite(before) and math.isfinite(after) and before * after < 0:
            found.append(powers[i - 1] + before / (before - after) * (powers[i] - powers[i - 1]))
    return found


def _saving(sweep: Sweep, curves: dict[str, list[Point]], scheme: str, target: float) -> tuple[float, float, float, str]:
    """Mean saving, interval and note of a scheme at a target."""
    own, other = ([needed_power_db(curves[name], seed, target) for seed in sweep.seeds] for name in (scheme, sweep.baseline))
    if scheme == sweep.baseline:
        note = _unreached(own, curves[scheme])
        return (0.0, 0.0, 0.0, "reference") if not note else (math.nan, math.nan, math.nan, f"reference: {note}")
    note, there = _unreached(own, curves[scheme]), _unreached(other, curves[sweep.baseline], "not there")
    note = note or ("below the lowest budget" if -math.inf in own else "")
    there = there or ("below the lowest budget" if -math.inf in other else "")
    if note or there:
        return math.nan, math.nan, math.nan, note or f"reference {there}"
    difference = np.subtract(other, own).tolist()
    mean = _mean(difference)
    if len(difference) < 2:
        return mean, math.nan, math.nan, "one seed: no interval"
    half = half_width(difference)
    return mean, mean - half, mean + half, ""


def _unreached(powers: Sequence[float], points: Sequence[Point], word: str = "target not reached") -> str:
    """Why some seed's power is none or not known; empty if every seed reaches the target, if only below all budgets."""
    if any(map(math.isnan, powers)):
        return f"not known: runs failed at {missing_budgets(points)}"
    return word if math.inf in powers else ""


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else math.nan
