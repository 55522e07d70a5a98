"""A sweep: schemes x energy budgets x candidates x seeds.

Every run has a folder named after its configuration. All schemes meet the same data order, gains and noise per seed; a
candidate is a learning rate with arguments of the scheme's own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote_plus

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, assemble, build, call, component
from laser_wireless.benchmarks.entries import check_each, check_grid, check_some
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.candidates import (
    NOISELESS,
    Candidate,
    Scheme,
    build_compressor,
    candidates_of,
    check_grids,
    read_schemes,
)
from laser_wireless.benchmarks.training_run import RESULT_FORM, TrainingRun
from laser_wireless.benchmarks.value_words import shown
from laser_wireless.channels.parameters import checked

_LONGEST_NAME = 120  # characters of a scheme in the name of a folder, whose digest tells longer ones apart

Z_SGD = "z-sgd"
"""Name of the usual reference, the uncompressed scheme."""

AT_BEST = "_at_best_validation"
"""Ends the names of table.csv's columns that are of the round of least validation loss, not of the last one."""

METRICS = {"loss": False, "perplexity": False, "accuracy": True}
"""Metric of the test part -> whether higher is better."""


@dataclass(frozen=True, kw_only=True)
@checked
class Sweep:
    """What to compare.

    Args:
        task: what is learned.
        uplink: the channel; its energy budget is set by the sweep.
        schemes: a list of names such as [laser, z-sgd], or names -> compressors, or names -> {compressor, uplink, task},
            where uplink and task, if given, hold the arguments in which those of the scheme differ from the sweep's: task:
            {momentum: 0} for one whose devices keep momentum themselves. local, weights and optimizer may stand there as
            well, in place of the sweep's. The noiseless line is the sweep's.
        energy_budgets: P, energy per device and round, ascending.
        learning_rates: the grid, ascending; or a grid for each scheme, of equal lengths, "default" serving the others.
            Each scheme takes, at each budget, the candidate with the least mean validation loss.
        seeds: of the runs; schemes are compared seed by seed.
        tune: scheme -> argument of its compressor -> values to choose among, such as {laser: {rank: [2, 4, 8]}}; every
            combination, with every learning rate, is a candidate.
        downlink: how the model reaches the devices; without noise if None. The noiseless line never has one.
        local: steps of the devices on their own before they send; None sends gradients.
        weights: of the devices in the mean, "equal" or by the "samples" that they hold.
        optimizer: of the base station; the task's own if None.
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
    local: Spec | None = None
    weights: Literal["equal", "samples"] = "equal"
    optimizer: Any = None
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

    def cost(self, value: float) -> float:
        """A value of the metric with the sign that makes lower better."""
        return -value if self.higher_is_better else value

    @property
    def result_suffix(self) -> str:
        """Of table.csv's columns by which the sweep compares."""
        return "" if self.result == "last" else AT_BEST

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
    task = component(content.pop("task"), "task")
    if not isinstance(task, dict):
        raise BadConfiguration(f"task must be one component, such as Digits, got {shown(task)}")
    inner = {"schemes": read_schemes(content.pop("schemes"), uplink, task), "task": task, "uplink": uplink}
    for name in ("downlink", "local", "optimizer"):
        if name in content:
            inner[name] = component(content.pop(name), name)
    sweep: Sweep = call(Sweep, {**content, **inner}, "")
    return sweep


def sweep_from(content: Spec) -> Sweep:
    """Read the plain content of a YAML file and check that each of its schemes can be built.

    Raises:
        BadConfiguration: misspelt keys, unknown names, values out of range.
    """
    sweep = read_sweep(content)
    run_from(next(cells(sweep, NOISELESS)).spec)  # whose task may be no scheme's
    for scheme in sweep.schemes:
        seen = []
        for cell in cells(sweep, scheme):
            if cell.candidate.arguments not in seen:  # refuse now what would fail in every run
                build_compressor(cell.spec["compressor"], scheme)
                for name in ("uplink", "task"):
                    if getattr(sweep.schemes[scheme], name) != getattr(sweep, name):
                        build(cell.spec[name], f"schemes.{scheme}.{name}")
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
    entry = scheme_of(sweep, scheme)
    uplink = deepcopy(entry.uplink)
    schedule = uplink["init_args"].get("energy_budget")
    if isinstance(schedule, dict):
        schedule["init_args"]["energy_budget"] = energy_budget
    else:
        uplink["init_args"]["energy_budget"] = energy_budget
    training = {"local": sweep.local, "weights": sweep.weights, "optimizer": sweep.optimizer} | entry.training
    spec = {
        **({} if sweep.downlink is None or scheme == NOISELESS else {"downlink": sweep.downlink}),
        **{name: value for name, value in training.items() if value not in (None, "equal")},
        "task": entry.task,
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


def scheme_of(sweep: Sweep, name: str) -> Scheme:
    """A scheme of the sweep, or "noiseless", which has the sweep's task."""
    if name != NOISELESS:
        return sweep.schemes[name]
    uplink = {"class_path": "laser_wireless.channels.AnalogUplink", "init_args": {"noise_variance": 0.0}}
    return Scheme(component("Uncompressed", ""), uplink, sweep.task)


def compressor_of(sweep: Sweep, scheme: str, arguments: str) -> Any:
    """The compressor of a scheme with the arguments that a candidate's label names."""
    spec = scheme_of(sweep, scheme).compressor
    for candidate in sweep.candidates(scheme):
        if candidate.label == arguments:
            return build(_with_arguments(spec, candidate.arguments), f"schemes.{scheme}")
    raise ValueError(f"scheme {scheme!r} has no candidate with the arguments {arguments!r}")


def _with_arguments(compressor: Spec, arguments: Mapping[str, Any]) -> Spec:
    return {**compressor, "init_args": {**compressor["init_args"], **arguments}}
