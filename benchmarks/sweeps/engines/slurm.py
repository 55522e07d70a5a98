"""The engine of a SLURM cluster: each work is a job, submitted through submitit.

Whether a job has ended is asked of `squeue`, which every cluster has; `sacct` needs an accounting database. All nodes must
see the sweep's folder by the same path.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from laser_wireless.benchmarks.run_folder import say
from laser_wireless.benchmarks.sweeps.engines.contract import Work
from laser_wireless.benchmarks.sweeps.engines.turns import Shipped, in_turns
from laser_wireless.benchmarks.sweeps.processes import ONE_THREAD, TRIES, Ended
from laser_wireless.channels.parameters import checked

if TYPE_CHECKING:
    from submitit import Executor, Job

T = TypeVar("T")

_AT_A_TIME = 20
_LOOK_S, _ASK_S = 0.5, 5.0  # between looks for results, and between questions to SLURM
_PATIENCE_S = 90.0  # for the result of a job that has ended to be seen from here
_NOTICE_S = 60  # before the time limit, at which runs are interrupted
_LOST = ("BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT")


@dataclass(frozen=True, kw_only=True)
@checked
class Slurm:
    """Jobs of a SLURM cluster.

    Args:
        partition: to submit to; SLURM's own default if empty.
        account: to charge; SLURM's own default if empty.
        time_min: time limit of a job in minutes. One that reaches it is tried again, from the checkpoints.
        cpus: cores of a job; its runs compute on one of them.
        mem_gb: memory of a job.
        gpus: of a job, for --device cuda.
        options: further ones of sbatch, such as {constraint: skylake, qos: low}.
    """

    partition: str = ""
    account: str = ""
    time_min: int = 60
    cpus: int = 1
    mem_gb: float = 4.0
    gpus: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    is_here = False

    def __post_init__(self) -> None:
        for name, least in (("time_min", 2), ("cpus", 1), ("gpus", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        if not 0 < self.mem_gb < float("inf"):
            raise ValueError(f"mem_gb must be finite and > 0, got {self.mem_gb}")
        if find_spec("submitit") is None:
            raise ImportError("engine slurm needs submitit: pip install 'laser-wireless[slurm]'")

    @property
    def cores(self) -> int:
        """That one job occupies."""
        return self.cpus

    def at_a_time(self, jobs: int, place: torch.device) -> int:
        """Jobs, 20 unless the user says otherwise."""
        return jobs or _AT_A_TIME

    def where(self, count: int) -> str:
        """In words."""
        return f"{count} SLURM job{'' if count == 1 else 's'} at a time{f' of {self.partition}' if self.partition else ''}"

    def do(
        self, works: Sequence[Work[T]], *, jobs: int, folder: Path, tick: Callable[[], None]
    ) -> Iterator[tuple[int, T | Ended]]:
        """See `Engine`.

        Raises:
            FileNotFoundError: there is no `sbatch` on this machine.
        """
        if shutil.which("sbatch") is None:
            raise FileNotFoundError("engine slurm needs the command sbatch, which is not here; start on a login node")
        files = folder.resolve() / f"slurm-{os.getpid()}-{time.time_ns()}"
        submit, watch = partial(_submit, self._executor(files)), _Watch()
        lost = False
        for number, outcome in in_turns(works, jobs, tick, tries=TRIES, give=submit, look=watch.look, stop=_cancel):
            lost = lost or isinstance(outcome, Ended)
            yield number, outcome
        if not lost:  # the logs of what failed are kept
            shutil.rmtree(files, ignore_errors=True)

    def _executor(self, files: Path) -> Executor:
        from submitit import AutoExecutor

        executor = AutoExecutor(folder=files, cluster="slurm")
        asked = {"slurm_partition": self.partition, "slurm_account": self.account, "gpus_per_node": self.gpus}
        executor.update_parameters(
            name="laser-sweep",
            timeout_min=self.time_min,
            cpus_per_task=self.cpus,
            mem_gb=self.mem_gb,
            slurm_signal_delay_s=_NOTICE_S,
            slurm_setup=[f"export {name}={value}" for name, value in ONE_THREAD.items()],
            slurm_additional_parameters=self.options,
            **{name: value for name, value in asked.items() if value},
        )
        return executor


def _submit(executor: Executor, work: Work[Any]) -> Job[Any]:
    return executor.submit(_until_notice, Shipped(work))


def _until_notice(work: Shipped) -> Any:
    """Do a work in a job; at the notice that its time is over it is interrupted as by Ctrl-C."""
    signal.signal(signal.SIGUSR2, signal.default_int_handler)
    return work()


def _cancel(jobs: list[Job[Any]]) -> None:
    for job in jobs:
        job.cancel()


class _Watch:
    """Finds the results of jobs, and jobs that ended without one."""

    def __init__(self) -> None:
        self._due = 0.0
        self._gone: dict[str, float] = {}  # job that has ended without a result so far -> since when
        self._said = {"None", "Priority", "Resources"}  # a queue like any other

    def look(self, jobs: list[Job[Any]]) -> Iterator[tuple[Job[Any], Any]]:
        time.sleep(_LOOK_S)
        states = self._states({job.job_id for job in jobs}) if time.monotonic() >= self._due else None
        for job in jobs:
            if job.paths.result_pickle.exists():
                yield job, _result(job)
            elif states is not None and self._is_lost(job.job_id, states.get(job.job_id, "GONE")):
                state = states.get(job.job_id, "GONE")
                yield job, Ended(1, f"its SLURM job {job.job_id} ended as {state}, {TRIES} times; see {job.paths.stderr}")

    def _states(self, own: set[str]) -> dict[str, str] | None:
        """States of the user's jobs; None where SLURM does not answer. Why jobs of this sweep wait is told once."""
        self._due = time.monotonic() + _ASK_S
        command = ["squeue", "--noheader", "--states=all", "--format=%i|%T|%r", f"--user={os.getuid()}"]
        found = subprocess.run(command, capture_output=True, text=True)
        if found.returncode:
            return None
        jobs = [line.split("|", 2) for line in found.stdout.splitlines()]
        reasons = {reason for job, state, reason in jobs if job in own and state == "PENDING"} - self._said
        for reason in sorted(reasons):
            say(f"jobs are waiting; SLURM's reason is {reason}")
        self._said |= reasons
        return {job: state for job, state, _ in jobs}

    def _is_lost(self, job: str, state: str) -> bool:
        """Whether no result is to come: a file of another machine may be late."""
        if state in _LOST:
            return True
        if state not in ("COMPLETED", "GONE"):
            self._gone.pop(job, None)
            return False
        return time.monotonic() - self._gone.setdefault(job, time.monotonic()) > _PATIENCE_S


def _result(job: Job[Any]) -> Any:
    if job.exception() is None:
        return job.result()
    return Ended(1, f"its SLURM job {job.job_id} raised an error, {TRIES} times; see {job.paths.stderr}")
