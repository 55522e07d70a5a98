"""From the rows of a sweep to its answer: who needs how much power, in dB, and how sure that is.

The learning rate of each scheme and budget is the one with the least mean validation loss; the test part only measures.
The power that a seed needs for a target is read off its test curve, linear between budgets on the dB axis, at the first
crossing. The saving is the difference in dB to the reference for the same seed; its interval is Student's over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweep import NOISELESS, Sweep
from scipy.stats import t as student

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Point:
    """A scheme at one budget, with the learning rate chosen on validation.

    values: test metric by seed, infinite where a run diverged.
    """

    scheme: str
    energy_budget: float
    learning_rate: float
    rate_at_edge: str
    values: dict[int, float]
    runs: list[Row]

    @property
    def mean(self) -> float:
        """Mean of the test metric over seeds."""
        return float(np.mean(list(self.values.values())))

    @property
    def standard_error(self) -> float:
        """Of the mean over seeds; NaN for one seed or a diverged one."""
        values = list(self.values.values())
        return (
            float(np.std(values, ddof=1) / math.sqrt(len(values)))
            if len(values) > 1 and np.isfinite(values).all()
            else math.nan
        )


def choose(sweep: Sweep, rows: Sequence[Row]) -> dict[str, list[Point]]:
    """Curves by scheme: at each budget the learning rate with the least mean validation loss (inf if a seed diverged)."""
    curves: dict[str, list[Point]] = {}
    for scheme in (*sweep.schemes, NOISELESS):
        for budget in sweep.energy_budgets:
            here = [row for row in rows if row["scheme"] == scheme and row["energy_budget"] == budget]
            if not here or any(row["status"] == "failed" for row in here):
                continue
            by_rate = {rate: [row for row in here if row["learning_rate"] == rate] for rate in sweep.learning_rates}
            loss = {rate: np.mean([row["metrics"]["validation"]["loss"] for row in some]) for rate, some in by_rate.items()}
            best = min(sweep.learning_rates, key=lambda rate: loss[rate])
            edge = ""
            if len(sweep.learning_rates) > 1 and best in (sweep.learning_rates[0], sweep.learning_rates[-1]):
                edge = "lowest" if best == sweep.learning_rates[0] else "highest"
            values = {row["seed"]: row["metrics"]["test"].get(sweep.metric, math.inf) for row in by_rate[best]}
            curves.setdefault(scheme, []).append(Point(scheme, budget, best, edge, values, by_rate[best]))
    return curves


def table(sweep: Sweep, curves: dict[str, list[Point]]) -> list[Row]:
    """One row per scheme and budget: chosen rate, test metrics with standard error, what was spent."""
    rows: list[Row] = []
    for points in curves.values():
        for point in points:
            row: Row = {
                "scheme": point.scheme,
                "energy_budget": point.energy_budget,
                "learning_rate": point.learning_rate,
                "rate_at_edge": point.rate_at_edge,
                "seeds": len(point.values),
                "diverged": sum(run["status"] == "diverged" for run in point.runs),
                "validation_loss": _mean(run["metrics"]["validation"]["loss"] for run in point.runs),
            }
            names = sorted({name for run in point.runs for name in run["metrics"]["test"]} - {sweep.metric})
            row[f"test_{sweep.metric}"], row["standard_error"] = point.mean, point.standard_error
            for name in ("loss", "accuracy", "perplexity"):
                if name in names:
                    row[f"test_{name}"] = _mean(run["metrics"]["test"].get(name, math.nan) for run in point.runs)
            for name in ("energy_spent", "num_symbols", "num_channel_uses"):
                row[f"{name}_per_round"] = _mean(run["mean_per_round"][name] for run in point.runs)
            rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, math.nan) for name in columns} for row in rows]


def needed_power_db(points: Sequence[Point], seed: int | None, target: float) -> float:
    """Power in dB (10 log10 P) at which a seed's curve, or the mean curve, first reaches the target.

    Returns:
        -inf if the lowest budget is good enough already, inf if none is.
    """
    values = [point.mean if seed is None else point.values[seed] for point in points]
    powers = [10 * math.log10(point.energy_budget) for point in points]
    if values[0] <= target:
        return -math.inf
    for i in range(1, len(values)):
        if values[i] <= target:
            if not math.isfinite(values[i - 1]):
                return powers[i]
            part = (values[i - 1] - target) / (values[i - 1] - values[i])
            return powers[i - 1] + part * (powers[i] - powers[i - 1])
    return math.inf


def targets_of(sweep: Sweep, curves: dict[str, list[Point]]) -> list[float]:
    """The targets asked for, or four levels that every scheme's mean curve passes, evenly spaced on a log scale."""
    if sweep.targets:
        return list(sweep.targets)
    means = [[point.mean for point in curves[scheme]] for scheme in sweep.schemes if scheme in curves]
    finite = [[value for value in values if math.isfinite(value)] for values in means]
    if not finite or not all(finite):
        return []
    easiest, hardest = min(max(values) for values in finite), max(min(values) for values in finite)
    if hardest >= easiest or hardest <= 0:
        return []
    return [float(f"{value:.3g}") for value in np.geomspace(easiest, hardest, 6)[1:-1]]


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
    """Powers in dB at which the mean curves of two schemes cross."""
    difference = [a.mean - b.mean for a, b in zip(first, second, strict=True)]
    powers = [10 * math.log10(point.energy_budget) for point in first]
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
    difference = np.subtract(other, own)
    mean = float(difference.mean())
    if len(difference) < 2:
        return mean, math.nan, math.nan, "one seed: no interval"
    half = float(
        student.ppf((1 + CONFIDENCE) / 2, len(difference) - 1) * difference.std(ddof=1) / math.sqrt(len(difference))
    )
    return mean, mean - half, mean + half, ""


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
