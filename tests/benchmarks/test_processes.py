"""Processes that do a sweep's work: any of them may end, none outlives what started it."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from helpers.works import works_in

from laser_wireless.benchmarks.sweeps.processes import Ended, in_processes
from laser_wireless.channels import child_process

WORK = """
def die(signal_number):
    os.kill(os.getpid(), signal_number)

def sleep(seconds):
    time.sleep(seconds)

def fork_and_die():
    if os.fork() == 0:
        time.sleep(3)  # and holds the connection open
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)

def number_of_threads():
    return os.environ["OMP_NUM_THREADS"]

def wait_for_interrupt(path):
    try:
        open(path + ".begun", "x").close()
        time.sleep(60)
    except KeyboardInterrupt:
        open(path, "x").close()
        raise
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    return works_in(tmp_path, monkeypatch, WORK)


def children():
    """Processes started by this one."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize("jobs", [1, 3, 9])
def test_every_work_is_done_once_and_no_process_stays(work, jobs):
    before = children()
    found = list(in_processes([partial(work.square, number) for number in range(7)], jobs))
    assert sorted(found) == [(number, number * number) for number in range(7)]
    assert children() == before


@pytest.mark.parametrize(
    ("name", "argument", "code", "said"),
    [
        ("leave", 0, 0, "exit status 0, 2 times"),
        ("leave", 7, 7, "exit status 7, 2 times"),
        ("die", signal.SIGSEGV, -signal.SIGSEGV, "signal SIGSEGV, 2 times"),
        ("die", signal.SIGKILL, -signal.SIGKILL, "signal SIGKILL, 2 times; is memory short? fewer --jobs need less"),
    ],
)
def test_a_process_that_ends_takes_its_own_work_alone(work, name, argument, code, said):
    works = [partial(work.square, number) for number in range(5)]
    works[1] = partial(getattr(work, name), argument)
    found = dict(in_processes(works, 2))
    assert found == {0: 0, 1: Ended(code), 2: 4, 3: 9, 4: 16}
    assert str(found[1]) == f"its process ended with {said}"


def test_a_process_that_was_killed_once_is_replaced(work, tmp_path):
    works = [partial(work.square, 3), partial(work.die_once, str(tmp_path / "died"))]
    assert dict(in_processes(works, 2)) == {0: 9, 1: "done at the second try"}


def test_the_end_of_a_process_is_seen_though_its_own_child_lives(work):
    start = time.monotonic()
    assert dict(in_processes([work.fork_and_die], 1)) == {0: Ended(-signal.SIGKILL)}
    assert time.monotonic() - start < 6


@pytest.mark.slow
def test_processes_end_with_who_stops_reading(work):
    before = children()
    found = in_processes([partial(work.square, 2), partial(work.sleep, 60), partial(work.sleep, 60)], 2)
    assert next(found) == (0, 4)
    assert children() != before
    found.close()
    assert children() == before


@pytest.mark.slow
def test_work_in_hand_is_interrupted_and_may_save_its_state(work, tmp_path):
    works = [partial(work.square, 2), partial(work.wait_for_interrupt, str(tmp_path / "saved"))]
    found = in_processes(works, 2)
    next(found)
    while not (tmp_path / "saved.begun").exists():
        time.sleep(0.02)
    found.close()
    assert (tmp_path / "saved").exists()


def test_time_passes_while_nothing_is_done(work):
    ticks = []
    list(in_processes([partial(work.sleep, 2.5)], 1, lambda: ticks.append(time.monotonic())))
    assert len(ticks) >= 3


def test_processes_have_one_thread_unless_the_user_says_otherwise(work, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert list(in_processes([work.number_of_threads], 1)) == [(0, "1")]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert list(in_processes([work.number_of_threads], 1)) == [(0, "2")]


PARENT = """\
import subprocess, sys, time
from child_process import command
child = subprocess.Popen(command("child.py"))
print(child.pid, flush=True)
time.sleep(60)
"""
SLEEPS = "import time\ntime.sleep(60)\n"
HOLDS_THE_LOCK = "import ctypes\nctypes.PyDLL(None).sleep(60)\n"  # the interpreter's, so that none of its threads runs


@pytest.mark.parametrize(
    ("program", "platform"),
    [(SLEEPS, "linux"), (HOLDS_THE_LOCK, "linux"), (SLEEPS, "another")],
    ids=["asleep", "in a call that lets no thread run", "where the kernel knows of no parents"],
)
def test_a_child_process_ends_with_its_parent(tmp_path, program, platform):
    text = Path(child_process.__file__).read_text().replace('"linux"', f'"{platform}"')
    for name, content in (("child_process", text), ("child", program), ("parent", PARENT)):
        (tmp_path / f"{name}.py").write_text(content)
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    time.sleep(0.5)
    assert is_alive(pid)
    parent.kill()
    parent.wait()  # not communicate(), which the child would hold up
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while is_alive(pid):
        assert time.monotonic() < deadline, "the child outlives its parent"
        time.sleep(0.05)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
