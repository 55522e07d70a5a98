"""How long does each stage of one case's round take, what is the least it could take, and how much memory does it need?

Run in a process of its own for each case, so that peak memory is that case's alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch

from laser_wireless.benchmarks.schemes import facts_of
from laser_wireless.benchmarks.speed.floor import normals_drawn, numbers_moved
from laser_wireless.benchmarks.speed.plain import PlainRound
from laser_wireless.benchmarks.speed.shapes import Case
from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.compression import settle_
from laser_wireless.compression.message import split_parameters

STAGES = ("encode", "channel", "settle", "decode")
_WARM_UP = 2  # rounds of each kind
_SLOW = 10.0  # seconds for a round of each kind; from here on one repetition is enough
_ENERGY_BUDGET = 1000.0
_FLOAT = 4  # bytes


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was found for one case; seconds and bytes.

    stages: for even and odd rounds, for each repetition, the seconds of each of the four stages.
    copy: least time to copy the memory [K, d] into a second buffer, which moves 2 * 4 K d bytes.
    draw: least time to draw d standard normals into a buffer.
    plain: seconds of the plain loop, for each repetition, even and odd rounds in turn; empty for schemes without one.
    num_symbols: S, of each device's message in the last round.
    peak_memory: in the timed rounds, above what the process had after its imports.
    """

    case: Case
    stages: tuple[list[tuple[float, ...]], list[tuple[float, ...]]]
    copy: float
    draw: float
    plain: list[float]
    peak_memory: int
    num_symbols: int

    @property
    def memory_bound(self) -> int:
        """(K + 6) d numbers: the memories, and six more of one model's size."""
        return (self.case.num_devices + 6) * _FLOAT * self.case.num_parameters

    @property
    def floor(self) -> float:
        """Least time of a round: the bytes that must move at the speed of the copy, and the normals that must be drawn."""
        d = self.case.num_parameters
        per_number = self.copy / (2 * self.case.num_devices * d)  # seconds to read or write one
        moved = numbers_moved(self.case, self.num_symbols) * per_number
        return moved + normals_drawn(self.case, self.num_symbols) / d * self.draw

    def stage(self, parity: int, index: int, statistic: Callable[[list[float]], float] = median) -> float:
        """Median (or another statistic) of one stage in even (0) or odd (1) rounds."""
        return statistic([seconds[index] for seconds in self.stages[parity]])

    def round(self, parity: int | None = None, statistic: Callable[[list[float]], float] = median) -> float:
        """Median (or another statistic) of the whole round in even or odd rounds; mean of the two for None."""
        if parity is None:
            return (self.round(0, statistic) + self.round(1, statistic)) / 2
        return statistic([sum(seconds) for seconds in self.stages[parity]])

    def plain_round(self, statistic: Callable[[list[float]], float] = median) -> float:
        """The same of the plain loop, mean of even and odd rounds; NaN without one."""
        if not self.plain:
            return math.nan
        return (statistic(self.plain[0::2]) + statistic(self.plain[1::2])) / 2


@torch.no_grad()
def measure(case: Case, *, device: str, threads: int, seconds: float) -> Measurement:
    """Time a case on "cpu" or "cuda" for about `seconds`; values are random and do not matter."""
    torch.set_num_threads(threads)
    clock = Clock(torch.device(device))
    before = clock.memory(peak=False)
    memory = torch.randn(case.num_devices, case.num_parameters, device=device)
    step = Rounds(case, memory, clock)
    stages: tuple[list[tuple[float, ...]], list[tuple[float, ...]]] = ([], [])
    start = time.perf_counter()
    step(), step()
    once = time.perf_counter() - start
    if once < _SLOW:
        for _ in range(2 * _WARM_UP - 2):
            step()
        once = (time.perf_counter() - start) / _WARM_UP
    repetitions = max(3 if once < _SLOW else 1, min(1000, int(seconds / once)))
    for number in range(2 * repetitions):
        stages[number % 2].append(step())
    peak_memory = clock.memory(peak=True) - before  # before the buffers below

    copy = _least(torch.empty_like(memory).copy_, memory, clock=clock, repetitions=repetitions)
    draw = _least(memory.new_empty(case.num_parameters).normal_, clock=clock, repetitions=repetitions)

    plain = []
    if facts_of(case.compressor).has_plain_round:
        loop = PlainRound(case, memory, energy_budget=_ENERGY_BUDGET)
        for _ in range(2 * max(2, repetitions // 2) + 2):
            memory.add_(1)
            plain.append(clock.time(loop))
    return Measurement(
        case=case,
        stages=stages,
        copy=copy,
        draw=draw,
        plain=plain[2:],
        peak_memory=peak_memory,
        num_symbols=step.num_symbols,
    )


class Clock:
    """Reads time and memory of a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def now(self) -> float:
        """Seconds, when all work given to the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def time(self, work: Callable[[], object]) -> float:
        """Seconds that `work` takes, its result dropped afterwards."""
        start = self.now()
        result = work()
        end = self.now()
        del result
        return end - start

    def memory(self, *, peak: bool) -> int:
        """Bytes in use, now or at most so far: the allocator's on a GPU, else the process's resident pages (Linux)."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) if peak else torch.cuda.memory_allocated(self.device)
        name = "VmHWM:" if peak else "VmRSS:"
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _least(work: Callable[..., object], *arguments: object, clock: Clock, repetitions: int) -> float:
    """Least seconds of work(*arguments), after one call to warm up."""
    work(*arguments)
    return min(clock.time(lambda: work(*arguments)) for _ in range(repetitions))


class Rounds:
    """One round after another, as UplinkBridge.exchange does them; a call returns the stages' seconds."""

    def __init__(self, case: Case, memory: torch.Tensor, clock: Clock) -> None:
        self.compressor, self.memory, self.clock = case.compressor, memory, clock
        self.uplink, self.streams = AnalogUplink(energy_budget=_ENERGY_BUDGET), Streams(0)
        self.state = self.compressor.init(case.shapes, case.num_devices, device=memory.device, dtype=memory.dtype, seed=0)
        self.out = split_parameters(memory.new_empty(case.num_parameters), case.shapes)
        self.round = self.num_symbols = 0

    def __call__(self) -> tuple[float, ...]:
        """Do the next round."""
        round, state = self.round, self.state
        self.memory.add_(1)  # stands for the new gradients: Uncompressed leaves an empty memory
        t = [self.clock.now()]
        message = self.compressor.encode(self.memory, state, round=round)
        t.append(self.clock.now())
        reception = self.uplink.aggregate(
            message.symbols, message.layout, round=round, streams=self.streams, share_as=message.share_as
        )
        t.append(self.clock.now())
        settle_(self.memory, message.symbols, reception.delivered_symbols, self.compressor, state, round=round)
        t.append(self.clock.now())
        _, self.state = self.compressor.decode(
            reception.estimate, state, round=round, noise_variance=reception.noise_variance, out=self.out
        )
        t.append(self.clock.now())
        self.round, self.num_symbols = round + 1, message.symbols.shape[1]
        return tuple(after - before for before, after in pairwise(t))
