"""A command in a process of its own: whose reader goes away, and what it says of bad options."""

import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "laser_wireless.benchmarks.cli"]


@pytest.mark.parametrize(
    "line", ["run --help", pytest.param("channel --num_rounds 2 --snr_db [0] --device cpu", marks=pytest.mark.slow)]
)
def test_a_reader_who_goes_away_ends_the_command_quietly(line, tmp_path):
    process = subprocess.Popen(
        [*COMMAND, *line.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert all(" cases, " in line for line in said.splitlines()), said  # progress alone


def test_a_real_process_says_one_line_and_ends_with_status_2(tmp_path):
    done = subprocess.run([*COMMAND, "channel", "--fading", "[Rayleigh"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
