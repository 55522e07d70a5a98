"""What goes over the wire in a step of DistributedDataParallel: with an uplink as its hook, with torch's own hooks.

python -m laser_wireless.benchmarks.speed wire
python -m laser_wireless.benchmarks.speed wire --processes 2 4 --output speed-wire.md
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from laser_wireless.benchmarks.speed.facts import facts
from laser_wireless.benchmarks.speed.growing import GrowingTable
from laser_wireless.channels import AnalogUplink, Rayleigh, TruncatedInversion
from laser_wireless.compression import Compressor, LowRank, Sign, Uncompressed
from laser_wireless.training import UplinkHookState, uplink_hook

WIDTHS = (256, 1024, 1024, 10)
_BATCH = 8
_WARM_UP = 6
_COLUMNS = (
    "processes",
    "hook",
    "symbols x 4, bytes",
    "to all-reduce",
    "to all-gather",
    "sent by a process",
    "ms a step",
)
_DESCRIPTION = """\
Trains an MLP of {d:,} parameters by DistributedDataParallel over gloo, one device in each process, one thread each: torch's
own all-reduce, torch's powerSGD_hook of rank 4 (with error feedback), and the hook of an uplink over Rayleigh fading with
truncated inversion. Gradients lie in one bucket: over several, powerSGD_hook's collectives overtake each other on gloo.

How to read the result, per step and process: "symbols x 4" is the ledger's message as float32; "to all-reduce" and "to
all-gather" are what the hook handed over; "sent by a process" is what the loopback interface carried over the processes:
a ring all-reduce of n processes sends 2 (n - 1) / n of what it is given, and packets have headers. "ms" is the median step:
forward and backward pass, and exchange; all processes share this machine.
"""
_SCHEMES: dict[str, Compressor] = {
    "uplink_hook, LowRank(rank=4)": LowRank(rank=4),
    "uplink_hook, Sign()": Sign(),
    "uplink_hook, Uncompressed()": Uncompressed(),
}
HOOKS = ("all-reduce", "powerSGD_hook, rank 4", *_SCHEMES)


@dataclass(frozen=True)
class Step:
    """Bytes and seconds of a step; bytes that a hook of torch's handed over are not known: None."""

    symbols: float | None
    summed: float | None
    gathered: float | None
    sent: float
    seconds: float


def main(arguments: Sequence[str]) -> None:
    """Measure what is asked for; print the table, and write it where asked, row by row as they are known."""
    options = _options(arguments)
    table = GrowingTable(facts("cpu", 1), _COLUMNS, options.output)
    for count in options.processes:
        for hook in HOOKS:
            step = measured_step(hook, count, options.steps)
            numbers = (step.symbols, step.summed, step.gathered, step.sent)
            cells = ["" if number is None else f"{number:,.0f}" for number in numbers]
            table.add([[str(count), hook, *cells, f"{step.seconds * 1e3:.1f}"]])


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    size = sum((before + 1) * after for before, after in pairwise(WIDTHS))
    parser = argparse.ArgumentParser(
        prog="python -m laser_wireless.benchmarks.speed wire",
        description=_DESCRIPTION.format(d=size),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4], help="at a time (default: 2 4)")
    parser.add_argument("--steps", type=int, default=30, help="that are measured, an even number (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="also write the table here, as Markdown")
    options = parser.parse_args(arguments)
    if min(options.processes) < 1:
        parser.error(f"--processes must be >= 1, got {min(options.processes)}")
    if options.steps < 2 or options.steps % 2:
        parser.error(f"--steps must be an even number >= 2, since factors alternate, got {options.steps}")
    return options


def measured_step(hook: str, count: int, steps: int) -> Step:
    """Train for so many steps in so many processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        spawn(partial(_process, hook, count, steps, folder), nprocs=count)
        return Step(**torch.load(Path(folder) / "step.pt"))


def _process(hook: str, count: int, steps: int, folder: str, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count)
    torch.manual_seed(0)
    layers = [layer for before, after in pairwise(WIDTHS) for layer in (nn.Linear(before, after), nn.ReLU())]
    model = DistributedDataParallel(nn.Sequential(*layers[:-1]), bucket_cap_mb=64)
    uplink = _register(hook, model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, y = torch.randn(_BATCH, WIDTHS[0]), torch.randint(WIDTHS[-1], (_BATCH,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    for _ in range(_WARM_UP):
        step()
    dist.barrier()
    before, symbols, seconds = _counters(uplink), [], []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
        symbols.append(0 if uplink is None or uplink.ledger is None else uplink.ledger.num_symbols)
    dist.barrier()
    sent, summed, gathered = (after - first for after, first in zip(_counters(uplink), before, strict=True))
    if rank == 0:
        mine = {"symbols": 4 * sum(symbols) / steps, "summed": summed / steps, "gathered": gathered / steps}
        found: dict[str, Any] = dict.fromkeys(mine) if uplink is None else dict(mine)
        torch.save(found | {"sent": sent / steps / count, "seconds": median(seconds)}, Path(folder) / "step.pt")
    dist.destroy_process_group()


def _register(hook: str, model: DistributedDataParallel) -> UplinkHookState | None:
    if hook in _SCHEMES:
        channel = AnalogUplink(energy_budget=1e4, fading=Rayleigh(), power_control=TruncatedInversion())
        state = UplinkHookState(model, compressor=_SCHEMES[hook], uplink=channel)
        model.register_comm_hook(state, uplink_hook)
        return state
    if hook.startswith("powerSGD"):
        options: dict[str, Any] = {"matrix_approximation_rank": 4, "start_powerSGD_iter": 2}
        model.register_comm_hook(PowerSGDState(process_group=None, **options), powerSGD_hook)
    return None


def _counters(uplink: UplinkHookState | None) -> tuple[int, int, int]:
    """Bytes that all processes sent over the loopback interface, and that this one gave to all-reduces and all-gathers."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    [loopback] = [line.split() for line in lines if line.strip().startswith("lo:")]
    handed = (0, 0) if uplink is None else (uplink.air.bytes_summed, uplink.air.bytes_gathered)
    return int(loopback[9]), *handed
