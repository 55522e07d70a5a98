"""Progress in a log: a line soon, then now and then, with the time left; on a terminal a bar."""

import io
import re

import pytest
import yaml

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.progress import Progress, shown


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_come_soon_then_every_half_minute_and_at_the_end():
    clock, log = Clock(), io.StringIO()
    with Progress(100, "round", done=0, file=log, clock=clock) as progress:
        for done in range(1, 101):
            clock.now += 1.0
            progress.to(done, f"validation {1 / done:.2f}")
    assert log.getvalue().splitlines() == [
        "2 of 100 rounds, 00:02 passed, 01:38 left, validation 0.50",
        "32 of 100 rounds, 00:32 passed, 01:08 left, validation 0.03",
        "62 of 100 rounds, 01:02 passed, 00:38 left, validation 0.02",
        "92 of 100 rounds, 01:32 passed, 00:08 left, validation 0.01",
        "100 of 100 rounds, 01:40 passed, validation 0.01",
    ]


def test_time_passes_in_a_log_though_nothing_is_done():
    clock, log = Clock(), io.StringIO()
    with Progress(4, "run", done=0, file=log, clock=clock) as progress:
        for _ in range(3600):
            clock.now += 1.0
            progress.tick()
        assert len(log.getvalue().splitlines()) == 120
        assert log.getvalue().splitlines()[-1] == "0 of 4 runs, 59:32 passed, unknown time left"


@pytest.mark.parametrize(
    ("before", "first", "line"),
    [
        (80, 81, "81 of 100 runs, 00:02 passed, 00:38 left"),  # as told
        (None, 81, "81 of 100 runs, 00:02 passed, 00:38 left"),  # as seen: a round at a time
        (0, 81, "81 of 100 runs, 00:02 passed, 00:00 left"),  # 81 in two seconds
    ],
)
def test_what_an_earlier_command_did_is_not_counted_as_fast(before, first, line):
    clock, log = Clock(), io.StringIO()
    progress = Progress(100, "run", done=before, file=log, clock=clock)
    clock.now += 2.0
    progress.to(first)
    assert log.getvalue() == line + "\n"


def test_nothing_is_said_of_work_that_failed_or_was_not_needed():
    log = io.StringIO()
    with Progress(3, "round", file=log):
        pass
    failing = Progress(3, "round", file=log)
    failing.to(1)
    failing.__exit__(ValueError, ValueError("odd"), None)
    assert log.getvalue() == ""


def test_a_terminal_has_a_bar():
    screen = Terminal()
    with Progress(8, "round", file=screen) as progress:
        for done in range(5, 9):  # the first four were done before
            progress.to(done, "validation 0.5")
    assert "8/8" in screen.getvalue()
    assert "validation 0.5" in screen.getvalue()
    assert "\r" in screen.getvalue()


def test_items_are_shown(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    assert list(shown("abc", "case", done=2)) == ["a", "b", "c"]
    assert log.getvalue() == "5 of 5 cases, 00:00 passed\n"


def test_every_command_shows_it_in_a_log(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("laser_wireless.benchmarks.progress._FIRST_S", 0.0)
    small = {"num_devices": 2, "num_rounds": 3, "task": {"class_path": "Digits", "init_args": {"width": 8}}}
    content = {**small, "schemes": ["z-sgd"], "energy_budgets": [1], "learning_rates": [0.1], "seeds": [0]}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    for words, unit in (
        ("run --uplink.energy_budget 1 --num_devices 2 --num_rounds 3 --task.width 8", "3 rounds"),
        ("sweep sweep.yaml --jobs 1", "2 runs"),
        ("channel --num_rounds 3 --snr_db [0,10]", "2 cases"),
        ("channel --num_rounds 3 --view gains --fading [Rayleigh,Rician]", "2 cases"),
    ):
        assert main([*words.split(), "--device", "cpu", "--output", f"out-{unit[0]}-{len(words)}"]) == 0
        first, *_, last = capsys.readouterr().err.splitlines()
        assert re.fullmatch(rf"[01] of {unit}, 00:\d\d passed, .* left.*", first), first
        assert re.fullmatch(rf"{unit[0]} of {unit}, 00:\d\d passed.*", last), last
