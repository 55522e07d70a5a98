"""Start the processes of a run, and end them with it: this process is the first of them, the others are its children.

However this process ends, the kernel ends the others. If one of the others ends, the exchange that this one is in, or the
next, fails, and it says why; should it not come to that (it evaluates for long, it waits for who never came), a thread ends
it in time. Ctrl-C is for this process alone, so that a run saves its state as without others.

Under torchrun the processes are there already, and torchrun sees to their ends.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from threading import Event, Thread
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore, rendezvous  # type: ignore[attr-defined]
from torch.multiprocessing import spawn  # type: ignore[attr-defined]

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec, assemble
from laser_wireless.benchmarks.crew import END, LOAD, STEP, Crew
from laser_wireless.benchmarks.failures import Elsewhere, Failed
from laser_wireless.benchmarks.training_run import Device, Trainer, TrainingRun, torch_device
from laser_wireless.channels.child_process import end_with
from laser_wireless.training.processes import ProcessLost

_HOST = "127.0.0.1"
_PATIENCE_S = 20.0  # from the end of one process to that of all
_WAIT = timedelta(days=1)  # while the first evaluates; one that ends is noticed at once
_TO_SAY_IT_S = 2.0  # until the first process has read how another one ended
_SAID, _LEFT_ALONE = 71, 70  # exit statuses: of a process whose error is in the store, and of one that lost another
_FAILURE = "failure"
_GO_ON = "the same command goes on from the last checkpoint"

CrewToEnter: TypeAlias = Callable[[], AbstractContextManager[Crew | None]]


@contextmanager
def crew_of(processes: int, spec: Spec, device: Device, num_devices: int) -> Iterator[CrewToEnter]:
    """What to enter for so many processes of a run: gives its `Crew`, or None where this process holds all devices.

    Args:
        processes: >= 1; those of torchrun, if it has started this one.
        spec: the plain configuration of the `TrainingRun`; the others assemble it anew.
        device: where each computes; on GPUs in turn.
        num_devices: K of the run.

    Raises:
        BadConfiguration: no process, or one without a device, or others than torchrun's.
    """
    started = int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1
    if started > 1 and processes not in (1, started):
        raise BadConfiguration(f"--processes must be left out under torchrun, which has started {started}, got {processes}")
    number = started if started > 1 else processes
    if not 1 <= number <= num_devices:
        raise BadConfiguration(
            f"--processes must be 1 .. {num_devices}: each holds one of {num_devices} devices at least, got {number}"
        )
    if started > 1:
        with _met(spec, device, num_devices) as crew:
            yield lambda: nullcontext(crew)
    else:
        yield nullcontext if processes == 1 else partial(_hired, processes, spec, device, num_devices)


def is_follower() -> bool:
    """Whether torchrun has started this process, and another one is the first."""
    return dist.is_torchelastic_launched() and int(os.environ["RANK"]) > 0


def follow(spec: Spec, device: Device) -> int:
    """Do what torchrun's first process orders; the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first has it, saves the run and orders the end
    status = _obey(_torchruns_processes(), spec, device)
    if status == _SAID:
        time.sleep(_TO_SAY_IT_S)  # before torchrun ends the first one too
    return status


@contextmanager
def _met(spec: Spec, device: Device, num_devices: int) -> Iterator[Crew]:
    """This process, the first that torchrun has started, and the others; raises as `_hired`."""
    processes = _torchruns_processes()
    try:
        with _group(processes, device):
            crew = Crew(num_devices)
            yield crew
            crew.order(END)
    except ProcessLost as lost:
        raise _cause([], processes.store) from lost


class _Processes(NamedTuple):
    """How those of a run find each other: their store, which of how many this one is, and the same on this machine."""

    store: Store
    rank: int
    number: int
    rank_here: int
    number_here: int


def _torchruns_processes() -> _Processes:
    store, rank, number = next(rendezvous("env://"))
    here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]  # torchrun may keep the store, and with it who was there before
    return _Processes(PrefixStore(f"laser run, attempt {attempt}", store), rank, number, *here)


@contextmanager
def _hired(processes: int, spec: Spec, device: Device, num_devices: int) -> Iterator[Crew]:
    """This process and so many others, which end with the block.

    Raises:
        Elsewhere: an error in another process.
        ChildProcessError: another process has ended otherwise.
    """
    store, over = TCPStore(_HOST, 0, is_master=True, wait_for_workers=False), Event()
    others: list[BaseProcess] = []
    try:
        _start(others, processes - 1, os.getpid(), store.port, processes, spec, device)
        Thread(target=_see_to_the_end, args=(others, store, over), daemon=True).start()
        _wait_for(others, store)
        _stay_on_this_machine()
        with _group(_Processes(store, 0, processes, 0, processes), device):
            crew = Crew(num_devices)
            yield crew
            crew.order(END)
            for process in others:
                process.join(_PATIENCE_S)
    except ProcessLost as lost:
        raise _cause(others, store) from lost
    finally:
        over.set()
        for process in others:
            process.kill()
            process.join()


def _start(others: list[BaseProcess], number: int, *arguments: Any) -> None:
    """Start so many others, which never see Ctrl-C."""
    resource_tracker.ensure_running()  # which unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # they inherit it
    try:
        others += spawn(_other, arguments, nprocs=number, join=False).processes
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _other(index: int, parent: int, port: int, processes: int, spec: Spec, device: Device) -> None:
    """What another process does; its errors are the first one's to say."""
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stay_on_this_machine()
    rank, store = index + 1, TCPStore(_HOST, port, is_master=False, wait_for_workers=False)
    sys.exit(_obey(_Processes(store, rank, processes, rank, processes), spec, device))


def _obey(processes: _Processes, spec: Spec, device: Device) -> int:
    """Do what the first process orders; an error is left in the store. The exit status."""
    try:
        run: TrainingRun = assemble(TrainingRun, spec, "")
        processes.store.set(_ready(processes.rank), "")
        with _group(processes, device) as place:
            _follow(run, place, Crew(run.num_devices))
    except ProcessLost:
        return _LEFT_ALONE
    except BaseException as error:
        failed = Failed(error, "")
        found = str(failed), failed.ours, "".join(traceback.format_exception(error))
        processes.store.compare_set(_FAILURE, "", pickle.dumps(found).hex())
        return _SAID
    return 0


def _follow(run: TrainingRun, place: torch.device, crew: Crew) -> None:
    """Do what the first process orders, to the end."""
    trainer = Trainer(run, place, crew)
    while (order := crew.next_order()) != END:
        if order == STEP:
            trainer.step()
            trainer.forget()
        elif order == LOAD:
            trainer.load(crew.shared(trainer.memory))
        else:
            crew.air.collected(trainer.memory)


@contextmanager
def _group(processes: _Processes, device: Device) -> Iterator[torch.device]:
    """torch's default group: over NCCL where each process has a GPU of its own. Cores are divided, as long as nobody did."""
    place, threads = torch_device(device), torch.get_num_threads()
    backend = "gloo"
    if place.type == "cuda":
        place = torch.device("cuda", processes.rank_here % torch.cuda.device_count())
        torch.cuda.set_device(place)
        backend = "cpu:gloo,cuda:nccl" if processes.number_here <= torch.cuda.device_count() else "gloo"
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, threads // processes.number_here))
    store, rank, number, *_ = processes
    dist.init_process_group(backend, store=store, rank=rank, world_size=number, timeout=_WAIT)
    try:
        yield place
    finally:
        dist.destroy_process_group()
        torch.set_num_threads(threads)


def _stay_on_this_machine() -> None:
    """Let the processes reach each other whatever the machine's name stands for."""
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def _ready(rank: int) -> str:
    return f"process {rank} is ready"


def _wait_for(others: list[BaseProcess], store: Store) -> None:
    """Until all others are there.

    Raises:
        ProcessLost: one has ended.
    """
    while not store.check([_ready(rank) for rank in range(1, len(others) + 1)]):
        if not all(process.is_alive() for process in others):
            raise ProcessLost("a process ended before it began")
        time.sleep(0.02)


def _cause(others: list[BaseProcess], store: Store) -> Exception:
    """Why another process is lost: what it said, or how it ended."""
    deadline = time.monotonic() + _TO_SAY_IT_S
    while not (said := store.check([_FAILURE])) and not (how := _end_of(others)) and time.monotonic() < deadline:
        time.sleep(0.02)
    if said:
        return Elsewhere(*pickle.loads(bytes.fromhex(store.get(_FAILURE).decode())))
    return ChildProcessError(f"{how or 'a process of the run no longer answers'}; {_GO_ON}")


def _end_of(others: list[BaseProcess]) -> str:
    """Which process ended of itself, and how; empty if none did."""
    for rank, process in enumerate(others, start=1):
        code = process.exitcode
        if code in (None, 0, _SAID, _LEFT_ALONE):
            continue
        if code < 0:
            hint = "; is memory short?" if code == -signal.SIGKILL else ""
            return f"process {rank} of 0 .. {len(others)} ended with signal {signal.Signals(-code).name}{hint}"
        return f"process {rank} of 0 .. {len(others)} ended with exit status {code}"
    return ""


def _see_to_the_end(others: list[BaseProcess], store: Store, over: Event) -> None:
    """End this process if it does not notice in time that another one has ended."""
    while not over.wait(0.5):
        if any(process.exitcode for process in others) and not over.wait(_PATIENCE_S):
            print(f"laser run: {Failed(_cause(others, store), '')}", file=sys.stderr, flush=True)
            os._exit(1)
