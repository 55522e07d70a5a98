"""An adaptive sweep: the power that each scheme needs for each target, to a stated width, with far fewer runs than a grid.

In turns, for all schemes at once: candidates at a budget by `race`; budgets by bisection in dB, between the two that a
target lies between; then more seeds at the budgets around the widest intervals. Every step follows from the results so far,
so that a search that is cut off goes on where it was, and comes to the same end.

search.csv  the runs, with the step in which each was asked for
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, call
from laser_wireless.benchmarks.records import Row, read_csv, write_csv
from laser_wireless.benchmarks.sweeps.candidates import NOISELESS, Candidate, combinations_of, grid_of
from laser_wireless.benchmarks.sweeps.choices import Point, choose, judged
from laser_wireless.benchmarks.sweeps.engines.contract import Engine
from laser_wireless.benchmarks.sweeps.engines.local import LOCAL, resident
from laser_wireless.benchmarks.sweeps.live_view import LiveView
from laser_wireless.benchmarks.sweeps.race import Ladder, Place, next_runs, ranked
from laser_wireless.benchmarks.sweeps.required_power import Curve, NeededPower
from laser_wireless.benchmarks.sweeps.running import run_cells
from laser_wireless.benchmarks.sweeps.savings import saving_of, targets_of
from laser_wireless.benchmarks.sweeps.seed_draws import SeedDraws
from laser_wireless.benchmarks.sweeps.sweep import Cell, Sweep, cell_of, known_of
from laser_wireless.benchmarks.training_run import Device
from laser_wireless.benchmarks.value_words import shown
from laser_wireless.channels.parameters import checked

_FILE = "search.csv"
_FAR, _NEAR = 3, 2  # strides over learning rates: at a scheme's first budgets, and beside one that is known
_SCOUTS = 2  # seeds while budgets are sought
_MARGIN = 1.1  # more seeds than the width asks for, so that it is met at the first try
_UNSURE = 3.0  # over the seeds: share by which a width is taken for wider, lest a search end where it only seems narrow
_ALIKE = 0.7  # of the widest interval: these are narrowed together


_Curves = dict[str, Curve]
_Needed = dict[tuple[str, float], NeededPower]
"""By scheme and target."""


@dataclass(frozen=True, kw_only=True)
@checked
class Search:
    """How far to search.

    Args:
        width_db: of the 95 % intervals of the savings, at which the search ends.
        max_runs: at which it ends in any case.
        resolution_db: distance of the two budgets around a needed power, at most; a factor of four is 6.02 dB.
        max_seeds: of a candidate at a budget.
        every_budget: settle all budgets of the sweep, for whole curves, instead of those around needed powers.
        fixed_rates: choose among the learning rates of the sweep alone, instead of going beyond where they end.
    """

    width_db: float = 1.0
    max_runs: int = 2000
    resolution_db: float = 6.5
    max_seeds: int = 64
    every_budget: bool = False
    fixed_rates: bool = False

    def __post_init__(self) -> None:
        for name in ("width_db", "max_runs", "resolution_db", "max_seeds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")


def read_search(value: Any) -> Search | None:
    """Read the `search` of a YAML file; None if there is none.

    Raises:
        BadConfiguration: no mapping, or arguments that `Search` does not take.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadConfiguration(f"search must be a mapping, such as {{width_db: 1}}, got {shown(value)}")
    found: Search = call(Search, value, "search")
    return found


class Found(NamedTuple):
    """What a search found: the sweep with its targets, the rows of its runs, and how it ended."""

    sweep: Sweep
    rows: list[Row]
    remark: str


class Node(NamedTuple):
    """A scheme at a budget."""

    scheme: str
    energy_budget: float

    @property
    def power_db(self) -> float:
        """The budget in dB."""
        return 10 * math.log10(self.energy_budget)


def searched_runs(root: Path) -> list[Row] | None:
    """What a search in a folder asked for so far, in the columns of `known_of`; None if there was none."""
    file = root / _FILE
    return [{**row, "arguments": str(row["arguments"])} for row in read_csv(file)] if file.exists() else None


def search_sweep(
    sweep: Sweep,
    search: Search,
    root: Path,
    *,
    device: Device,
    jobs: int,
    engine: Engine = LOCAL,
    callbacks: Sequence[Spec] = (),
) -> Found:
    """Search; what is done already is read.

    Args:
        sweep: what to compare: its budgets' ends bound the powers, its rates are where the search for them begins, its seeds
            are what each number has at least.
        search: how far.
        root: folder of the sweep.
        device: where each run computes.
        jobs: processes at a time; 0 for one per core (one in all on a GPU), or as many as the engine says.
        engine: which computes the runs.
        callbacks: see `run_cells`.

    Raises:
        BadConfiguration: fewer runs than those of the first step.
    """
    state, asked_for = SearchState(sweep, search), list[Row]()
    with resident(engine) as processes, LiveView(result=sweep.result) as view:
        while asked := state.next_cells():
            if len(state.rows) + len(asked) > search.max_runs:
                if not state.rows:
                    raise BadConfiguration(
                        f"search.max_runs must be at least {len(asked)}, the runs of the first step, got {search.max_runs}"
                    )
                remark = f"ended at max_runs = {search.max_runs}: the next step would have taken {len(asked)} runs more"
                return Found(state.sweep, state.rows, f"{remark}; {state.widths()}")
            asked_for += [{"step": state.steps, **known_of(cell, root)} for cell in asked]
            write_csv(root / _FILE, asked_for)
            line = f"search, step {state.steps}: {len(state.rows)} runs done, {len(asked)} more"
            view.head(line, f"step {state.steps} of a search, {state.widest}")
            where: dict[str, Any] = {"device": device, "jobs": jobs, "engine": processes, "callbacks": callbacks}
            state.take(asked, run_cells(asked, root, view=view, **where))
    return Found(state.sweep, state.rows, state.widths())


class SearchState:
    """What is known, and how many seeds are wanted where.

    Args:
        sweep: see `search_sweep`; gets targets where it has none, once all schemes' first budgets are known.
        search: how far to search.
    """

    def __init__(self, sweep: Sweep, search: Search) -> None:
        self.sweep, self.search = sweep, search
        self.rows: list[Row] = []
        self.steps = 0
        self.widest = self._widest({})
        self._done: dict[Node, dict[Place, dict[int, float]]] = {}
        self._lost: set[Node] = set()
        base = len(sweep.seeds)
        self._seeds = [*sweep.seeds, *range(max(sweep.seeds) + 1, max(sweep.seeds) + 1 + search.max_seeds)]
        self._most = max(base, search.max_seeds)
        ends = (sweep.energy_budgets[0], sweep.energy_budgets[-1])
        self._wanted = {Node(scheme, budget): min(_SCOUTS, base) for budget in ends for scheme in sweep.schemes}
        if search.every_budget:
            self._wanted = {Node(scheme, budget): base for budget in sweep.energy_budgets for scheme in sweep.schemes}
        self._wanted[Node(NOISELESS, ends[1])] = base
        self._starts: dict[Node, tuple[int, int]] = {}
        self._has_targets = bool(sweep.targets)

    def next_cells(self) -> list[Cell]:
        """The runs of the next step; none if the search is over."""
        while True:
            asked = [cell for node in sorted(self._wanted) for cell in self._cells_at(node)]
            if asked or not self._want_more():
                return asked

    def take(self, asked: Sequence[Cell], rows: Sequence[Row]) -> None:
        """Take up the results of a step."""
        self.steps += 1
        self.rows += rows
        for cell, row in zip(asked, rows, strict=True):
            node = Node(cell.scheme, cell.energy_budget)
            if row["status"] == "failed":
                self._lost.add(node)
                continue
            loss = judged(row, self.sweep.result)["validation"]["loss"]
            self._done.setdefault(node, {}).setdefault(self._place(cell), {})[cell.seed] = loss

    def _cells_at(self, node: Node) -> list[Cell]:
        """What a node needs next to have as many seeds as are wanted."""
        if node in self._lost:  # runs failed: nothing can be concluded here
            return []
        ladder, combinations = self._ladder(node.scheme), combinations_of(self.sweep.tune, node.scheme)
        if node not in self._starts:
            self._starts[node] = self._start(node)
        start, stride = self._starts[node]
        asked = next_runs(
            self._done.get(node, {}),
            ladder,
            num_arguments=len(combinations),
            start=start,
            stride=stride,
            seeds=self._seeds[: self._wanted[node]],
        )
        return [
            cell_of(self.sweep, *node, Candidate(ladder.rate(place.step), combinations[place.arguments]), seed)
            for place, seed in asked
        ]

    def _place(self, cell: Cell) -> Place:
        ladder, combinations = self._ladder(cell.scheme), combinations_of(self.sweep.tune, cell.scheme)
        steps = range(ladder.lowest, ladder.highest + 1)
        step = next(step for step in steps if ladder.rate(step) == cell.candidate.learning_rate)
        return Place(step, combinations.index(dict(cell.candidate.arguments)))

    def _ladder(self, scheme: str) -> Ladder:
        return Ladder.of(grid_of(self.sweep.learning_rates, scheme), fixed=self.search.fixed_rates)

    def _start(self, node: Node) -> tuple[int, int]:
        """Where the descent over rates begins, and its stride: at the rate of the nearest budget that has one."""
        known = [other for other in self._done if other.scheme == node.scheme and self._done[other]]
        if not known:
            return (len(self._ladder(node.scheme).grid) - 1) // 2, _FAR
        nearest = min(known, key=lambda other: abs(other.power_db - node.power_db))
        losses = self._done[nearest]
        most = max(len(by) for by in losses.values())
        return ranked(losses, self._seeds[:most])[0].step, _NEAR

    # What is wanted next

    def _want_more(self) -> bool:
        """Want seeds at more budgets, or more of them; whether there was anything to want."""
        before = dict(self._wanted)
        curves, draws = self._curves()
        if not self._has_targets:
            targets = targets_of(self.sweep, {scheme: curve.points for scheme, curve in curves.items()})
            self.sweep, self._has_targets = replace(self.sweep, targets=targets), True
        needed = self._needed(curves)
        for want in (self._want_middles, self._want_base, lambda c, n: self._want_narrower(c, n, draws)):
            want(curves, needed)
            if self._wanted != before:
                return True
        return False

    def _needed(self, curves: _Curves) -> _Needed:
        questions = [(scheme, target) for target in self.sweep.targets or [] for scheme in self.sweep.schemes]
        return {(scheme, target): curves[scheme].needed(self.sweep.cost(target)) for scheme, target in questions}

    def _curves(self) -> tuple[dict[str, Curve], SeedDraws]:
        points = choose(self.sweep, self.rows)
        draws = SeedDraws(sorted({row["seed"] for row in self.rows}))
        return {scheme: Curve(points[scheme], draws) for scheme in self.sweep.schemes}, draws

    def _want(self, node: Node, count: int) -> None:
        self._wanted[node] = max(self._wanted.get(node, 0), min(count, self._most))

    def _want_middles(self, curves: _Curves, needed: _Needed) -> None:
        """Bisection: a budget between the two around each needed power, while they are far apart."""
        for (scheme, _), power in needed.items():
            for low, high in pairwise(curves[scheme].known):
                if low.power_db <= power.value <= high.power_db and (middle := self._middle(low, high)):
                    self._want(Node(scheme, middle), min(_SCOUTS, len(self.sweep.seeds)))

    def _middle(self, low: Point, high: Point) -> float | None:
        """The budget that halves an interval, one of the sweep's own where there are any; None if it is short."""
        if high.power_db - low.power_db <= self.search.resolution_db:
            return None
        middle = math.sqrt(low.energy_budget * high.energy_budget)
        own = [budget for budget in self.sweep.energy_budgets if low.energy_budget < budget < high.energy_budget]
        return min(own, key=lambda budget: abs(math.log(budget / middle))) if own else float(f"{middle:.3g}")

    def _want_base(self, curves: _Curves, needed: _Needed) -> None:
        """The sweep's own number of seeds at all budgets around each interval."""
        for (scheme, _), power in needed.items():
            for point in _around(curves[scheme].known, power):
                self._want(Node(scheme, point.energy_budget), len(self.sweep.seeds))

    def _want_narrower(self, curves: _Curves, needed: _Needed, draws: SeedDraws) -> None:
        """More seeds around the widest intervals, as many as should make them narrow enough, twice as many at most."""
        widths = self._widths(needed, draws)
        self.widest = self._widest(widths)
        for scheme, target in widths:
            seeds = min(needed[name, target].num_seeds for name in (scheme, self.sweep.baseline))
            widths[scheme, target] *= 1 + _UNSURE / seeds
        wide = {key: width for key, width in widths.items() if width > self.search.width_db}
        most = max(wide.values(), default=0)
        for (scheme, target), width in wide.items():
            if width < _ALIKE * most and math.isfinite(most):
                continue
            factor = min(2.0, _MARGIN * (width / self.search.width_db) ** 2)
            for name in {scheme, self.sweep.baseline}:
                for point in _around(curves[name].known, needed[name, target]):
                    self._want(Node(name, point.energy_budget), math.ceil(factor * point.num_seeds))

    def _widths(self, needed: _Needed, draws: SeedDraws) -> dict[tuple[str, float], float]:
        """Of the savings' intervals, where the powers are numbers; of the power's own one where there is one scheme."""
        found = {}
        for (scheme, target), own in needed.items():
            other = needed[self.sweep.baseline, target]
            if not (math.isfinite(own.value) and math.isfinite(other.value)):
                continue
            if len(self.sweep.schemes) == 1:
                found[scheme, target] = _width(own.value, own.low, own.high)
            elif scheme != self.sweep.baseline:
                saving = saving_of(own, other, draws)
                found[scheme, target] = _width(saving.value, saving.low, saving.high)
        return {key: width for key, width in found.items() if not math.isnan(width)}

    # What is said

    def _widest(self, widths: Mapping[tuple[str, float], float]) -> str:
        """How wide the widest interval is."""
        found = _in_words(max(widths.values())) if widths else "not known yet"
        return f"widest interval: {found}, asked for: {self.search.width_db:g} dB"

    def widths(self) -> str:
        """How wide the intervals are."""
        curves, draws = self._curves()
        needed = self._needed(curves)
        widths = self._widths(needed, draws)
        wide = [
            f"{scheme} at {target:g} ({_in_words(width)})"
            for (scheme, target), width in widths.items()
            if width > self.search.width_db
        ]
        if not needed:
            return "no target yet"
        if not wide:
            return f"all {len(widths)} intervals are at most {self.search.width_db:g} dB wide"
        return f"wider than {self.search.width_db:g} dB: {', '.join(wide)}"


def _width(value: float, low: float, high: float) -> float:
    """Of an interval; twice its other half where one end is open, which the budgets are to blame for and not the seeds."""
    ends = [abs(value - end) for end in (low, high) if not math.isinf(end)]
    return sum(ends) * 2 / len(ends) if ends else math.inf


def _in_words(width: float) -> str:
    return f"{width:.2g} dB" if math.isfinite(width) else "open to both sides"


def _around(points: Sequence[Point], power: NeededPower) -> Iterable[Point]:
    """The budgets within an interval, and the next to each side."""
    if not math.isfinite(power.value):
        return []
    powers = [point.power_db for point in points]
    low = power.low if not math.isnan(power.low) else power.value
    high = power.high if not math.isnan(power.high) else power.value
    first = max((i for i, value in enumerate(powers) if value <= low), default=0)
    last = min((i for i, value in enumerate(powers) if value >= high), default=len(powers) - 1)
    return points[first : last + 1]
