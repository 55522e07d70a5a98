"""Sweeps that are killed at any moment: nothing of them lives on, and the same command ends with the same files.

Three kills by default; LASER_KILLS=100 python -m pytest -s tests/benchmarks/test_kills.py makes it a hundred.
"""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

KILLS = int(os.environ.get("LASER_KILLS", "3"))
SECONDS_TO_END = 5.0
TINY = {
    "task": {"class_path": "Digits", "init_args": {"architecture": "linear"}},
    "uplink": {"class_path": "AnalogUplink", "init_args": {"fading": "Rayleigh", "power_control": "TruncatedInversion"}},
    "schemes": ["laser", "z-sgd"],
    "energy_budgets": [10, 1000],
    "learning_rates": [0.1],
    "seeds": [0],
    "num_devices": 4,
    "num_rounds": 60,
    "evaluate_every": 10,
    "checkpoint_seconds": 0.05,
}
SWEEP = [sys.executable, "-m", "laser_wireless.benchmarks.cli", "sweep", "tiny.yaml", "--jobs", "2", "--device", "cpu"]


@dataclass
class Marked:
    """A command all of whose processes carry a mark in their environment."""

    folder: Path
    output: str
    mark: str = field(default_factory=lambda: f"LASER_MARK={uuid4().hex}")

    def start(self):
        (self.folder / "temporary").mkdir(exist_ok=True)
        name, value = self.mark.split("=")
        environment = {**os.environ, name: value, "TMPDIR": str(self.folder / "temporary")}
        command = [*SWEEP, "--output", self.output]
        with open(self.folder / "log.txt", "ab") as log:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)

    def alive(self):
        """Process ids, and which of them are workers."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = b"worker.py" in (path / "cmdline").read_bytes()
            except OSError:  # it ended meanwhile
                continue
        return found


def files_of(folder):
    """What is left of a sweep: names of all files, contents of the tables."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() if path.suffix == ".csv" else b"" for path in paths}


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def strike(sweep, main, target):
    """Kill the sweep's main process, one of its workers, or all its processes; returns how many were hit."""
    found = sweep.alive()
    workers = [pid for pid, is_worker in found.items() if is_worker]
    chosen = {"main": [main.pid], "worker": workers[:1], "both": [main.pid, *workers]}[target]
    return sum(map(kill, chosen)) if main.poll() is None else 0


def assert_nothing_lives_on(sweep):
    deadline = time.monotonic() + SECONDS_TO_END
    while left := sweep.alive():
        assert time.monotonic() < deadline, f"processes outlive their sweep: {left}"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_sweep_killed_at_any_moment_ends_with_the_same_files(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    start = time.monotonic()
    assert Marked(tmp_path, "whole").start().wait() == 0
    whole, seconds = files_of(tmp_path / "whole"), time.monotonic() - start
    temporary = files_of(tmp_path / "temporary")
    assert {"table.csv", "savings.csv"} <= set(whole)
    chance, hits, sweeps = random.Random(0), {"main": 0, "worker": 0, "both": 0}, 0
    while sum(hits.values()) < KILLS:
        sweeps += 1
        sweep, ended = Marked(tmp_path, f"broken{sweeps}"), None
        while ended != 0:
            main, target = sweep.start(), min(hits, key=hits.get)
            if sum(hits.values()) < KILLS:
                time.sleep(chance.uniform(0, seconds))
                hits[target] += strike(sweep, main, target) > 0
                if target != "worker":
                    main.wait()
                    assert_nothing_lives_on(sweep)
            ended = main.wait()
            assert ended in (0, -signal.SIGKILL), (tmp_path / "log.txt").read_text()
            assert_nothing_lives_on(sweep)
        assert files_of(tmp_path / sweep.output) == whole
    assert files_of(tmp_path / "temporary") == temporary  # torch keeps some there
    print(f"killed while running: {hits}, in {sweeps} sweeps of {seconds:.1f} s; nothing lived on, all files equal")
