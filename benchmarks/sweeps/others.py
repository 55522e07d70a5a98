"""The runs of a sweep that other sweeps in the same folder are at: put off, then waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from laser_wireless.benchmarks.run_folder import say
from laser_wireless.benchmarks.sweeps.claims import Watch

_LOOK_S = 1.0


class RunsOfOthers:
    """Which runs others are at, by their number.

    Args:
        folders: of all runs.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders, self._watch = folders, Watch()
        self._put_off: list[int] = []
        self._said: set[str] = set()

    @property
    def abandoned(self) -> frozenset[str]:
        """Claims of the dead, for `claimed`."""
        return frozenset(self._watch.abandoned)

    def put_off(self, number: int) -> None:
        """Somebody else is at this run: it is waited for when nothing else is to be done."""
        self._put_off.append(number)

    def is_at(self, number: int) -> bool:
        """Whether somebody else is at a run."""
        return self._watch.owner(self._folders[number]) is not None

    def wait(self, tick: Callable[[], None]) -> list[int]:
        """Wait until somebody is done with some of the runs that were put off, or dead; which; none if none are left.

        Args:
            tick: called about once a second.
        """
        while self._put_off:
            owners = {number: self._watch.owner(self._folders[number]) for number in self._put_off}
            free = [number for number, owner in owners.items() if owner is None]
            self._put_off = [number for number in self._put_off if number not in free]
            if free:
                return free
            names = sorted({owner.owner for owner in owners.values() if owner is not None})
            if not self._said.issuperset(names):
                self._said.update(names)
                count = f"{len(owners)} run{' is' if len(owners) == 1 else 's are'}"
                say(f"{count} computed by {', '.join(names)}; waiting, to take what comes of it from disk")
            tick()
            time.sleep(_LOOK_S)
        return []
