"""A sweep: schemes x energy budgets x candidates x seeds, in parallel processes, resumable at any moment.

Every run has a folder named after its configuration; what is done is never computed again, and what was cut off goes on
from its checkpoint. All schemes meet the same data order, gains and noise per seed; a candidate is a learning rate with
arguments of the scheme's own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote_plus

import torch

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, assemble, build, call, component
from laser_wireless.benchmarks.callback_options import build_callbacks
from laser_wireless.benchmarks.entries import check_each, check_grid, check_some
from laser_wireless.benchmarks.failures import Failed, traceback_in
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.run_folder import say
from laser_wireless.benchmarks.side_by_side import Member, train_together
from laser_wireless.benchmarks.sweeps.candidates import (
    NOISELESS,
    Candidate,
    Scheme,
    build_compressor,
    candidates_of,
    check_grids,
    read_schemes,
)
from laser_wireless.benchmarks.sweeps.claims import Taken, claimed
from laser_wireless.benchmarks.sweeps.engines.contract import Engine
from laser_wireless.benchmarks.sweeps.engines.local import LOCAL, Local
from laser_wireless.benchmarks.sweeps.live_view import LiveView
from laser_wireless.benchmarks.sweeps.others import RunsOfOthers
from laser_wireless.benchmarks.sweeps.processes import Ended
from laser_wireless.benchmarks.training_run import RESULT_FORM, Device, RunInFolder, TrainingRun, torch_device, train
from laser_wireless.benchmarks.value_words import shown
from laser_wireless.channels.parameters import checked

_TOGETHER = {"cpu": 20, "cuda": 256}  # runs that a process is given at a time; it may compute fewer of them at once
_LONGEST_NAME = 120  # characters of a scheme in the name of a folder, whose digest tells longer ones apart

Z_SGD = "z-sgd"
"""Name of the usual reference, the uncompressed scheme."""

METRICS = {"loss": False, "perplexity": False, "accuracy": True}
"""Metric of the test part -> whether higher is better."""


@dataclass(frozen=True, kw_only=True)
@checked
class Sweep:
    """What to compare.

    Args:
        task: what is learned.
        uplink: the channel; its energy budget is set by the sweep.
        schemes: a list of names such as [laser, z-sgd], or names -> compressors, or names -> {compressor, uplink}, where
            uplink holds the arguments in which the scheme's uplink differs from the sweep's.
        energy_budgets: P, energy per device and round, ascending.
        learning_rates: the grid, ascending; or a grid for each scheme, of equal lengths, "default" serving the others.
            Each scheme takes, at each budget, the candidate with the least mean validation loss.
        seeds: of the runs; schemes are compared seed by seed.
        tune: scheme -> argument of its compressor -> values to choose among, such as {laser: {rank: [2, 4, 8]}}; every
            combination, with every learning rate, is a candidate.
        downlink: how the model reaches the devices; without noise if None. The noiseless line never has one.
        num_devices: K.
        num_rounds: of each run.
        evaluate_every: rounds between looks at the validation part.
        checkpoint_seconds: seconds between checkpoints of a run.
        metric: of the test part, by which power is compared: "loss", "accuracy" or "perplexity".
        result: "last" judges a run by its last round; "best" by the round of least validation loss among those evaluated,
            for the choice of candidates as well as for the test metric. Both stand in the table.
        targets: values of the metric for which the needed power is asked; chosen from the curves if empty.
        reference: scheme against which savings are counted; if empty "z-sgd" where that is one of them, else the last one.
    """

    task: Spec
    uplink: Spec
    schemes: dict[str, Scheme]
    energy_budgets: list[float]
    learning_rates: list[float] | dict[str, list[float]]
    seeds: list[int]
    tune: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    downlink: Spec | None = None
    num_devices: int = 16
    num_rounds: int = 240
    evaluate_every: int = 40
    checkpoint_seconds: float = 20.0
    metric: str = "loss"
    result: Literal["last", "best"] = "last"
    targets: list[float] | None = None
    reference: str = ""

    def __post_init__(self) -> None:
        check_some("schemes", list(self.schemes))
        check_some("seeds", self.seeds)
        check_each("seeds", self.seeds, "an integer >= 0", lambda seed: seed >= 0)
        check_grid("energy_budgets", self.energy_budgets)
        check_grids(self.learning_rates, self.tune, self.schemes)
        for name, least in (("num_devices", 1), ("num_rounds", 1), ("evaluate_every", 1), ("checkpoint_seconds", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        check_each("targets", self.targets or [], "finite", math.isfinite)
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {self.metric!r}")
        if self.reference and self.reference not in self.schemes:
            raise ValueError(f"reference must be one of the schemes {list(self.schemes)}, got {self.reference!r}")

    @property
    def baseline(self) -> str:
        """Scheme against which savings are counted."""
        return self.reference or (Z_SGD if Z_SGD in self.schemes else list(self.schemes)[-1])

    @property
    def higher_is_better(self) -> bool:
        """Direction of the metric."""
        return METRICS[self.metric]

    def candidates(self, scheme: str) -> list[Candidate]:
        """What a scheme may choose among."""
        return candidates_of(self.learning_rates, self.tune, scheme)


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: where it stands in the comparison, and its configuration."""

    scheme: str
    energy_budget: float
    candidate: Candidate
    seed: int
    spec: Spec

    @property
    def kind(self) -> str:
        """What runs that are computed together have in common."""
        uplink = deepcopy(self.spec["uplink"])
        uplink["init_args"].pop("energy_budget", None)
        free = {"learning_rate": None, "seed": None, "uplink": uplink}
        return json.dumps({**self.spec, **free}, sort_keys=True)

    def folder(self, root: Path) -> Path:
        """The run's folder, named after what determines its result and its form."""
        scheme = f"{self.scheme} {self.candidate.label}".strip()
        key = {**self.spec, "checkpoint_seconds": None, "form": RESULT_FORM, "scheme": scheme}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:10]
        written = quote_plus(scheme, safe="=")[:_LONGEST_NAME]  # one to one: "a b" is a+b, "a_b" and "a=b" stay
        name = f"{written}-P{self.energy_budget:g}-lr{self.candidate.learning_rate:g}-seed{self.seed}-{digest}"
        return root / "runs" / name


def known_of(cell: Cell, root: Path) -> Row:
    """By what a run is known in its sweep: the first columns of all its rows."""
    return {
        "run": cell.folder(root).name,
        "scheme": cell.scheme,
        "energy_budget": cell.energy_budget,
        "learning_rate": cell.candidate.learning_rate,
        "arguments": cell.candidate.label,
        "seed": cell.seed,
    }


BESIDE = ("published", "figure", "search")
"""What the YAML file of a sweep may hold beside the arguments of `Sweep`."""


def sweep_alone(content: Spec) -> Spec:
    """What a YAML file says of the sweep itself."""
    return {name: entry for name, entry in content.items() if name not in BESIDE}


def read_sweep(content: Spec) -> Sweep:
    """Bring the components of a YAML file's plain content into their full form; none of them is built.

    Raises:
        BadConfiguration: misspelt keys, unknown names, values out of range.
    """
    content = deepcopy(content)
    for name in ("task", "uplink", "schemes"):
        if name not in content:
            raise BadConfiguration(
                f"a sweep needs {name!r}; it has {', '.join(content) or 'nothing'}: name a YAML file or a preset, "
                "such as laser sweep digits"
            )
    uplink = component(content.pop("uplink"), "uplink")
    if not isinstance(uplink, dict):
        raise BadConfiguration(f"uplink must be one component, such as AnalogUplink, got {shown(uplink)}")
    if not isinstance(uplink["init_args"].get("energy_budget", {}), dict):
        raise BadConfiguration("uplink.energy_budget is set by the sweep: give --energy_budgets '[1, 4, 16]' instead")
    inner = {
        "schemes": read_schemes(content.pop("schemes"), uplink),
        "task": component(content.pop("task"), "task"),
        "uplink": uplink,
    }
    if "downlink" in content:
        inner["downlink"] = component(content.pop("downlink"), "downlink")
    sweep: Sweep = call(Sweep, {**content, **inner}, "")
    return sweep


def sweep_from(content: Spec) -> Sweep:
    """Read the plain content of a YAML file and check that each of its schemes can be built.

    Raises:
        BadConfiguration: misspelt keys, unknown names, values out of range.
    """
    sweep = read_sweep(content)
    for scheme in sweep.schemes:
        seen = []
        for cell in cells(sweep, scheme):
            if cell.candidate.arguments not in seen:  # refuse now what would fail in every run
                build_compressor(cell.spec["compressor"], scheme)
                if sweep.schemes[scheme].uplink != sweep.uplink:
                    build(cell.spec["uplink"], f"schemes.{scheme}.uplink")
                run_from(cell.spec)
                seen.append(cell.candidate.arguments)
    return sweep


def run_from(spec: Spec) -> TrainingRun:
    """Build a run from its plain configuration."""
    run: TrainingRun = assemble(TrainingRun, spec, "")
    return run


def cells(sweep: Sweep, scheme: str) -> Iterator[Cell]:
    """All runs of a scheme of the sweep; "noiseless" is uncompressed, without noise and at one budget."""
    for budget in sweep.energy_budgets[-1:] if scheme == NOISELESS else sweep.energy_budgets:
        for candidate in sweep.candidates(scheme):
            for seed in sweep.seeds:
                yield cell_of(sweep, scheme, budget, candidate, seed)


def cell_of(sweep: Sweep, scheme: str, energy_budget: float, candidate: Candidate, seed: int) -> Cell:
    """One run of a scheme of the sweep, or of "noiseless"."""
    if scheme == NOISELESS:
        noiseless = {"class_path": "laser_wireless.channels.AnalogUplink", "init_args": {"noise_variance": 0.0}}
        entry = Scheme(component("Uncompressed", ""), noiseless)
    else:
        entry = sweep.schemes[scheme]
    uplink = deepcopy(entry.uplink)
    schedule = uplink["init_args"].get("energy_budget")
    if isinstance(schedule, dict):
        schedule["init_args"]["energy_budget"] = energy_budget
    else:
        uplink["init_args"]["energy_budget"] = energy_budget
    spec = {
        **({} if sweep.downlink is None or scheme == NOISELESS else {"downlink": sweep.downlink}),
        "task": sweep.task,
        "compressor": _with_arguments(entry.compressor, candidate.arguments),
        "uplink": uplink,
        "num_devices": sweep.num_devices,
        "num_rounds": sweep.num_rounds,
        "learning_rate": candidate.learning_rate,
        "seed": seed,
        "evaluate_every": sweep.evaluate_every,
        "checkpoint_seconds": sweep.checkpoint_seconds,
    }
    return Cell(scheme, energy_budget, candidate, seed, spec)


def compressor_of(sweep: Sweep, scheme: str, arguments: str) -> Any:
    """The compressor of a scheme with the arguments that a candidate's label names."""
    spec = sweep.schemes[scheme].compressor if scheme in sweep.schemes else component("Uncompressed", "")
    for candidate in sweep.candidates(scheme):
        if candidate.label == arguments:
            return build(_with_arguments(spec, candidate.arguments), f"schemes.{scheme}")
    raise ValueError(f"scheme {scheme!r} has no candidate with the arguments {arguments!r}")


def _with_arguments(compressor: Spec, arguments: Mapping[str, Any]) -> Spec:
    return {**compressor, "init_args": {**compressor["init_args"], **arguments}}


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
