"""The power that a scheme needs for a target: where a monotone fit of its curve over budgets meets it.

Means over seeds at each budget -> isotonic regression, since more power never hurts in the mean -> monotone cubic
interpolation (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980) over 10 log10 P -> the power from which on the target is
reached. All of it is done in every draw of `SeedDraws`, with the candidates chosen anew. The interval holds the powers at
which the 95 % band of the fit holds the target; where that reaches beyond the budgets, its end is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.stats import t as student
from sklearn.isotonic import isotonic_regression

from laser_wireless.benchmarks.intervals import CONFIDENCE, reach_of
from laser_wireless.benchmarks.sweeps.choices import Point
from laser_wireless.benchmarks.sweeps.seed_draws import Array, SeedDraws

_STEP_DB = 0.05  # of the grid on which the fit is read, with straight lines between


class NeededPower(NamedTuple):
    """Power in dB, 10 log10 P, that a scheme needs for a target.

    value: -inf if the lowest budget is more than enough, inf if the highest is not, NaN where it is not known.
    low, high: of its 95 % interval: -inf, inf where it reaches beyond the budgets; the highest budget is the low end, the
        lowest the high end, where it surely lies beyond. NaN for one seed, and where the value is not known.
    note: why there is no value.
    roots: of the fit in each draw [1 + D], within the budgets; num_seeds: of the budgets around the value.
    """

    value: float
    low: float
    high: float
    note: str
    roots: Array
    num_seeds: int


@dataclass(frozen=True)
class Curve:
    """A scheme's metric over budgets, in draws; lower is better.

    points: its budgets, ascending, some of them with failed runs perhaps: what lies beyond the first such one is not used.
    draws: of the means over seeds.
    """

    points: Sequence[Point]
    draws: SeedDraws

    @cached_property
    def known(self) -> list[Point]:
        """The budgets below the first at which runs failed."""
        gap = next((place for place, point in enumerate(self.points) if point.missing), len(self.points))
        return list(self.points[:gap])

    @cached_property
    def costs(self) -> Array:
        """Metric at the known budgets [1 + D, B], of the candidate chosen in each draw; infinite where all diverged."""
        return np.stack([_cost(point, self.draws) for point in self.known], 1)

    @cached_property
    def span(self) -> tuple[int, int]:
        """First and last but one of the known budgets between those at which the scheme diverged."""
        finite = np.isfinite(self.costs[0]) if self.known else np.zeros(0, bool)
        start = int(np.argmax(finite)) if finite.any() else len(finite)
        lost = np.flatnonzero(~finite[start:])
        return start, start + int(lost[0]) if len(lost) else len(finite)

    @cached_property
    def grid_db(self) -> Array:
        """Powers in dB at which the fit is read."""
        start, end = self.span
        powers = [point.power_db for point in self.known[start:end]]
        pieces = [
            np.linspace(low, high, 1 + max(1, math.ceil((high - low) / _STEP_DB)))[:-1] for low, high in pairwise(powers)
        ]
        return np.concatenate([*pieces, powers[-1:]])

    @cached_property
    def fit(self) -> Array:
        """The monotone fit on the grid [1 + D, G]."""
        start, end = self.span
        costs = np.array(self.costs[:, start:end])
        if end - start == 1:
            return costs
        for row in np.flatnonzero((np.diff(costs) > 0).any(1)):
            costs[row] = isotonic_regression(costs[row], increasing=False)
        found: Array = PchipInterpolator([p.power_db for p in self.known[start:end]], costs, axis=1)(self.grid_db)
        return found

    @cached_property
    def band(self) -> tuple[Array, Array]:
        """Estimate of the fit and its standard error [G]."""
        return self.draws.estimate(self.fit)

    @cached_property
    def rise(self) -> tuple[Point, Point] | None:
        """Two budgets between which the metric surely gets worse (Bonferroni's bound over all pairs); None if none do."""
        start, end = self.span
        pairs = list(combinations(range(start, end), 2))
        for i, j in pairs:
            worse, error = self.draws.estimate(self.costs[:, j] - self.costs[:, i])
            n = min(self.known[i].num_seeds, self.known[j].num_seeds)
            if n > 1 and worse > error * student.ppf(1 - (1 - CONFIDENCE) / 2 / len(pairs), n - 1):
                return self.known[i], self.known[j]
        return None

    def needed(self, target: float) -> NeededPower:
        """Power that reaches a target; as a metric whose lower values are better."""
        why = self._why_not_known(target)
        start, end = self.span
        if why or start == end:
            value, why = (math.nan, why) if why else (math.inf, "")
            nothing = np.full(1, math.nan)
            return NeededPower(value, math.nan if why else self._highest_db, value, why, nothing, 0)
        middle, error = self.band
        value = float(_crossings(self.grid_db, middle, target))
        n = self._num_seeds_at(value)
        reach = reach_of(n) * error if n > 1 else np.full(len(error), math.nan)
        low, high = (float(_crossings(self.grid_db, edge, target)) for edge in (middle - reach, middle + reach))
        if n < 2:
            low = high = math.nan
        first, last = float(self.grid_db[0]), float(self.grid_db[-1])
        low, high = min(low, last), max(high, first)
        if start > 0 and low == -math.inf:  # it diverged below: the power lies between
            low = self.known[start - 1].power_db
            value = max(value, first)
        roots = np.clip(_crossings(self.grid_db, self.fit, target), first, last)
        return NeededPower(value, low, high, "", roots, n)

    @property
    def _highest_db(self) -> float:
        return self.known[-1].power_db

    def _why_not_known(self, target: float) -> str:
        """Why no power can be said; empty if it can."""
        start, end = self.span
        reached = start < end and self.band[0][-1] <= target
        if not reached and len(self.known) < len(self.points):
            return f"not known: runs failed at {missing_budgets(self.points)}"
        if reached and end < len(self.known):
            return f"not monotone: reached, but diverged at P = {self.known[end].energy_budget:g}"
        passes = np.diff(self.costs[0, start:end] <= target).sum()
        if passes > 1 and self.rise is not None:
            low, high = (f"{point.energy_budget:g}" for point in self.rise)
            return f"not monotone: worse at P = {high} than at {low}"
        return ""

    def _num_seeds_at(self, power_db: float) -> int:
        """Fewest seeds of the budgets around a power."""
        start, end = self.span
        above = next((i for i in range(start, end) if self.known[i].power_db >= power_db), end - 1)
        return min(point.num_seeds for point in self.known[max(start, above - 1) : above + 1])


def missing_budgets(points: Sequence[Point]) -> str:
    """Budgets of a curve at which runs failed, such as "P = 1, 4"; empty if there are none."""
    missing = ", ".join(f"{point.energy_budget:g}" for point in points if point.missing)
    return f"P = {missing}" if missing else ""


def _cost(point: Point, draws: SeedDraws) -> Array:
    """Metric of the candidate that is chosen in each draw [1 + D], lower is better."""
    measured = np.stack([draws.measured(trial.costs) for trial in point.trials], 1)
    chosen = np.stack([draws.chosen_by(trial.validation) for trial in point.trials], 1).argmin(1)
    found: Array = measured[np.arange(len(measured)), chosen]
    return found


def _crossings(x: Array, y: Array, target: float) -> Array:
    """For lines y [..., G] over x: where each is last seen to fall to a target.

    -inf where it lies at or below the target everywhere, inf where it ends above.
    """
    above = y > target
    last = len(x) - 1 - np.argmax(above[..., ::-1], -1)
    after = np.minimum(last + 1, len(x) - 1)
    high, low = (np.take_along_axis(y, place[..., None], -1)[..., 0] for place in (last, after))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = x[last] + (high - target) / (high - low) * (x[after] - x[last])
    return np.where(above[..., -1], math.inf, np.where(above.any(-1), found, -math.inf))
