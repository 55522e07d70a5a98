"""What engines of other machines share: works that find their way there, and so many of them at a time."""

from __future__ import annotations

import os
import pickle
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from laser_wireless.benchmarks.sweeps.engines.contract import Work
from laser_wireless.benchmarks.sweeps.processes import Ended

T = TypeVar("T")
Ticket = TypeVar("Ticket")


class Shipped:
    """A work that another process does in the working directory of this one, with its module search path.

    Args:
        work: what to do; its modules are looked for when it is called, not when it is read.
    """

    def __init__(self, work: Work[Any]) -> None:
        self._folder, self._path, self._work = os.getcwd(), list(sys.path), pickle.dumps(work)

    def __call__(self) -> Any:
        """Do it."""
        os.chdir(self._folder)
        sys.path[:] = self._path
        return pickle.loads(self._work)()


def in_turns(
    works: Sequence[Work[T]],
    jobs: int,
    tick: Callable[[], None],
    *,
    tries: int,
    give: Callable[[Work[T]], Ticket],
    look: Callable[[list[Ticket]], Iterable[tuple[Ticket, T | Ended]]],
    stop: Callable[[list[Ticket]], None],
) -> Iterator[tuple[int, T | Ended]]:
    """Do works in turns, `jobs` at a time, and yield (number, result) as they are done.

    Args:
        works: what to do.
        jobs: works at a time.
        tick: called after each look.
        tries: how often a work is given that comes back as `Ended`.
        give: hands a work over and returns what stands for it, which can be a key of a dictionary.
        look: waits about a second and tells which of those in hand have come to an end, and to which.
        stop: what to do with those in hand when nobody waits for them any more.
    """
    waiting, given = deque(range(len(works))), Counter[int]()
    busy: dict[Ticket, int] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                number = waiting.popleft()
                given[number] += 1
                busy[give(works[number])] = number
            ends = list(look(list(busy)))
            tick()
            for ticket, outcome in ends:
                number = busy.pop(ticket)
                if isinstance(outcome, Ended) and given[number] < tries:
                    waiting.append(number)
                else:
                    yield number, outcome
    finally:
        stop(list(busy))
