"""Work in parallel processes, each of which may end at any moment without taking the others with it.

`concurrent.futures` and joblib give up all work when one process dies (killed for its memory, a crash in native code,
os._exit) and do not say amid which. Here each process has a connection of its own, so that it is known. Nothing but
processes and connections is used, so that nothing stays behind when all of it is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Pipe, wait
from typing import Any, NamedTuple, TypeVar

from laser_wireless.benchmarks.sweeps import worker
from laser_wireless.channels import child_process

T = TypeVar("T")

TRIES = 2
"""Of work amid which its process ended: it may have been killed for what others did."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of a process that computes on one core."""

_PATIENCE_S = 10.0  # for a process to end by itself, its state saved, on a busy machine and a slow disk


class Ended(NamedTuple):
    """How the process ended that was at it; code: exit status, or less a signal's number; how: in words, if not by that."""

    code: int
    how: str = ""

    def __str__(self) -> str:
        if self.how:
            return self.how
        name = f"signal {signal.Signals(-self.code).name}" if self.code < 0 else f"exit status {self.code}"
        hint = "; is memory short? fewer --jobs need less" if self.code == -signal.SIGKILL else ""
        return f"its process ended with {name}, {TRIES} times{hint}"


def in_processes(
    works: Sequence[Callable[[], T]], jobs: int, tick: Callable[[], None] = lambda: None
) -> Iterator[tuple[int, T | Ended]]:
    """Do all works in processes that end with them; see `Processes.do`."""
    with Processes() as processes:
        yield from processes.do(works, jobs, tick)


class Processes:
    """Processes that are made when they are needed, and live until this context ends."""

    def __init__(self) -> None:
        self._idle: list[_Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        _stop(self._idle)

    def do(
        self, works: Sequence[Callable[[], T]], jobs: int, tick: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[int, T | Ended]]:
        """Do all works, `jobs` at a time, and yield (number, result) as they are done.

        Args:
            works: functions of a module, or partials of them; what they raise ends their process.
            jobs: processes at a time, each with one thread for sums in libraries.
            tick: called about once a second.
        """
        waiting, tries = deque(range(len(works))), Counter[int]()
        busy: list[_Process] = []
        try:
            while waiting or busy:
                while waiting and len(busy) < jobs:
                    busy.append(self._idle.pop() if self._idle else _Process())
                    busy[-1].give(waiting.popleft(), works)
                ready = wait([process.line for process in busy], timeout=1)
                tick()
                for process in [one for one in busy if one.line in ready or one.has_ended]:
                    busy.remove(process)
                    number, outcome = process.number, process.take()
                    if not isinstance(outcome, Ended):
                        self._idle.append(process)
                        yield number, outcome
                        continue
                    tries[number] += 1
                    if tries[number] < TRIES:
                        waiting.append(number)
                    else:
                        yield number, outcome
        finally:
            _stop(busy)


class _Process:
    """A process and the connection to it."""

    def __init__(self) -> None:
        self.line, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                child_process.command(worker.__file__, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**ONE_THREAD, **os.environ},
            )
        self.number = -1
        self._send(sys.path)

    def give(self, number: int, works: Sequence[Callable[[], object]]) -> None:
        self.number = number
        self._send(works[number])

    def _send(self, content: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: `take` says so
            self.line.send(content)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def take(self) -> Any:
        """The result of what was given, or how the process ended."""
        with suppress(EOFError, OSError):
            if self.line.poll():
                return self.line.recv()
        self.line.close()
        return Ended(self.end(_PATIENCE_S))

    def end(self, patience_s: float) -> int:
        """Wait for its end, kill it if that takes longer, and return its exit code."""
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)


def _stop(processes: Sequence[_Process]) -> None:
    """End all: the idle ones by themselves, the others as by Ctrl-C, on which a run saves its state."""
    for process in processes:
        process.line.close()
    deadline = time.monotonic() + _PATIENCE_S
    while not all(process.has_ended for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)  # Ctrl-C reached them as well, if it came from a terminal
    for process in processes:
        process.interrupt()
    for process in processes:
        process.end(_PATIENCE_S)
