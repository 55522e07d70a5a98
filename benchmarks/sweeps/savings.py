"""From the curves of a sweep to its answer: who needs how much power, in dB, and how much each saves against the reference.

A power is that of `required_power`; a saving is the difference of two of them, its interval paired seed by seed. Where a
power is known to lie beyond the budgets the saving is known from one side: at least, or at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from laser_wireless.benchmarks.intervals import reach_of
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.choices import Point
from laser_wireless.benchmarks.sweeps.required_power import Curve, NeededPower
from laser_wireless.benchmarks.sweeps.seed_draws import Array, SeedDraws
from laser_wireless.benchmarks.sweeps.sweep import Sweep

Curves = Mapping[str, Sequence[Point]]


class Saving(NamedTuple):
    """In dB, with its 95 % interval; NaN or infinite where it is known from one side or not at all, and a note why."""

    value: float
    low: float
    high: float
    note: str


def targets_of(sweep: Sweep, curves: Curves) -> list[float]:
    """The targets asked for, or four levels that every scheme's mean curve passes; if there are none, the reference's.

    They are evenly spaced, on a log scale for losses and perplexities, from easy to hard.
    """
    if sweep.targets:
        return list(sweep.targets)
    found = _levels(sweep, [curves[scheme] for scheme in sweep.schemes if scheme in curves])
    return found or _levels(sweep, [curves[sweep.baseline]] if sweep.baseline in curves else [])


def _levels(sweep: Sweep, curves: Sequence[Sequence[Point]]) -> list[float]:
    finite = [[point.cost for point in points if math.isfinite(point.mean)] for points in curves]
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


def savings(sweep: Sweep, curves: Curves) -> list[Row]:
    """Per target and scheme: what is needed, and the saving against the reference.

    Returns:
        rows with target, scheme, reference; power_db with power_low, power_high; saving_db with low, high; spent_db, the
        energy actually spent at that power, and spent_saving_db; channel_uses per round; on_front, "yes" if no other scheme
        needs less of one of the two and no more of the other; seeds around that power; note, why a number is not there. The
        reference saves exactly nothing against itself, wherever it reaches the target.
    """
    draws = SeedDraws(sorted({seed for points in curves.values() for point in points for seed in point.seeds}))
    fitted = {name: Curve(curves[name], draws) for name in sweep.schemes if name in curves}
    if sweep.baseline not in fitted:
        return []
    rows: list[Row] = []
    for target in targets_of(sweep, curves):
        needed = {name: curve.needed(sweep.cost(target)) for name, curve in fitted.items()}
        spent = {name: _at(needed[name].value, curve.known, "spent_db") for name, curve in fitted.items()}
        uses = {name: _at(needed[name].value, curve.known, "channel_uses") for name, curve in fitted.items()}
        front = pareto_front({name: (spent[name], uses[name]) for name in fitted})
        for name in fitted:
            saving = saving_of(needed[name], needed[sweep.baseline], draws, name == sweep.baseline)
            rows.append(
                {
                    "target": target,
                    "scheme": name,
                    "reference": sweep.baseline,
                    "power_db": needed[name].value,
                    "power_low": needed[name].low,
                    "power_high": needed[name].high,
                    "saving_db": saving.value,
                    "low": saving.low,
                    "high": saving.high,
                    "spent_db": spent[name],
                    "spent_saving_db": spent[sweep.baseline] - spent[name],
                    "channel_uses": uses[name],
                    "on_front": "yes" if name in front else "",
                    "seeds": needed[name].num_seeds,
                    "note": saving.note,
                }
            )
    return rows


def saving_of(own: NeededPower, other: NeededPower, draws: SeedDraws, is_reference: bool = False) -> Saving:
    """What a scheme saves against another one."""
    if is_reference:
        note = _why_no_saving(own)
        there = not own.note and own.value < math.inf
        return Saving(0.0, 0.0, 0.0, "reference") if there else Saving(math.nan, math.nan, math.nan, f"reference: {note}")
    if own.note or other.note:
        return Saving(math.nan, math.nan, math.nan, own.note or f"reference {other.note}")
    missed = _why_no_saving(other, "does not reach it")
    note = _why_no_saving(own) or (f"reference {missed}" if missed else "")
    if min(own.num_seeds, other.num_seeds) < 2 and not note:
        return Saving(other.value - own.value, math.nan, math.nan, "one seed: no interval")
    value = math.nan if note else other.value - own.value
    if not np.isfinite([own.low, own.high, other.low, other.high, value]).all():
        return Saving(value, other.low - own.high, other.high - own.low, note)  # if both lie in their intervals
    error = float(draws.estimate(other.roots - own.roots)[1])
    half = reach_of(min(own.num_seeds, other.num_seeds)) * error
    return Saving(value, value - half, value + half, "")


def _why_no_saving(needed: NeededPower, what: str = "target not reached") -> str:
    """Why a power is no number."""
    if needed.note or math.isfinite(needed.value):
        return needed.note
    return what if needed.value > 0 else "below the lowest budget"


def _at(power_db: float, points: Sequence[Point], what: str) -> float:
    """Something that the budgets have, at a power between them; NaN if it is beyond them."""
    if not math.isfinite(power_db):
        return math.nan
    known = [point for point in points if math.isfinite(point.mean)]
    return float(np.interp(power_db, [point.power_db for point in known], [getattr(point, what) for point in known]))


def pareto_front(needs: Mapping[str, tuple[float, float]]) -> set[str]:
    """Those of which no other needs less of one thing and no more of the other; needs that are no numbers are left out."""
    known = {name: need for name, need in needs.items() if all(map(math.isfinite, need))}
    return {
        name for name, (a, b) in known.items() if not any(x <= a and y <= b and (x, y) != (a, b) for x, y in known.values())
    }


def crossovers_db(first: Sequence[Point], second: Sequence[Point]) -> list[float]:
    """Powers in dB at which the mean curves of two schemes cross, with straight lines between the budgets that each has.

    Beside a budget that is missing, or at which a scheme diverged, no crossing is seen.
    """
    powers = np.array(sorted({point.power_db for point in (*first, *second)}))
    difference = _mean_at(powers, first) - _mean_at(powers, second)
    found = []
    for i in range(1, len(powers)):
        before, after = difference[i - 1], difference[i]
        if math.isfinite(before) and math.isfinite(after) and before * after < 0:
            found.append(float(powers[i - 1] + before / (before - after) * (powers[i] - powers[i - 1])))
    return found


def _mean_at(powers_db: Array, points: Sequence[Point]) -> Array:
    """A mean curve at some powers; NaN beyond its budgets, and between two of which one is not finite."""
    means = {point.power_db: point.mean if math.isfinite(point.mean) else math.nan for point in points}
    with np.errstate(invalid="ignore"):
        between = np.interp(powers_db, list(means), list(means.values()), math.nan, math.nan)
    return np.array([means.get(power, mean) for power, mean in zip(powers_db, between, strict=True)])
