"""Sweeps that are killed at any moment: nothing of them lives on, and the same command ends with the same files.

Three kills by default; LASER_KILLS=100 python -m pytest -s tests/benchmarks/test_kills.py makes it a hundred.
"""

import os
import random
import signal
import time

import pytest
import yaml
from helpers.marked import Marked, assert_nothing_lives_on

KILLS = int(os.environ.get("LASER_KILLS", "3"))
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
SWEEP = ["sweep", "tiny.yaml", "--jobs", "2", "--device", "cpu"]


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
    workers = [pid for pid, command in sweep.alive().items() if b"worker.py" in command]
    chosen = {"main": [main.pid], "worker": workers[:1], "both": [main.pid, *workers]}[target]
    return sum(map(kill, chosen)) if main.poll() is None else 0


@pytest.mark.slow
def test_a_sweep_killed_at_any_moment_ends_with_the_same_files(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    start = time.monotonic()
    assert Marked(tmp_path, [*SWEEP, "--output", "whole"]).start().wait() == 0
    whole, seconds = files_of(tmp_path / "whole"), time.monotonic() - start
    temporary = files_of(tmp_path / "temporary")
    assert {"table.csv", "savings.csv"} <= set(whole)
    chance, hits, sweeps = random.Random(0), {"main": 0, "worker": 0, "both": 0}, 0
    while sum(hits.values()) < KILLS:
        sweeps += 1
        output = f"broken{sweeps}"
        sweep, ended = Marked(tmp_path, [*SWEEP, "--output", output]), None
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
        assert files_of(tmp_path / output) == whole
    assert files_of(tmp_path / "temporary") == temporary  # torch keeps some there
    print(f"killed while running: {hits}, in {sweeps} sweeps of {seconds:.1f} s; nothing lived on, all files equal")
