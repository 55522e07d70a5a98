"""How long do a channel and its peers take for the same symbols, and how much memory beyond them?

All contenders of a case take turns in one process, round by round, so that a disturbance meets them alike; CPU time, which
other work on the machine changes least. Memory is found in a process of its own for each contender. Linux only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import torch
from torch import Tensor

from laser_wireless.benchmarks.speed.channel_cases import CHANNEL_CASES, NUM_DEVICES, ChannelCase

OURS = "laser"
_FLOOR = ("read", "draw")


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Seconds of each contender in each round, those of the floor's parts among them; names of absent peers and why.

    read: adding up all K S symbols. draw: S standard normals.
    """

    cpu: Mapping[str, list[float]]
    wall: Mapping[str, list[float]]
    absent: Mapping[str, str]

    @property
    def floor(self) -> list[float]:
        """CPU seconds of reading and drawing, in each round."""
        return [sum(parts) for parts in zip(*(self.cpu[name] for name in _FLOOR), strict=True)]

    @property
    def contenders(self) -> list[str]:
        """Who took part: this library first."""
        return [name for name in self.cpu if name not in _FLOOR]


def ratios(above: list[float], below: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of the ratio, round by round."""
    first, middle, last = quantiles([a / b for a, b in zip(above, below, strict=True)], n=4, method="inclusive")
    return first, middle, last


def measure_times(name: str, *, num_symbols: int, without: list[str], seconds: float, threads: int) -> Contest:
    """Let the contenders of a case take turns for about `seconds`.

    Args:
        name: of the case.
        num_symbols: S, real symbols of each device.
        without: peers that are not to take part.
        seconds: of all rounds; five at least (three where a round is slower than this), 30 at most.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    symbols = torch.randn(NUM_DEVICES, num_symbols, generator=torch.Generator().manual_seed(0))
    noise, generator = torch.empty(num_symbols), torch.Generator().manual_seed(0)
    turns: dict[str, Callable[[], object]] = {
        "read": symbols.sum,
        "draw": lambda: noise.normal_(generator=generator),
    }
    found, absent = _contenders(CHANNEL_CASES[name], symbols, without)
    turns |= found
    cpu: dict[str, list[float]] = {turn: [] for turn in turns}
    wall: dict[str, list[float]] = {turn: [] for turn in turns}
    with torch.no_grad():
        for work in turns.values():
            work()
        start = time.perf_counter()
        for work in turns.values():
            work()
        once = time.perf_counter() - start
        repetitions = max(5 if once < seconds else 3, min(30, int(seconds / once)))
        for _ in range(repetitions):
            for turn, work in turns.items():
                start, start_cpu = time.perf_counter(), time.process_time()
                result = work()
                cpu[turn].append(time.process_time() - start_cpu)
                wall[turn].append(time.perf_counter() - start)
                del result
    return Contest(cpu=cpu, wall=wall, absent=absent)


def _contenders(
    case: ChannelCase, symbols: Tensor, without: list[str]
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    turns: dict[str, Callable[[], object]] = {OURS: case.rounds(symbols)}
    absent = {}
    for peer, build in case.peers.items():
        if peer in without:
            continue
        try:
            turns[peer] = build(symbols)
        except ImportError as error:
            absent[peer] = str(error)
    return turns, absent


def measure_memory(name: str, contender: str, *, num_symbols: int, threads: int) -> int:
    """Peak bytes of two rounds above the symbols (the peer's own layout of them included), result included.

    To be called in a new process.

    Raises:
        ImportError: the peer is not installed.
    """
    torch.set_num_threads(threads)
    case = CHANNEL_CASES[name]
    build = case.rounds if contender == OURS else case.peers[contender]
    with torch.no_grad():
        build(torch.zeros(NUM_DEVICES, 64))()  # libraries are loaded
        work = build(torch.randn(NUM_DEVICES, num_symbols))
        before = _resident("VmRSS:")
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        for _ in range(2):
            work()
        return max(0, _resident("VmHWM:") - before)


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
