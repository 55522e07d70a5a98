"""Several sweeps in one folder at once, and sweeps by engines: no run is computed twice, and the files are those of one."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from distributed import LocalCluster
from helpers.drivers import Driver, files_of
from helpers.slurm_node import missing, slurm_node

COUNTED = """\
import os, time
from dataclasses import dataclass
from laser_wireless.benchmarks.tasks import Digits

@dataclass(frozen=True, kw_only=True)
class Counted(Digits):
    def model(self, seed):
        with open("models.log", "a") as log:
            log.write(f"{seed} {os.getpid()}\\n")
        return super().model(seed)

@dataclass(frozen=True, kw_only=True)
class Stuck(Counted):
    def model(self, seed):
        try:
            open("stuck", "x").close()
        except FileExistsError:
            return super().model(seed)
        time.sleep(600)
"""
TINY = {
    "task": {"class_path": "counted.Counted", "init_args": {"architecture": "linear", "batch_size": 4}},
    "uplink": {"class_path": "AnalogUplink", "init_args": {"fading": "Rayleigh", "power_control": "TruncatedInversion"}},
    "schemes": ["z-sgd"],
    "energy_budgets": [10, 1000],
    "learning_rates": [0.1],
    "seeds": [0, 1],
    "num_devices": 2,
    "num_rounds": 4,
    "evaluate_every": 2,
}
RUNS = 6
STUCK = TINY | {"task": TINY["task"] | {"class_path": "counted.Stuck"}}
FIFTY = TINY | {"schemes": ["laser", "z-sgd"], "seeds": list(range(10)), "num_rounds": 20}


def prepare(folder, content):
    (folder / "counted.py").write_text(COUNTED)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))


def wait_for(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def end_of(driver, main):
    """The files that a driver leaves which has ended well."""
    assert main.wait() == 0, (driver.folder / driver.log).read_text()
    return files_of(driver.folder / "runs/tiny")


def runs_computed(folder, drivers):
    """By the models that were made: one for each run, and one for the table of each driver."""
    return len((folder / "models.log").read_text().splitlines()) - drivers


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What one driver leaves."""
    folder = tmp_path_factory.mktemp("plain")
    prepare(folder, TINY)
    driver = Driver(folder, ["tiny.yaml", "--jobs", "1"])
    files = end_of(driver, driver.start())
    assert runs_computed(folder, 1) == RUNS
    return files


@pytest.mark.slow
def test_two_drivers_at_once_compute_each_run_once(plain, tmp_path):
    prepare(tmp_path, TINY)
    two = [Driver(tmp_path, ["tiny.yaml", "--jobs", "1"], log) for log in ("one.txt", "two.txt")]
    ends = [end_of(driver, main) for driver, main in [(driver, driver.start()) for driver in two]]
    assert ends == [plain, plain]
    assert runs_computed(tmp_path, 2) == RUNS


@pytest.mark.slow
def test_a_driver_takes_over_what_a_killed_one_was_at(plain, tmp_path):
    prepare(tmp_path, STUCK)
    one, two = (Driver(tmp_path, ["tiny.yaml", "--jobs", "1"], log) for log in ("one.txt", "two.txt"))
    first = one.start()
    wait_for(lambda: (tmp_path / "stuck").exists())
    second = two.start()
    wait_for(lambda: "computed by process" in (tmp_path / "two.txt").read_text())
    said = (tmp_path / "two.txt").read_text()
    assert f"4 runs are computed by process {first.pid} on {os.uname().nodename}; waiting" in said
    first.kill()
    first.wait()
    killed = time.monotonic()
    found = end_of(two, second)
    assert time.monotonic() - killed < 30
    assert runs_computed(tmp_path, 1) == RUNS
    for name in ("table.csv", "savings.csv"):
        assert found[name] == plain[name]
    assert not list(tmp_path.rglob("claim.*"))


def of_engine(driver, word):
    """Processes of an engine: those with a word in their command lines."""
    return [pid for pid, line in driver.processes().items() if word in line]


def kill_parent_of_a_worker(driver):
    """Kill what the engine started in the middle of a run: the process that a process of the sweep hangs on."""
    wait_for(lambda: of_engine(driver, "worker.py") and (driver.folder / "models.log").exists())
    pid = of_engine(driver, "worker.py")[0]
    os.kill(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)


@pytest.mark.slow
def test_dask_with_a_worker_killed_leaves_the_same_tables(plain, tmp_path):
    prepare(tmp_path, TINY)
    driver = Driver(tmp_path, ["tiny.yaml", "--engine", "dask", "--jobs", "2"])
    main = driver.start()
    kill_parent_of_a_worker(driver)
    assert end_of(driver, main) == plain


@pytest.mark.slow
def test_a_scheduler_that_is_there_and_workers_with_several_threads_elsewhere_do_as_well(plain, tmp_path):
    prepare(tmp_path, TINY)
    with LocalCluster(n_workers=1, threads_per_worker=2, memory_limit=0, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        driver = Driver(tmp_path, ["tiny.yaml", "--engine", "dask", "--engine.address", address])
        assert end_of(driver, driver.start()) == plain
    assert runs_computed(tmp_path, 1) == RUNS


@pytest.mark.slow
def test_slurm_with_a_job_killed_leaves_the_same_tables(tmp_path):
    if reason := missing():
        pytest.skip(reason)
    for name in ("plain", "slurm"):
        (tmp_path / name).mkdir()
        prepare(tmp_path / name, FIFTY)
    driver = Driver(tmp_path / "plain", ["tiny.yaml"])
    plain = end_of(driver, driver.start())
    assert runs_computed(driver.folder, 1) == 50
    with slurm_node() as environment:
        driver = Driver(tmp_path / "slurm", ["tiny.yaml", "--engine", "slurm", "--engine.mem_gb", "0.1", "--jobs", "2"])
        main = driver.start(environment)
        wait_for(lambda: of_engine(driver, "submitit.core._submit") and (driver.folder / "models.log").exists())
        os.kill(max(of_engine(driver, "submitit.core._submit")), signal.SIGKILL)
        assert end_of(driver, main) == plain
        asked = ["squeue", "--noheader", "--states=all", "--format=%T"]
        states = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert states.count("FAILED") == 1
    assert set(states) == {"FAILED", "COMPLETED"}
