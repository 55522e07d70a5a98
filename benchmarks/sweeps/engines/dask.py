"""The engine of a Dask cluster: each work is a task that runs it in a process of its own beside the worker.

So workers may have any number of threads, and what ends a run's process leaves its worker alone. A worker that is lost is
replaced by Dask, which gives its tasks to another.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from laser_wireless.benchmarks.sweeps.engines.contract import Work
from laser_wireless.benchmarks.sweeps.engines.turns import Shipped, in_turns
from laser_wireless.benchmarks.sweeps.processes import Ended, in_processes
from laser_wireless.channels.parameters import checked

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")

_LOOK_S = 0.2
_CONNECT_S = 10


@dataclass(frozen=True, kw_only=True)
@checked
class Dask:
    """Workers of Dask.

    Args:
        address: of a scheduler that is there, such as tcp://10.0.0.1:8786; workers of this machine are started if empty.
    """

    address: str = ""
    cores = 1

    def __post_init__(self) -> None:
        if self.address and "://" not in self.address:
            raise ValueError(f"address must be that of a scheduler, such as tcp://10.0.0.1:8786, got {self.address!r}")
        if find_spec("distributed") is None:
            raise ImportError("engine dask needs distributed: pip install 'laser-wireless[dask]'")

    @property
    def is_here(self) -> bool:
        """Whether the workers are of this machine."""
        return not self.address

    def at_a_time(self, jobs: int, place: torch.device) -> int:
        """Works, one for each thread of the workers unless the user says otherwise; of this machine, one for each core."""
        if jobs:
            return jobs
        if not self.address:
            return 1 if place.type == "cuda" else len(os.sched_getaffinity(0))
        with self._client(0) as client:
            return max(1, sum(client.nthreads().values()))

    def where(self, count: int) -> str:
        """In words."""
        return f"Dask at {self.address}, {count} at a time" if self.address else f"{count} Dask workers of this machine"

    def do(
        self, works: Sequence[Work[T]], *, jobs: int, folder: Path, tick: Callable[[], None]
    ) -> Iterator[tuple[int, T | Ended]]:
        """See `Engine`. Dask itself gives what was lost again: as often as its scheduler allows failures."""
        with self._client(jobs) as client:

            def give(work: Work[T]) -> Future[Any]:
                return client.submit(_beside, Shipped(work), pure=False)

            yield from in_turns(works, jobs, tick, tries=1, give=give, look=_look, stop=client.cancel)

    @contextmanager
    def _client(self, workers: int) -> Iterator[Client]:
        """A connection to the scheduler, or to one of this process with so many workers."""
        import dask
        from distributed import Client, LocalCluster

        if self.address:
            with Client(self.address, timeout=_CONNECT_S, set_as_default=False) as client:
                yield client
            return
        settings = {"distributed.scheduler.allowed-failures": 1}
        with (
            dask.config.set(settings),
            LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield client


def _beside(work: Shipped) -> Any:
    """Do a work in a process of its own, which ends with this one."""
    ((_, outcome),) = in_processes([work], 1)
    return outcome


def _look(futures: list[Future[Any]]) -> Iterator[tuple[Future[Any], Any]]:
    time.sleep(_LOOK_S)
    for future in futures:
        if future.done():
            error = future.exception()
            how = "" if error is None else f"Dask gave it up ({type(error).__name__}: {error})"
            yield future, Ended(1, how) if how else future.result()
