"""How many trainings per second, one by one and side by side, and how far is that from the arithmetic alone?

python -m laser_wireless.benchmarks.speed runs
python -m laser_wireless.benchmarks.speed runs --together 1 8 27 --threads 1 --output speed-runs.md
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from laser_wireless.benchmarks.side_by_side import Company
from laser_wireless.benchmarks.speed.channels import in_own_process
from laser_wireless.benchmarks.speed.facts import facts
from laser_wireless.benchmarks.speed.growing import GrowingTable
from laser_wireless.benchmarks.speed.measure import Clock
from laser_wireless.benchmarks.tasks.digits import Digits
from laser_wireless.benchmarks.training_run import Trainer, TrainingRun
from laser_wireless.channels import AnalogUplink
from laser_wireless.channels.uplinks.stacked import NotStackable
from laser_wireless.compression import (
    Compressor,
    CountSketch,
    GaussianProjection,
    LowRank,
    RandomK,
    Sign,
    TopK,
    Uncompressed,
)

_DESCRIPTION = """\
Times a round of a training of the digits task (MLP of {d:,} parameters, K = 16 devices, 16 images each, AWGN): gradients of
every device, encode, channel, error memory, decode, optimiser, weight average. Contenders take turns in one process, ten
rounds each, so that a disturbance meets them alike: R runs computed together, one run by itself, and "plain", forward and
backward pass of one model over the images of all devices at once, the same arithmetic without devices, channel or scheme.

How to read the result: "ms" is the median for one round of one run, "gain" the time alone over it, "plain" it over the plain
pass. "equal" says whether the first 16 runs are those alone, bit for bit, after all timed rounds, or by how much a parameter
differs at most, over the largest parameter (a GPU rounds several runs otherwise, and training amplifies it). "MB" is what a
run's gradients and messages hold, counted, not measured: 4 K (d + S) bytes.
"""
SCHEMES: dict[str, Compressor] = {
    "LowRank(rank=4)": LowRank(rank=4),
    "Uncompressed()": Uncompressed(),
    "Sign()": Sign(),
    "RandomK()": RandomK(),
    "CountSketch()": CountSketch(),
    "TopK()": TopK(),
    "GaussianProjection()": GaussianProjection(segment_size=1024, iterations=10),
}
_MOST_WANTED = ["LowRank(rank=4)", "Uncompressed()"]
_K = 16
_IN_A_TURN = 10  # rounds
_COMPARED = 16  # runs
_COLUMNS = ("scheme", "threads", "runs together", "ms", "gain", "plain", "equal", "MB")


@dataclass(frozen=True)
class Timing:
    """Seconds of a round of one run: alone, for each R together, of the plain pass; how far those are from runs alone."""

    alone: float
    together: dict[int, float]
    plain: float
    difference: dict[int, float]
    megabytes: float


def main(arguments: Sequence[str]) -> None:
    """Time what is asked for; print the table, and write it where asked, row by row as they are known."""
    options = _options(arguments)
    known = facts(options.device, max(options.threads)) | {"threads": ", ".join(map(str, options.threads))}
    table = GrowingTable(known, _COLUMNS, options.output)
    for threads in options.threads:
        for scheme in options.schemes:
            work = partial(measure_runs, scheme, options.together, options.device, threads=threads, rounds=options.rounds)
            table.add(_rows(scheme, threads, options.together, in_own_process(work)))


def _rows(scheme: str, threads: int, together: Sequence[int], timing: Timing) -> list[list[str]]:
    rows = [_row(scheme, threads, "alone", timing.alone, timing, "")]
    for count in together:
        if count in timing.together:
            difference = timing.difference[count]
            equal = "yes" if difference == 0 else f"to {difference:.0e}"
            rows.append(_row(scheme, threads, str(count), timing.together[count], timing, equal))
        else:
            rows.append([scheme, str(threads), str(count), "one by one: sums are rounded otherwise", "", "", "", ""])
    return rows


def _row(scheme: str, threads: int, together: str, seconds: float, timing: Timing, equal: str) -> list[str]:
    cells = [scheme, str(threads), together, f"{seconds * 1e3:.2f}", f"{timing.alone / seconds:.2f}"]
    return [*cells, f"{seconds / timing.plain:.2f}", equal, f"{timing.megabytes:.1f}"]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m laser_wireless.benchmarks.speed runs",
        description=_DESCRIPTION.format(d=sum(p.numel() for p in Digits(width=128).model(0).parameters())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--together", type=int, nargs="+", default=[1, 8, 16, 27, 64], metavar="R", help="runs at a time")
    parser.add_argument(
        "--schemes", nargs="+", choices=SCHEMES, default=_MOST_WANTED, metavar="S", help=f"of {', '.join(SCHEMES)}"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the CPU (default: 1 2)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=60, help="that are timed, of each contender (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="also write the table here, as Markdown")
    options = parser.parse_args(arguments)
    for name in ("together", "threads"):
        if min(getattr(options, name)) < 1:
            parser.error(f"--{name} must be >= 1, got {min(getattr(options, name))}")
    if options.rounds < 1:
        parser.error(f"--rounds must be >= 1, got {options.rounds}")
    return options


def measure_runs(scheme: str, together: Sequence[int], device: str, *, threads: int, rounds: int) -> Timing:
    """Let the contenders take turns; see `_DESCRIPTION`."""
    torch.set_num_threads(threads)
    place, clock = torch.device(device), Clock(torch.device(device))
    alone = _trainers(scheme, min(max(together), _COMPARED), place)
    beside = {count: _trainers(scheme, count, place) for count in together}
    contenders: dict[str | int, Callable[[], object]] = {"alone": alone[0].step, "plain": _PlainPass(place)}
    for count, trainers in beside.items():
        if (company := _together(trainers)) is not None:
            contenders[count] = company.step
    times: dict[str | int, list[float]] = {name: [] for name in contenders}
    for _ in range(-(-rounds // _IN_A_TURN)):
        for name, step in contenders.items():
            step()  # brings its memory back into the cache
            times[name] += [clock.time(step) for _ in range(_IN_A_TURN)]
    found = {name: median(values) for name, values in times.items()}
    together = [count for count in together if count in found]
    done = max(trainer.round for trainers in beside.values() for trainer in trainers)
    for trainer in alone:
        while trainer.round < done:
            trainer.step()
    memory = alone[0].memory
    message = alone[0].run.compressor.encode(memory, alone[0].bridge.scheme_state, round=0)
    return Timing(
        alone=found["alone"],
        together={count: found[count] / count for count in together},
        plain=found["plain"],
        difference={count: max(map(_difference, beside[count], alone)) for count in together},
        megabytes=4e-6 * (memory.numel() + message.symbols.numel()),
    )


def _together(trainers: list[Trainer]) -> Company | None:
    """All together, after two steps in which they were seen to be the runs alone; None if they are not on this machine."""
    company = Company(trainers)
    try:
        company.step()
        company.step()
    except NotStackable:
        return None
    return company


def _trainers(scheme: str, count: int, place: torch.device) -> list[Trainer]:
    """Runs of three seeds, of budgets and learning rates that differ."""
    return [
        Trainer(
            TrainingRun(
                task=Digits(width=128),
                compressor=SCHEMES[scheme],
                uplink=AnalogUplink(energy_budget=4.0 * 2 ** (i % 7)),
                num_devices=_K,
                learning_rate=0.01 * (1 + i % 5),
                seed=i % 3,
            ),
            place,
        )
        for i in range(count)
    ]


def _difference(one: Trainer, other: Trainer) -> float:
    """Largest difference of a parameter over the largest parameter; inf where either is not finite."""
    a, b = (torch.cat([p.detach().flatten() for p in trainer.model.parameters()]) for trainer in (one, other))
    difference = float((a - b).abs().amax() / b.abs().amax())
    return difference if difference < torch.inf else torch.inf


class _PlainPass:
    """Forward and backward pass of one model over the batches of all devices."""

    def __init__(self, place: torch.device) -> None:
        [self._trainer] = _trainers("Uncompressed()", 1, place)

    def __call__(self) -> None:
        batches = [batch.flatten(0, 1) for batch in self._trainer.batches(self._trainer.round)]
        self._trainer.model.zero_grad()
        self._trainer.task.loss(self._trainer.model, *batches).backward()
