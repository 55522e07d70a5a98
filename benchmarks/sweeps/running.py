"""How the runs of a sweep are computed: in companies, by an engine, each once, whatever dies meanwhile.

Runs that differ in seed, budget and rate alone are a company: a process computes them side by side. What is done is read,
what was cut off goes on from its checkpoint, and what another sweep in the same folder is at is taken from disk in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec
from laser_wireless.benchmarks.callback_options import build_callbacks
from laser_wireless.benchmarks.failures import Failed, traceback_in
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.run_folder import say
from laser_wireless.benchmarks.side_by_side import Member, train_together
from laser_wireless.benchmarks.sweeps.candidates import NOISELESS
from laser_wireless.benchmarks.sweeps.claims import Taken, claimed
from laser_wireless.benchmarks.sweeps.engines.contract import Engine
from laser_wireless.benchmarks.sweeps.engines.local import LOCAL, Local
from laser_wireless.benchmarks.sweeps.live_view import LiveView
from laser_wireless.benchmarks.sweeps.others import RunsOfOthers
from laser_wireless.benchmarks.sweeps.processes import Ended
from laser_wireless.benchmarks.sweeps.sweep import Cell, Sweep, cells, known_of, run_from
from laser_wireless.benchmarks.training_run import Device, RunInFolder, torch_device, train

_TOGETHER = {"cpu": 20, "cuda": 256}  # runs that a process is given at a time; it may compute fewer of them at once


def run_sweep(
    sweep: Sweep, root: Path, *, device: Device, jobs: int, engine: Engine = LOCAL, callbacks: Sequence[Spec] = ()
) -> list[Row]:
    """Run what is not done yet and return one row per run; see `run_cells`."""
    todo = [cell for scheme in (*sweep.schemes, NOISELESS) for cell in cells(sweep, scheme)]
    with LiveView(result=sweep.result) as view:
        return run_cells(todo, root, device=device, jobs=jobs, view=view, engine=engine, callbacks=callbacks)


def run_cells(
    todo: Sequence[Cell],
    root: Path,
    *,
    device: Device,
    jobs: int,
    view: LiveView,
    engine: Engine = LOCAL,
    callbacks: Sequence[Spec] = (),
) -> list[Row]:
    """Run those of some runs that are not done yet.

    Several sweeps in one folder at the same time, of this machine or of several, share the runs: none is computed twice.

    Args:
        todo: the runs.
        root: folder of the sweep.
        device: where each run computes.
        jobs: processes at a time; 0 for one per core (one in all on a GPU), or as many as the engine says.
        view: shows how far it is.
        engine: which computes the runs.
        callbacks: specs of those that are told what a run records; made for each run, where it is computed.

    Returns:
        rows with run (its folder's name), scheme, energy_budget, learning_rate, arguments ("rank=4"; empty if none were
        tuned), seed and the run's result; status "failed" with a reason where a run raised an error (the others go on).
    """
    jobs = at_a_time(engine, jobs, place_of(engine, device))
    (root / "runs").mkdir(parents=True, exist_ok=True)
    _said.clear()
    known = [known_of(cell, root) for cell in todo]
    was_done = view.begin(known, [cell.folder(root) for cell in todo])
    order = sorted(range(len(todo)), key=lambda number: not was_done[number])
    given = _Order([todo[n] for n in order], root, _How(device, callbacks), engine, jobs, view.now_and_then)
    results: dict[int, Row] = {}
    for place, row in _outcomes(given):
        results[order[place]] = row
        view.took(order[place], row)
        view.now_and_then()
    view.now()
    return [{**known[number], **results[number]} for number in range(len(todo))]


def at_a_time(engine: Engine, jobs: int, place: torch.device) -> int:
    """How many companies of runs an engine computes at a time.

    Raises:
        ValueError: a negative number.
    """
    if jobs < 0:
        raise ValueError(f"jobs must be >= 0 (0: one per core), got {jobs}")
    return engine.at_a_time(jobs, place)


def place_of(engine: Engine, device: Device) -> torch.device:
    """On what the runs compute: "auto" is a GPU if this machine has one, where it is this machine that computes.

    Raises:
        ValueError: "cuda" without a GPU, likewise.
    """
    return torch_device(device) if engine.is_here else torch.device("cuda" if device == "cuda" else "cpu")


class _How(NamedTuple):
    """How runs are computed: on which device, and who is told what they record."""

    device: Device
    callbacks: Sequence[Spec]


class _Order(NamedTuple):
    """What is to be computed: the runs, their sweep's folder, how, by whom, so many companies at a time."""

    todo: list[Cell]
    root: Path
    how: _How
    engine: Engine
    jobs: int
    tick: Callable[[], None]

    def in_companies(self, numbers: Sequence[int]) -> list[list[int]]:
        """Runs as they are given out."""
        place = place_of(self.engine, self.how.device)
        found = companies([self.todo[number] for number in numbers], place, self.jobs)
        return [[numbers[n] for n in company] for company in found]


def _outcomes(order: _Order) -> Iterator[tuple[int, Row]]:
    """The rows of all runs by their number, as they are done; a run whose process ended is a failed one.

    Runs are computed side by side; where a process ended amid several of them, each gets one of its own, so that it is
    known which of them ended it. Runs that another sweep in this folder is at come last, from disk.
    """
    others = RunsOfOthers([cell.folder(order.root) for cell in order.todo])
    some = order.in_companies(range(len(order.todo)))
    while some:
        alone: list[list[int]] = []
        if not isinstance(order.engine, Local):
            stored = dict(_stored(order, [number for numbers in some for number in numbers], others))
            yield from ((number, row) for number, row in stored.items() if row is not None)
            some = [left for numbers in some if (left := [number for number in numbers if number not in stored])]
        for numbers, outcome in _tried(order, some, others.abandoned):
            if not isinstance(outcome, Ended):
                for number, row in zip(numbers, outcome, strict=True):
                    if isinstance(row, Taken):
                        others.put_off(number)
                    else:
                        yield number, row
            elif len(numbers) > 1:
                alone.extend([number] for number in numbers)
            else:
                folder = order.todo[numbers[0]].folder(order.root)
                yield numbers[0], {"status": "failed", "reason": f"{outcome}; the run is {folder}"}
        some = alone or order.in_companies(others.wait(order.tick))


def _tried(
    order: _Order, some: list[list[int]], abandoned: frozenset[str]
) -> Iterator[tuple[list[int], list[Row | Taken] | Ended]]:
    """What comes of companies of runs that the engine is given, or that one process of this machine computes: this one."""
    cells = [[order.todo[number] for number in numbers] for numbers in some]
    if order.jobs == 1 and isinstance(order.engine, Local):
        for numbers, company in zip(some, cells, strict=True):
            yield numbers, _execute(company, order.root, order.how, abandoned, order.tick)
        return
    works = [partial(_execute_in_a_process, company, order.root, order.how, abandoned) for company in cells]
    for place, outcome in order.engine.do(works, jobs=order.jobs, folder=order.root, tick=order.tick):
        yield some[place], outcome


def _stored(order: _Order, numbers: list[int], others: RunsOfOthers) -> Iterator[tuple[int, Row | None]]:
    """Runs that need no engine: the result on disk, or None for those that another sweep is at, which are put off."""
    for number in numbers:
        folder, spec = order.todo[number].folder(order.root), order.todo[number].spec
        if others.is_at(number):
            others.put_off(number)
            yield number, None
        elif (folder / "result.json").exists():
            with claimed([folder]) as (taken,), suppress(Exception):  # an error is found again by the engine
                quiet: dict[str, Any] = {"device": torch.device("cpu"), "tell": lambda line: None}
                found = None if taken else RunInFolder(run_from(spec), folder, spec=spec, **quiet).result
                if found is not None:
                    yield number, found


def companies(todo: list[Cell], place: torch.device, jobs: int) -> list[list[int]]:
    """Numbers of the runs that are given to a process together: those that differ in seed, budget and rate alone."""
    alike: dict[str, list[int]] = {}
    for number, cell in enumerate(todo):
        alike.setdefault(cell.kind, []).append(number)
    found = []
    for numbers in alike.values():
        count = max(-(-len(numbers) // _TOGETHER[place.type]), min(jobs, len(numbers)))
        found += [numbers[i::count] for i in range(count)]
    return found


def _execute_in_a_process(cells: list[Cell], root: Path, how: _How, abandoned: frozenset[str]) -> list[Row | Taken]:
    """Run cells in a process that shares the cores with others."""
    torch.set_num_threads(1)
    return _execute(cells, root, how, abandoned)


def _execute(
    cells: list[Cell],
    root: Path,
    how: _How,
    abandoned: frozenset[str] = frozenset(),
    tick: Callable[[], None] = lambda: None,
) -> list[Row | Taken]:
    """Run those cells that no other process is at, which are claimed meanwhile."""
    with claimed([cell.folder(root) for cell in cells], abandoned) as taken:
        ours = [cell for cell, other in zip(cells, taken, strict=True) if other is None]
        rows = iter(_execute_together(ours, root, how, tick))
        return [next(rows) if other is None else other for other in taken]


def _execute_together(cells: list[Cell], root: Path, how: _How, tick: Callable[[], None]) -> list[Row]:
    """Run cells side by side; if an error ends that, one after the other, so that each has its own row."""
    if len(cells) > 1:
        try:
            for cell in cells:
                cell.folder(root).mkdir(exist_ok=True)
            members = [_member(cell, root, how) for cell in cells]
            tell = partial(_say_once, root)
            return train_together(members, device=torch_device(how.device), tick=tick, tell=tell)
        except (Exception, SystemExit) as error:  # found again below, by the run that it is of
            _say_once(root, f"runs are trained one by one after {type(error).__name__}: {error}")
    return [_execute_alone(cell, root, how, tick) for cell in cells]


def _member(cell: Cell, root: Path, how: _How) -> Member:
    return Member(run_from(cell.spec), cell.folder(root), cell.spec, build_callbacks(how.callbacks))


def _execute_alone(cell: Cell, root: Path, how: _How, tick: Callable[[], None]) -> Row:
    """Run one cell; whatever error it raises is a row too."""
    folder = cell.folder(root)
    try:
        with traceback_in(folder):
            folder.mkdir(exist_ok=True)
            member, where = _member(cell, root, how), torch_device(how.device)
            options: dict[str, Any] = {"spec": cell.spec, "callbacks": member.callbacks, "tell": partial(_say_once, root)}
            return train(member.run, folder, device=where, progress=lambda round, row: tick(), **options)
    except (Failed, BadConfiguration) as error:
        return {"status": "failed", "reason": str(error)}


_said: set[tuple[Path, str]] = set()


def _say_once(root: Path, text: str) -> None:
    """Tell the user what holds for many runs of a sweep once in a process."""
    if (root, text) not in _said:
        _said.add((root, text))
        say(text)
