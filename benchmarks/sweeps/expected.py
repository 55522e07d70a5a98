"""What a sweep would take: how many runs, and how long they would be, before any of them starts.

A few rounds of each scheme are timed as the sweep would compute them; nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

from laser_wireless.benchmarks.records import Row, aligned
from laser_wireless.benchmarks.side_by_side import Company, at_once
from laser_wireless.benchmarks.speed.measure import Clock
from laser_wireless.benchmarks.sweeps.candidates import NOISELESS
from laser_wireless.benchmarks.sweeps.engines.contract import Engine
from laser_wireless.benchmarks.sweeps.engines.local import LOCAL
from laser_wireless.benchmarks.sweeps.running import at_a_time, companies, place_of
from laser_wireless.benchmarks.sweeps.sweep import Cell, Sweep, cells, run_from
from laser_wireless.benchmarks.tasks import Split
from laser_wireless.benchmarks.training_run import Device, Trainer, torch_device
from laser_wireless.channels.uplinks.stacked import NotStackable

_TIMED = 5  # rounds


def expect(sweep: Sweep, root: Path, *, device: Device, jobs: int, engine: Engine = LOCAL) -> int:
    """Print what `run_sweep` would do.

    Args:
        sweep: what is to be compared.
        root: folder of the sweep, where some runs may be done already.
        device: where to compute.
        jobs: processes at a time, as for `run_sweep`.
        engine: which would compute; what takes how long is measured on this machine all the same.

    Returns:
        0, the exit status.
    """
    place = torch_device(device)
    count = at_a_time(engine, jobs, place_of(engine, device))
    rows = [row for scheme in (*sweep.schemes, NOISELESS) for row in _of_scheme(sweep, scheme, root, place, count)]
    print(aligned(rows))
    left, hours = (sum(row[name] for row in rows) for name in ("left", "hours"))
    longest = max((row["hours"] * 3600 / max(1, row["left"]) * row["together"] for row in rows if row["left"]), default=0.0)
    passed = tqdm.format_interval(max(hours * 3600 / count, longest))
    print(
        f"\n{sum(row['runs'] for row in rows)} runs, {left} left to do: about {passed} on {engine.where(count)}, "
        f"{hours * engine.cores:.2g} {'GPU' if place.type == 'cuda' else 'core'} hours\n"
        "together: runs that a process computes side by side, 1 where that cannot be; ms: for a round of one run, median of "
        f"{_TIMED},\nmeasured now; hours: of one process, evaluations included. Not counted: queues, starts, pictures"
    )
    return 0


def _of_scheme(sweep: Sweep, scheme: str, root: Path, place: torch.device, count: int) -> Iterator[Row]:
    todo = list(cells(sweep, scheme))
    left = [cell for cell in todo if not (cell.folder(root) / "result.json").exists()]
    row: Row = {"scheme": scheme, "runs": len(todo), "left": len(left), "rounds": sweep.num_rounds, "together": 0}
    if not left:
        yield {**row, "ms": 0.0, "hours": 0.0}
        return
    company = max(companies(left, place, count), key=len)
    with _threads_of_a_process(place, count):
        together, round_s, evaluation_s = _timed([left[number] for number in company], place)
    looks = -(-sweep.num_rounds // sweep.evaluate_every)
    seconds = len(left) * (sweep.num_rounds * round_s + looks * evaluation_s)
    yield {**row, "together": together, "ms": round_s * 1e3, "hours": seconds / 3600}


@contextmanager
def _threads_of_a_process(place: torch.device, count: int) -> Iterator[None]:
    """As many threads as a process of the sweep has: one where there are several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if count > 1 and place.type == "cpu" else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timed(company: list[Cell], place: torch.device) -> tuple[int, float, float]:
    """How many runs are computed together, seconds of a round of one run, and of one look at both parts of the data."""
    trainers = [Trainer(run_from(company[0].spec), place)]
    trainers += [Trainer(run_from(cell.spec), place) for cell in company[1 : at_once(trainers[0], len(company), place)]]
    step, together, clock = trainers[0].step, 1, Clock(place)
    try:
        beside = Company(trainers)
        beside.step()
        beside.step()  # two, in which it is seen whether these are the runs alone
        step, together = beside.step, len(trainers)
    except NotStackable:
        step()
    round_s = median(clock.time(step) for _ in range(_TIMED)) / together
    parts: tuple[Split, ...] = ("validation", "test")
    return together, round_s, sum(clock.time(partial(trainers[0].metrics, part)) for part in parts)
