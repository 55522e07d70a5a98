"""A sweep as it is seen while it goes on: on a terminal of any width, in a log, after Ctrl-C; nothing is changed by it."""

import io
import json
import math
import os

import pytest
import yaml
from helpers.terminal import Terminal

from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.lines_below import LinesBelow, screen_of
from laser_wireless.benchmarks.run_folder import say
from laser_wireless.benchmarks.sweeps import live_view
from laser_wireless.benchmarks.sweeps.live_view import Curves, LiveView


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def known_run(scheme="laser", budget=4.0, rate=0.1, arguments="", seed=0):
    return {"scheme": scheme, "energy_budget": budget, "learning_rate": rate, "arguments": arguments, "seed": seed}


def result_of(loss, best=None, status="done"):
    best = loss if best is None else best
    return {"status": status, "metrics": {"validation": {"loss": loss}}, "best": {"metrics": {"validation": {"loss": best}}}}


def runs_in(folder, count, **more):
    folders = [folder / str(number) for number in range(count)]
    for one in folders:
        one.mkdir(exist_ok=True)
    return [known_run(seed=seed, **more) for seed in range(count)], folders


@pytest.fixture(autouse=True)
def _of_eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


# The curves


def test_a_budget_has_the_least_mean_among_candidates_with_the_most_seeds():
    curves = Curves("last")
    for rate, losses in ((0.1, [1.0, 3.0]), (0.2, [1.5, 1.7]), (0.3, [0.1])):
        for seed, loss in enumerate(losses):
            curves.note(known_run(rate=rate, seed=seed), result_of(loss, best=9.0))
    assert curves.best("laser", 4.0) == pytest.approx(1.6)
    assert math.isnan(curves.best("laser", 8.0))
    assert math.isnan(curves.best("z-sgd", 4.0))


def test_runs_are_judged_as_the_sweep_judges_them():
    curves = Curves("best")
    curves.note(known_run(), result_of(2.0, best=1.0))
    assert curves.best("laser", 4.0) == 1.0


def test_what_diverged_is_infinite_and_what_failed_is_not_known():
    curves = Curves("last")
    curves.note(known_run(), result_of(math.inf, status="diverged"))
    curves.note(known_run("z-sgd"), {"status": "failed", "reason": "odd"})
    assert curves.best("laser", 4.0) == math.inf
    assert math.isnan(curves.best("z-sgd", 4.0))
    assert [line.split() for line in curves.lines(80)[2:]] == [["laser", "inf"], ["z-sgd", "-"]]


@pytest.mark.parametrize(("width", "count"), [(1, 1), (20, 1), (39, 3), (79, 8), (200, 12)])
def test_the_table_has_as_many_budgets_as_fit_the_ends_among_them(width, count):
    curves = Curves("last")
    for i in range(12):
        curves.note(known_run("a scheme of a very long name", budget=2.0**i), result_of(1.0 / (i + 1)))
    title, head, row = curves.lines(width)
    assert title == "validation loss by budget P" + ("" if count == 12 else f" ({count} of 12)")
    assert len(head.split()) == count
    assert head.split()[-1] == "2048"
    assert count == 1 or head.split()[0] == "1"
    assert max(len(head), len(row)) <= max(width, 16)


# The view


def test_it_shows_what_is_finished_running_and_failed(tmp_path):
    known, folders = runs_in(tmp_path, 5)
    screen, clock = Terminal(), Clock()
    with LiveView(file=screen, clock=clock) as view:
        assert view.begin(known, folders) == [False] * 5
        assert screen.lines()[1:] == ["0 finished, 0 running, 0 failed"]
        (folders[3] / "claim.0").touch()
        (folders[4] / "claim.0").touch()
        os.utime(folders[4] / "claim.0", (0, 0))  # of a process that was killed
        (folders[1] / "result.json").write_text(json.dumps(result_of(0.5)))
        (folders[2] / "result.json").write_text("{")  # damaged
        view.now_and_then()  # too soon
        assert len(screen.lines()) == 2
        clock.now += 1.0
        view.now_and_then()
        assert screen.lines()[1:] == [
            "2 finished, 1 running, 0 failed",
            "validation loss by budget P",
            f"{4:22}",
            "laser              0.5",
        ]
        view.took(1, result_of(0.7))  # computed again after all
        view.took(0, {"status": "failed", "reason": "odd"})
        view.now()
        assert "2 finished, 1 running, 1 failed" in screen.lines()
        assert screen.lines()[-1].split() == ["laser", "0.7"]
        assert "3/5" in screen.lines()[0]
    assert len(screen.lines()) == 1  # the rest is in the tables


def test_a_result_is_read_once_and_only_where_it_is_shown(tmp_path, monkeypatch):
    known, folders = runs_in(tmp_path, 3)
    read, times = live_view.read_json, []
    monkeypatch.setattr(live_view, "read_json", lambda path: (times.append(path), read(path))[1])
    for one in folders[:2]:
        (one / "result.json").write_text(json.dumps(result_of(0.5)))
    for screen, count in ((Terminal(), 2), (io.StringIO(), 0)):
        times.clear()
        with LiveView(file=screen) as view:
            assert view.begin(known, folders) == [True, True, False]
            for _ in range(5):
                view.now()
        assert len(times) == count


def test_a_search_is_one_view(tmp_path):
    screen = Terminal()
    with LiveView(file=screen) as view:
        for step in range(3):
            (tmp_path / f"{step}").mkdir()
            known, folders = runs_in(tmp_path / f"{step}", 2, budget=4.0**step)
            view.head("a line of a log", f"step {step} of a search")
            (folders[0] / "result.json").write_text(json.dumps(result_of(1.0)))
            view.begin(known, folders)
            for number in range(2):
                view.took(number, result_of(0.5))
            view.now()
            assert f"{2 * step + 2}/{2 * step + 2}" in screen.lines()[0]
        assert screen.lines()[1:3] == ["6 finished, 0 running, 0 failed", "step 2 of a search"]
        assert screen.lines()[4].split() == ["1", "4", "16"]
    assert "a line of a log" not in screen.getvalue()
    assert len(screen.lines()) == 1


def test_a_search_in_a_log_says_its_steps_and_what_failed(tmp_path):
    log, clock = io.StringIO(), Clock()
    with LiveView(file=log, clock=clock) as view:
        for step in range(2):
            known, folders = runs_in(tmp_path, 2)
            view.head(f"search, step {step}", "")
            view.begin(known, folders)
            clock.now += 20.0
            for number in range(2):
                view.took(number, {"status": "failed", "reason": "odd"} if number else result_of(0.5))
            view.now()
    assert log.getvalue().splitlines() == [
        "search, step 0",
        "2 of 2 runs, 00:20 passed, 1 failed",
        "search, step 1",
        "4 of 4 runs, 00:40 passed, 2 failed",
    ]


@pytest.mark.parametrize("columns", [1, 10, 40, 200])
@pytest.mark.parametrize("rows", [2, 5, 24])
def test_no_line_is_longer_than_the_screen_nor_the_whole_higher(columns, rows, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    screen = Terminal()
    with LiveView(file=screen) as view:
        view.head("", "step 3 of a search, widest interval: 3.4 dB, asked for: 1 dB")
        schemes = [f"scheme {i} with a long name" for i in range(30)]
        known = [known_run(scheme, budget=4.0**i) for scheme in schemes for i in range(5)]
        view.begin(known, [tmp_path / str(i) for i in range(len(known))])
        for number in range(len(known)):
            view.took(number, result_of(0.123456789))
        view.now()
        assert all(len(line) <= max(columns - 1, 1) for line in screen.lines())
        assert len(screen.lines()) <= max(rows - 2, 1)


def test_what_is_said_meanwhile_stands_above(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with LiveView() as view:
        view.begin([known_run()], [])
        say("something happened")
        view.now()
        assert screen.lines()[0] == "laser: something happened"
        assert screen.lines()[-1] == "0 finished, 0 running, 0 failed"


def test_fewer_lines_leave_nothing_of_the_others():
    screen = Terminal()
    lines = LinesBelow(screen)
    lines.show(["one", "two", "three"])
    lines.show(["1"])
    assert screen.lines() == ["1"]
    lines.close()
    assert screen.lines() == []


def test_the_size_is_that_of_the_environment_then_of_the_terminal(monkeypatch):
    leader, follower = os.openpty()
    with open(follower, "w") as terminal:
        os.close(os.dup(leader))
        assert screen_of(terminal) == (79, 24)  # of the environment
        monkeypatch.setenv("COLUMNS", "0")
        monkeypatch.delenv("LINES")
        assert screen_of(terminal) == (79, 24)  # it has no size
        import fcntl
        import struct
        import termios

        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 11, 33, 0, 0))
        assert screen_of(terminal) == (32, 11)
        monkeypatch.setenv("COLUMNS", "50")
        assert screen_of(terminal) == (49, 11)
    os.close(leader)


# The command

SWEEP = {
    "task": {"class_path": "Digits", "init_args": {"width": 8}},
    "schemes": ["laser", "z-sgd"],
    "energy_budgets": [10, 1000],
    "learning_rates": [0.1],
    "seeds": [0, 1],
    "num_devices": 2,
    "num_rounds": 4,
}


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.csv")}


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--jobs 1", "--jobs 2", "--jobs 2 --search --search.max_runs 20"])
def test_on_a_terminal_the_same_is_written_as_elsewhere(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(live_view, "_LOOK_S", 0.0)
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(SWEEP))
    command = ["sweep", "some.yaml", "--device", "cpu", *words.split(), "--output"]
    screen = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", screen)
        assert main([*command, "seen"]) == 0
    assert main([*command, "unseen"]) == 0
    assert contents(tmp_path / "seen") == contents(tmp_path / "unseen")
    assert "validation loss by budget P" in screen.getvalue()
    assert all(len(line) < 40 for line in screen.lines())


def test_ctrl_c_leaves_a_clean_screen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(SWEEP))
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    ticks = iter(range(10))

    def interrupted(view):
        if next(ticks) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(LiveView, "now_and_then", interrupted)
    assert main(["sweep", "some.yaml", "--device", "cpu", "--jobs", "1", "--output", "out"]) == 130
    bar, last = screen.lines()
    assert "/10" in bar
    assert last == "interrupted; the same command goes on from here"
