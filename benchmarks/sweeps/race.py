"""Which candidate is best at one energy budget, with few runs: a descent over learning rates, then successive halving.

Candidates stand on a ladder of learning rates, one for each combination of a scheme's other arguments. With one seed the
descent looks beside the best rate so far, in strides that shrink to one step, until the best has a worse one on both sides.
Then the better half is given twice the seeds, again and again (successive halving: Jamieson and Talwalkar, AISTATS 2016,
with seeds in place of rounds), down to two. The second leaves when it is surely worse, seed by seed, or when so many seeds
have not told them apart that it does not matter. Validation loss alone counts. All is a pure function of the losses there
are, so that a search that was cut off goes on as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from laser_wireless.benchmarks.intervals import half_width

_BESIDE = 2  # steps from the best of the descent, within which the best over more seeds is sought
_FEW, _MANY = 4, 16  # seeds: below, nothing is surely worse; from there on, the better of two is taken


class Place(NamedTuple):
    """A candidate: step on the ladder of learning rates, and number of the combination of other arguments."""

    step: int
    arguments: int


Losses = Mapping[Place, Mapping[int, float]]
"""Validation loss by candidate and seed; infinite where a run diverged."""


class Ladder(NamedTuple):
    """Learning rates, in equal ratios beyond the grid that was given.

    grid: ascending.
    lowest, highest: steps that may be taken; the grid's are 0 to its length less one.
    """

    grid: Sequence[float]
    lowest: int
    highest: int

    @classmethod
    def of(cls, grid: Sequence[float], *, fixed: bool) -> Ladder:
        """The rates of a grid, and as many to both sides as could ever be asked for, unless it is fixed."""
        beyond = 0 if fixed else 60
        return cls(grid, -beyond, len(grid) - 1 + beyond)

    def rate(self, step: int) -> float:
        """The learning rate of a step, to three digits beyond the grid."""
        last = len(self.grid) - 1
        inside = min(max(step, 0), last)
        ratio = (self.grid[-1] / self.grid[0]) ** (1 / last) if last else 2.0
        rate = self.grid[inside] * ratio ** (step - inside)
        return rate if step == inside else float(f"{rate:.3g}")


def next_runs(
    losses: Losses, ladder: Ladder, *, num_arguments: int, start: int, stride: int, seeds: Sequence[int]
) -> list[tuple[Place, int]]:
    """What to run next at one budget, as candidates and seeds.

    Args:
        losses: of the runs that are done.
        ladder: of learning rates.
        num_arguments: combinations of a scheme's other arguments.
        start: step at which the descent begins, with one to each side at a distance of `stride`.
        stride: of the first look.
        seeds: that the best, or the best two, shall have; the first one is that of the descent.

    Returns:
        nothing if the choice is made.
    """
    first = seeds[0]
    asked = []
    for arguments in range(num_arguments):
        seen = {place.step: by[first] for place, by in losses.items() if place.arguments == arguments and first in by}
        asked += [(Place(step, arguments), first) for step in _steps(seen, ladder, start, stride)]
    if asked:
        return asked
    pool, count = _near_the_best(ranked(losses, seeds[:1])), 1
    while count < len(seeds):
        pool = _better_half(losses, pool, seeds[:count])
        count = min(2 * count, len(seeds))
        asked = [(place, seed) for place in pool for seed in seeds[:count] if seed not in losses[place]]
        if asked:
            return asked
        pool = [place for place in ranked(losses, seeds[:count]) if place in pool]
    step, arguments = pool[0]
    beside = [Place(place, arguments) for place in (step - 1, step + 1) if ladder.lowest <= place <= ladder.highest]
    return [(place, first) for place in beside if place not in losses]


def ranked(losses: Losses, seeds: Sequence[int]) -> list[Place]:
    """Candidates that have all of some seeds, from the least mean loss over them on; lower rates first where it is equal."""
    there = sorted(place for place, by in losses.items() if all(seed in by for seed in seeds))
    return sorted(there, key=lambda place: float(np.mean([losses[place][seed] for seed in seeds])))


def _steps(seen: Mapping[int, float], ladder: Ladder, start: int, stride: int) -> list[int]:
    """Steps to look at next, until the best one has a worse one directly on both sides; lower rates where all diverged."""

    def within(steps: Sequence[int]) -> list[int]:
        return [step for step in steps if ladder.lowest <= step <= ladder.highest and step not in seen]

    if not seen:
        return within(sorted({max(ladder.lowest, start - stride), start, min(ladder.highest, start + stride)}))
    best = min(seen, key=lambda step: (seen[step], step))
    while stride:
        below = not any(best - stride <= step < best for step in seen)
        above = not any(best < step <= best + stride for step in seen)
        lower, upper = max(ladder.lowest, best - stride), min(ladder.highest, best + stride)
        asked = within([lower] * below + [upper] * above)
        if asked:
            return asked
        stride //= 2
    return []


def _near_the_best(places: Sequence[Place]) -> list[Place]:
    """Of ranked candidates those beside the first with the same arguments; the rest were the way to it."""
    best: dict[int, int] = {}
    for place in places:
        best.setdefault(place.arguments, place.step)
    return [place for place in places if abs(place.step - best[place.arguments]) <= _BESIDE]


def _better_half(losses: Losses, pool: Sequence[Place], seeds: Sequence[int]) -> list[Place]:
    """The better half of a ranked pool, two at least, without those that are surely worse than the first."""
    best, *others = pool[: max(1 if len(seeds) >= _MANY else 2, -(-len(pool) // 2))]
    return [best, *(place for place in others if not _surely_worse(losses[place], losses[best], seeds))]


def _surely_worse(other: Mapping[int, float], best: Mapping[int, float], seeds: Sequence[int]) -> bool:
    difference = [other[seed] - best[seed] for seed in seeds]
    if len(seeds) < _FEW or not all(map(math.isfinite, difference)):
        return len(seeds) >= _FEW and math.isinf(sum(other[seed] for seed in seeds))
    return float(np.mean(difference)) > half_width(difference)
