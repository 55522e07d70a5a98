"""A sweep: schemes x energy budgets x learning rates x seeds, in parallel processes, resumable at any moment.

Every run has a folder named after its configuration; what is done is never computed again, and what was cut off goes on
from its checkpoint. All schemes meet the same data order, gains and noise per seed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed
from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, assemble, call, component
from laser_wireless.benchmarks.records import Row, write_json
from laser_wireless.benchmarks.training_run import Place, TrainingRun, torch_device, train
from tqdm import tqdm

NOISELESS = "noiseless"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What to compare.

    Args:
        task: what is learned.
        uplink: the channel; its energy budget is set by the sweep.
        schemes: names -> compressors, or a list of words such as [laser, z-sgd].
        energy_budgets: P, energy per device and round, ascending.
        learning_rates: the grid, the same for all schemes; each scheme takes, at each budget, the one with the least mean
            validation loss.
        seeds: of the runs; schemes are compared seed by seed.
        num_devices: K.
        num_rounds: of each run.
        evaluate_every: rounds between looks at the validation part.
        checkpoint_seconds: seconds between checkpoints of a run.
        metric: of the test part, by which power is compared; lower is better.
        targets: values of the metric for which the needed power is asked; chosen from the curves if empty.
        reference: scheme against which savings are counted; the last one if empty.
    """

    task: Spec
    uplink: Spec
    schemes: dict[str, Spec]
    energy_budgets: list[float]
    learning_rates: list[float]
    seeds: list[int]
    num_devices: int = 16
    num_rounds: int = 240
    evaluate_every: int = 40
    checkpoint_seconds: float = 20.0
    metric: str = "loss"
    targets: list[float] | None = None
    reference: str = ""

    def __post_init__(self) -> None:
        for name in ("schemes", "energy_budgets", "learning_rates", "seeds"):
            values = list(getattr(self, name))
            if not values or len(set(map(str, values))) != len(values):
                raise ValueError(f"{name} must hold at least one entry and none twice, got {values}")
        if min(self.energy_budgets) <= 0 or sorted(self.energy_budgets) != list(self.energy_budgets):
            raise ValueError(f"energy_budgets must be > 0 and ascending, got {self.energy_budgets}")
        if min(self.learning_rates) <= 0 or sorted(self.learning_rates) != list(self.learning_rates):
            raise ValueError(f"learning_rates must be > 0 and ascending, got {self.learning_rates}")
        if self.reference and self.reference not in self.schemes:
            raise ValueError(f"reference must be one of the schemes {list(self.schemes)}, got {self.reference!r}")
        if NOISELESS in self.schemes:
            raise ValueError(f"schemes must not use the name {NOISELESS!r}: the noiseless line is always drawn")

    @property
    def baseline(self) -> str:
        """Scheme against which savings are counted."""
        return self.reference or list(self.schemes)[-1]


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: where it stands in the comparison, and its configuration."""

    scheme: str
    energy_budget: float
    learning_rate: float
    seed: int
    spec: Spec

    def folder(self, root: Path) -> Path:
        """The run's folder, named after what determines its result."""
        key = json.dumps({**self.spec, "checkpoint_seconds": None}, sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()[:10]
        name = f"{self.scheme}-P{self.energy_budget:g}-lr{self.learning_rate:g}-seed{self.seed}-{digest}"
        return root / "runs" / "".join(c if c.isalnum() or c in "-+.=" else "_" for c in name)


def sweep_from(content: Spec) -> Sweep:
    """Check the plain content of a YAML file and bring its components into their full form.

    Raises:
        BadConfiguration: misspelt keys, unknown words, values out of range.
    """
    content = deepcopy(content)
    for name in ("task", "uplink", "schemes"):
        if name not in content:
            raise BadConfiguration(f"a sweep needs {name!r}; it has {', '.join(content) or 'nothing'}")
    schemes = content.pop("schemes")
    if isinstance(schemes, list):
        schemes = {str(word): word for word in schemes}
    if not isinstance(schemes, dict):
        raise BadConfiguration(f"schemes must be a list of words or a mapping name -> compressor, got {schemes!r}")
    inner = {
        "schemes": {str(name): component(value, f"schemes.{name}") for name, value in schemes.items()},
        "task": component(content.pop("task"), "task"),
        "uplink": component(content.pop("uplink"), "uplink"),
    }
    sweep: Sweep = call(Sweep, content, "sweep", inner)
    for cell in (next(cells(sweep, scheme)) for scheme in sweep.schemes):
        run_from(cell.spec)  # refuse now what would fail in every run
    return sweep


def run_from(spec: Spec) -> TrainingRun:
    """Build a run from its plain configuration."""
    run: TrainingRun = assemble(TrainingRun, spec, "run")
    return run


def cells(sweep: Sweep, scheme: str) -> Iterator[Cell]:
    """All runs of a scheme of the sweep; "noiseless" is uncompressed, without noise and at one budget."""
    budgets = sweep.energy_budgets if scheme != NOISELESS else sweep.energy_budgets[-1:]
    for budget in budgets:
        uplink = deepcopy(sweep.uplink)
        if scheme == NOISELESS:
            uplink = {"class_path": "laser_wireless.channels.AnalogUplink", "init_args": {"noise_variance": 0.0}}
        schedule = uplink["init_args"].get("energy_budget")
        if isinstance(schedule, dict):
            schedule["init_args"]["energy_budget"] = budget
        else:
            uplink["init_args"]["energy_budget"] = budget
        for rate in sweep.learning_rates:
            for seed in sweep.seeds:
                spec = {
                    "task": sweep.task,
                    "compressor": component("Uncompressed", "") if scheme == NOISELESS else sweep.schemes[scheme],
                    "uplink": uplink,
                    "num_devices": sweep.num_devices,
                    "num_rounds": sweep.num_rounds,
                    "learning_rate": rate,
                    "seed": seed,
                    "evaluate_every": sweep.evaluate_every,
                    "checkpoint_seconds": sweep.checkpoint_seconds,
                }
                yield Cell(scheme, budget, rate, seed, spec)


def run_sweep(sweep: Sweep, root: Path, *, device: Place, jobs: int) -> list[Row]:
    """Run what is not done yet and return one row per run.

    Args:
        sweep: what to compare.
        root: folder of the sweep.
        device: where each run computes.
        jobs: processes at a time; 0 for one per core (one in all on a GPU).

    Returns:
        rows with scheme, energy_budget, learning_rate, seed and the run's result; status "failed" with a reason where a
        run raised an error (the others go on).
    """
    todo = [cell for scheme in (*sweep.schemes, NOISELESS) for cell in cells(sweep, scheme)]
    place = torch_device(device)
    jobs = jobs or (1 if place.type == "cuda" else len(os.sched_getaffinity(0)))
    (root / "runs").mkdir(parents=True, exist_ok=True)
    owner = os.getpid() if jobs > 1 else 0
    tasks = (delayed(_execute)(number, cell, root, device, owner) for number, cell in enumerate(todo))
    finished: Iterable[Any] = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(tasks)
    results: dict[int, Row] = dict(tqdm(finished, total=len(todo), unit="run", disable=None, smoothing=0.05))
    keys = ("scheme", "energy_budget", "learning_rate", "seed")
    return [{key: getattr(cell, key) for key in keys} | results[number] for number, cell in enumerate(todo)]


def _execute(number: int, cell: Cell, root: Path, device: Place, owner: int) -> tuple[int, Row]:
    """Run one cell; with an owner (a process id) in a process of its own, on one thread, that ends with its owner."""
    if owner:
        torch.set_num_threads(1)

    def progress(round: int, row: Row) -> None:
        if owner and os.getppid() != owner:
            os._exit(1)  # the sweep was killed: leave the run to the next one, as if killed with it

    folder = cell.folder(root)
    try:
        folder.mkdir(exist_ok=True)
        write_json(folder / "config.json", cell.spec)
        return number, train(run_from(cell.spec), folder, device=torch_device(device), progress=progress)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        return number, {"status": "failed", "reason": f"{folder.name}: {error}"}
