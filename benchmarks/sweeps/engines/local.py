"""The engine of one machine: processes of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from laser_wireless.benchmarks.sweeps.engines.contract import Work
from laser_wireless.benchmarks.sweeps.processes import Ended, in_processes

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Local:
    """Processes of this machine, each with one thread."""

    cores = 1
    is_here = True

    def at_a_time(self, jobs: int, place: torch.device) -> int:
        """Processes, 0 being one for each core (one in all on a GPU)."""
        return jobs or (1 if place.type == "cuda" else len(os.sched_getaffinity(0)))

    def where(self, count: int) -> str:
        """In words."""
        return f"{count} process{'' if count == 1 else 'es'} of this machine"

    def do(
        self, works: Sequence[Work[T]], *, jobs: int, folder: Path, tick: Callable[[], None]
    ) -> Iterator[tuple[int, T | Ended]]:
        """See `Engine`."""
        return in_processes(works, jobs, tick)


LOCAL = Local()
"""What computes unless the user says otherwise."""
