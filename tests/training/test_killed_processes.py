"""Processes of a DDP training killed at any moment: the others end soon and say why, and the run resumes bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

JOB = Path(__file__).resolve().parent.parent / "helpers" / "ddp_job.py"
NUM_PROCESSES = 3
PATIENCE_S = 30.0
NUM_KILLS = int(os.environ.get("LASER_KILLS", "2"))
NUM_ROUNDS = 100 * (NUM_KILLS + 1)


def start(folder: Path, attempt: int) -> list[subprocess.Popen]:
    store = folder / f"store-{attempt}"
    places = [str(store), str(folder), str(NUM_ROUNDS)]
    arguments = [[str(rank), str(NUM_PROCESSES), *places] for rank in range(NUM_PROCESSES)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return [subprocess.Popen([sys.executable, str(JOB), *words], **pipes) for words in arguments]


def ended(processes) -> list[str]:
    """What they printed; fails if one does not end in time."""
    return [process.communicate(timeout=PATIENCE_S)[0] for process in processes]


def trained(folder: Path) -> torch.Tensor:
    processes = start(folder, 0)
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * NUM_PROCESSES
    return torch.load(folder / "weights.pt")


@pytest.mark.slow
def test_killed_runs_end_soon_and_resume_bit_for_bit(tmp_path):
    whole, torn, chance = tmp_path / "whole", tmp_path / "torn", random.Random(0)
    whole.mkdir(), torn.mkdir()
    expected, lines = trained(whole), []
    for attempt in range(1, NUM_KILLS + 1):
        processes = start(torn, attempt)
        places = len(list(torn.glob("round-*/.metadata")))
        deadline = time.monotonic() + PATIENCE_S
        while len(list(torn.glob("round-*/.metadata"))) <= places + chance.randrange(2) and time.monotonic() < deadline:
            time.sleep(0.02)  # until it is under way
        time.sleep(chance.random() / 5)
        victim = chance.choice(processes)
        victim.send_signal(signal.SIGKILL)
        since = time.monotonic()
        printed = ended(processes)
        assert time.monotonic() - since < PATIENCE_S
        assert all(process.returncode is not None for process in processes)  # no orphan
        lines += [text for process, text in zip(processes, printed, strict=True) if process is not victim and text]
        assert not (torn / "weights.pt").exists(), "the run came to its end before it was killed"
    assert torch.equal(trained(torn), expected)
    assert any("a process of the run has ended or no longer answers" in line for line in lines), lines
