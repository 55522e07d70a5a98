"""--dry-run: the number of runs and the time they would take, and nothing on disk."""

import re

import pytest

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.sweeps import expected

FILE = """
task: {class_path: digits, init_args: {width: 8, batch_size: 4}}
schemes: [laser, sketching]
energy_budgets: [1, 100]
learning_rates: [0.01, 0.1, 1]
seeds: [0, 1]
num_devices: 2
num_rounds: 4
evaluate_every: 3
"""


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(FILE)
    return ["sweep", "mine.yaml", "--device", "cpu", "--output", "out", "--jobs", "1"]


def rows_of(text):
    lines = [line.split() for line in text.splitlines() if line.split()]
    return {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:4]}


def test_what_is_to_do_is_counted_and_timed_and_nothing_is_written(words, tmp_path, capsys):
    assert main([*words, "--dry-run"]) == 0
    found = capsys.readouterr().out
    rows = rows_of(found)
    assert {name: (row["runs"], row["left"], row["rounds"]) for name, row in rows.items()} == {
        "laser": ("12", "12", "4"),
        "sketching": ("12", "12", "4"),
        "noiseless": ("6", "6", "4"),
    }
    assert (rows["laser"]["together"], rows["sketching"]["together"]) == ("12", "12")
    assert all(float(row["ms"]) > 0 and float(row["hours"]) > 0 for row in rows.values())
    assert re.search(r"30 runs, 30 left to do: about \d\d:\d\d on 1 process of this machine", found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml"]


def test_runs_that_are_done_are_not_counted_again(words, capsys):
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--dry-run"]) == 0
    assert "30 runs, 0 left to do: about 00:00" in capsys.readouterr().out
    assert main([*words, "--seeds", "[0, 1, 2]", "--dry-run"]) == 0
    found = capsys.readouterr().out
    assert {name: row["left"] for name, row in rows_of(found).items()} == {"laser": "6", "sketching": "6", "noiseless": "3"}


def test_time_grows_with_the_rounds_and_shrinks_with_the_processes(words, monkeypatch, capsys):
    monkeypatch.setattr(expected, "_timed", lambda company, place: (len(company), 0.5, 6.0))
    assert main([*words, "--dry-run"]) == 0
    assert "about 07:00 on 1 process" in capsys.readouterr().out  # 30 x (2 + 12) s
    assert main([*words[:-2], "--jobs", "2", "--dry-run"]) == 0
    assert "about 03:30 on 2 processes" in capsys.readouterr().out
    assert main([*words, "--num_rounds", "40", "--dry-run"]) == 0
    assert "about 52:00 on 1 process" in capsys.readouterr().out  # 30 x (20 + 14 x 6) s


def test_a_study_that_trains_nothing_has_nothing_to_expect(capsys):
    assert main(["sweep", "communication", "--dry-run"]) == 2
    assert "--dry-run is for sweeps over power" in capsys.readouterr().err


def test_help_names_it(capsys):
    assert main(["sweep", "--help"]) == 0
    assert "--dry-run" in capsys.readouterr().out
