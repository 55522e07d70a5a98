"""What a sweep asks of the engine that computes its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from laser_wireless.benchmarks.sweeps.processes import Ended

T = TypeVar("T")
Work = Callable[[], T]
"""A function of a module, or a partial of one: it can be sent to another process."""


class Engine(Protocol):
    """Does works elsewhere; each of them may end its process without taking the others with it."""

    def at_a_time(self, jobs: int, place: torch.device) -> int:
        """How many works are done at a time.

        Args:
            jobs: as asked by the user; 0 leaves it to the engine.
            place: on which the works compute.
        """
        ...

    def where(self, count: int) -> str:
        """In words, where so many works are done at a time."""
        ...

    @property
    def cores(self) -> int:
        """That one work occupies."""
        ...

    @property
    def is_here(self) -> bool:
        """Whether this machine computes, so that what it lacks is known at once."""
        ...

    def do(
        self, works: Sequence[Work[T]], *, jobs: int, folder: Path, tick: Callable[[], None]
    ) -> Iterator[tuple[int, T | Ended]]:
        """Do all works and yield (number, result) as they are done.

        A work that raises, or whose process ends, is tried again, and is then `Ended`. When the iterator is closed, works in
        hand are stopped as far as the engine can.

        Args:
            works: what to do.
            jobs: at a time.
            folder: existing, for what the engine itself writes; every process must see it by this path.
            tick: called about once a second.
        """
        ...
