"""Engines: whatever becomes of a work, it takes no other with it, on this machine, under SLURM and under Dask."""

import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
from helpers.slurm_node import missing, slurm_node
from helpers.works import works_in

from laser_wireless.benchmarks.sweeps.engines.dask import Dask
from laser_wireless.benchmarks.sweeps.engines.local import Local
from laser_wireless.benchmarks.sweeps.engines.slurm import Slurm
from laser_wireless.benchmarks.sweeps.processes import Ended

WORKS = """
def fail(text):
    raise RuntimeError(text)

def wait_in(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(120)
"""


@pytest.fixture
def works(tmp_path, monkeypatch):
    return works_in(tmp_path, monkeypatch, WORKS)


@pytest.fixture
def cluster(monkeypatch):
    """A SLURM cluster of one node, to which this process submits."""
    if reason := missing():
        pytest.skip(reason)
    with slurm_node() as environment:
        for name in ("SLURM_CONF", "PATH"):
            monkeypatch.setenv(name, environment[name])
        yield


def wait_for(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ends_of_works(engine, works, folder):
    """Check what becomes of works; how those ended that gave no result, in words, in their order; and a process in hand.

    The last work is in hand when nobody waits for it any more.
    """
    several = [
        partial(works.square, 3),
        partial(works.fail, "on purpose"),
        partial(works.leave, 7),
        partial(works.die_once, str(folder / "died")),
        partial(works.wait_in, str(folder / "begun")),
    ]
    ticks, found = [], {}
    outcomes = engine.do(several, jobs=2, folder=folder, tick=lambda: ticks.append(0))
    while len(found) < 4:
        found.update([next(outcomes)])
    wait_for(lambda: (folder / "begun").exists() and (folder / "begun").read_text())
    outcomes.close()
    assert (found[0], found[3]) == (9, "done at the second try")
    assert all(isinstance(found[number], Ended) for number in (1, 2))
    assert ticks
    return str(found[1]), str(found[2]), Path("/proc") / (folder / "begun").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine", [pytest.param(Local(), id="local"), pytest.param(Dask(), id="dask", marks=pytest.mark.slow)]
)
def test_each_work_has_its_own_end(engine, works, tmp_path):
    *how, process = ends_of_works(engine, works, tmp_path)
    assert how == [f"its process ended with exit status {code}, 2 times" for code in (1, 7)]
    wait_for(lambda: not process.exists(), 10)


@pytest.mark.slow
def test_each_work_has_its_own_end_under_slurm(cluster, works, tmp_path):
    raised, left, process = ends_of_works(Slurm(mem_gb=0.1), works, tmp_path)
    assert "raised an error, 2 times; see " in raised
    assert "ended as FAILED, 2 times; see " in left
    logs = [Path(line.rpartition("see ")[2]) for line in (raised, left)]
    assert all(log.is_relative_to(tmp_path) for log in logs)
    assert ["RuntimeError: on purpose" in log.read_text() for log in logs] == [True, False]
    wait_for(lambda: not process.exists(), 30)
    command = ["squeue", "--noheader", "--states=CANCELLED", "--format=%T"]
    wait_for(lambda: subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["CANCELLED"])
