"""The engine of one machine: processes of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from laser_wireless.benchmarks.sweeps.engines.contract import Engine, Work
from laser_wireless.benchmarks.sweeps.processes import Ended, Processes, in_processes

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


@dataclass(frozen=True, kw_only=True)
class _Resident(Local):
    """Processes of this machine that outlive the works."""

    processes: Processes

    def do(
        self, works: Sequence[Work[T]], *, jobs: int, folder: Path, tick: Callable[[], None]
    ) -> Iterator[tuple[int, T | Ended]]:
        """See `Engine`."""
        return self.processes.do(works, jobs, tick)


@contextmanager
def resident(engine: Engine) -> Iterator[Engine]:
    """An engine for many small orders: processes of this machine live until the context ends; other engines are kept."""
    if type(engine) is not Local:
        yield engine
        return
    with Processes() as processes:
        yield _Resident(processes=processes)
