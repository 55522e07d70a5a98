"""A search finds the needed powers with few runs, widens grids, ends when it says, and can be killed at any moment."""

import math
import os

import numpy as np
import pytest
import yaml
from helpers.known_power import KnownPower, step_of
from helpers.sweep_rows import make_row, make_sweep
from scipy.stats import binom

from laser_wireless.benchmarks import load
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.sweeps import search as searches
from laser_wireless.benchmarks.sweeps.choices import choose
from laser_wireless.benchmarks.sweeps.savings import savings
from laser_wireless.benchmarks.sweeps.search import Search, SearchState

PROBLEM = KnownPower()
GRID = [round(0.01 * 2 ** (i / 2), 5) for i in range(10)]
ADVANTAGE = {"laser": 1.5, "z-sgd": 0.0, "noiseless": 30.0}


def known_sweep(**more):
    content = {"energy_budgets": [4, 16, 64, 256], "learning_rates": GRID, "seeds": [0, 1, 2, 3, 4]}
    return make_sweep(**content | {"targets": [PROBLEM.target]} | more)


def search(sweep, settings, problem=PROBLEM, repetition=0, spoil=lambda row: None):
    """Search over the synthetic problem; the state at the end."""
    state = SearchState(sweep, settings)
    while asked := state.next_cells():
        if len(state.rows) + len(asked) > settings.max_runs:
            break
        rows = []
        for cell in asked:
            db, step = 10 * math.log10(cell.energy_budget), step_of(cell.candidate.learning_rate)
            [validation], [test] = problem.losses(db, step, ADVANTAGE[cell.scheme], [cell.seed], repetition)
            keys = (cell.scheme, cell.energy_budget, cell.candidate.learning_rate, cell.seed)
            rows.append(make_row(*keys, float(test), float(validation)))
            spoil(rows[-1])
        state.take(asked, rows)
    return state


def answers(state):
    """Rows of savings.csv by scheme, of the only target."""
    return {row["scheme"]: row for row in savings(state.sweep, choose(state.sweep, state.rows))}


def test_it_answers_with_less_than_a_third_of_the_runs_of_the_grid():
    state = search(known_sweep(), Search(width_db=20))
    assert len(state.rows) < 450 / 3
    truth = PROBLEM.power_db(0.0) - PROBLEM.power_db(1.5)
    found = answers(state)["laser"]
    assert found["low"] < truth < found["high"]
    assert not any(point.rate_at_edge for points in choose(state.sweep, state.rows).values() for point in points)


@pytest.mark.parametrize("grid", [[1e-4, 1.41e-4, 2e-4], [5.0, 7.07, 10.0], [0.02]])
def test_grids_are_widened_until_no_chosen_rate_lies_at_an_edge(grid):
    state = search(known_sweep(learning_rates=grid), Search(width_db=20))
    points = [point for points in choose(state.sweep, state.rows).values() for point in points]
    assert not any(point.rate_at_edge for point in points)
    if len(grid) > 1:
        assert all(not grid[0] <= point.learning_rate <= grid[-1] for point in points)


def test_a_fixed_grid_is_not_left():
    state = search(known_sweep(learning_rates=GRID[:4]), Search(width_db=20, fixed_rates=True))
    assert {row["learning_rate"] for row in state.rows} <= set(GRID[:4])


def test_intervals_become_as_narrow_as_was_asked():
    state = search(known_sweep(), Search(width_db=1.0))
    found = answers(state)["laser"]
    assert found["high"] - found["low"] <= 1.0
    assert found["seeds"] > 5
    assert state.widths() == "all 1 intervals are at most 1 dB wide"


def test_an_end_that_is_open_for_want_of_budgets_does_not_ask_for_seeds_without_end():
    state = search(known_sweep(energy_budgets=[4, 16], targets=[0.2155]), Search(width_db=5))
    assert math.isinf(answers(state)["z-sgd"]["power_high"])
    assert len(state.rows) < 200


def test_it_ends_at_the_number_of_runs_and_says_what_is_wide():
    state = search(known_sweep(), Search(width_db=0.1, max_runs=300))
    assert len(state.rows) <= 300
    assert state.widths().startswith("wider than 0.1 dB: laser at 0.205 (")


def test_far_budgets_are_halved_in_db():
    state = search(known_sweep(energy_budgets=[0.1, 10000]), Search(width_db=20, resolution_db=7))
    budgets = sorted(row["energy_budget"] for row in state.rows if row["scheme"] == "laser")
    decibels = 10 * np.log10(sorted(set(budgets)))
    needed = answers(state)["laser"]["power_db"]
    below, above = max(db for db in decibels if db <= needed), min(db for db in decibels if db >= needed)
    assert above - below <= 7
    assert len(decibels) <= 6
    assert needed == pytest.approx(PROBLEM.power_db(1.5), abs=2.5)


def test_whole_curves_have_every_budget_and_seed():
    state = search(known_sweep(), Search(width_db=20, every_budget=True))
    curves = choose(state.sweep, state.rows)
    assert [point.num_seeds for point in curves["laser"] + curves["z-sgd"]] == [5] * 8
    assert len(state.rows) < 450 / 3


def test_targets_are_chosen_where_the_ends_of_all_curves_pass():
    state = search(known_sweep(targets=None), Search(width_db=30))
    assert len(state.sweep.targets) == 4
    assert {row["target"] for row in savings(state.sweep, choose(state.sweep, state.rows))} == set(state.sweep.targets)


def test_where_runs_fail_it_ends_and_concludes_nothing():
    def spoil(row):
        if row["scheme"] == "laser" and row["energy_budget"] == 4:
            row["status"] = "failed"

    state = search(known_sweep(), Search(width_db=20), spoil=spoil)
    found = answers(state)
    assert found["laser"]["note"] == "not known: runs failed at P = 4"
    assert math.isfinite(found["z-sgd"]["power_db"])
    assert sum(row["status"] == "failed" for row in state.rows) <= 3  # of the first look; nothing more is asked for there


@pytest.mark.parametrize(
    ("problem", "width_db", "least"),
    [(KnownPower(), 20, 0.93), (KnownPower(flatness=0.005), 1.5, 0.9)],
    ids=["to five seeds", "to 1.5 dB"],
)
def test_its_intervals_hold_the_truth(problem, width_db, least):
    """LASER_COVERAGE=1000 repeats it that often, and prints the shares."""
    repetitions = int(os.environ.get("LASER_COVERAGE", "5"))
    truth = {name: problem.power_db(ADVANTAGE[name]) for name in ("laser", "z-sgd")}
    held = np.zeros(3)
    for repetition in range(repetitions):
        found = answers(search(known_sweep(), Search(width_db=width_db), problem, repetition))
        powers = [found[name]["power_low"] <= power <= found[name]["power_high"] for name, power in truth.items()]
        saving = found["laser"]["low"] <= truth["z-sgd"] - truth["laser"] <= found["laser"]["high"]
        held += [*powers, saving]
    print(f"\nto {width_db} dB: {held / repetitions} of {repetitions} (power, power, saving)")
    assert (held >= binom.ppf(1e-4, repetitions, least)).all()


SMALL = {
    "task": {"class_path": "Digits", "init_args": {"width": 12}},
    "schemes": ["laser", "z-sgd"],
    "energy_budgets": [10, 1000],
    "learning_rates": [0.03, 0.1],
    "seeds": [0, 1],
    "num_devices": 4,
    "num_rounds": 6,
    "targets": [2.2],
}


def run_search(folder, *words):
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    settings = ["--search", "--search.max_runs", "150"] if "--search" not in words else []
    return main(["sweep", str(folder / "small.yaml"), *settings, "--output", str(folder / "out"), "--jobs", "1", *words])


FILES = ("table.csv", "savings.csv", "search.csv")


@pytest.mark.slow
def test_a_search_that_is_cut_off_comes_to_the_same_end(tmp_path, monkeypatch, capsys):
    whole, cut_off = tmp_path / "whole", tmp_path / "cut off"
    whole.mkdir()
    cut_off.mkdir()
    assert run_search(whole) == 0
    assert "ended at max_runs = 150: the next step would have taken" in capsys.readouterr().out
    run_cells, steps = searches.run_cells, iter(range(100))

    def interrupted(*words, **more):
        if next(steps) == 2:
            raise KeyboardInterrupt
        return run_cells(*words, **more)

    with monkeypatch.context() as patch:
        patch.setattr(searches, "run_cells", interrupted)
        assert run_search(cut_off) == 130
    runs = load(cut_off / "out").runs
    assert "not done" in set(runs.status)  # what was asked for last stands in search.csv already
    assert run_search(cut_off) == 0
    for name in FILES:
        assert (cut_off / "out" / name).read_bytes() == (whole / "out" / name).read_bytes()
    assert set(load(cut_off / "out").runs.status) == {"done", "diverged"}
    assert len(load(cut_off / "out").runs) == len((whole / "out" / "search.csv").read_text().splitlines()) - 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--search.width_db", "0"], "search: Search: width_db must be > 0, got 0"),
        (["--search.width_db", "wide"], "search.width_db must be a number"),
        (["--search.widht_db", "1"], "did you mean width_db"),
        (["--search", "{max_runs: 5}"], "search.max_runs must be at least 15, the runs of the first step, got 5"),
        (["--search", "1"], "search must be a mapping, such as {width_db: 1}, got 1"),
        (["--figure", "{kind: difference, panels: {a: {laser: z-sgd}}}"], "search must not be given beside figure"),
    ],
)
def test_bad_options_are_named(words, message, tmp_path, capsys):
    assert run_search(tmp_path, *words) == 2
    assert message in capsys.readouterr().err


def test_null_is_the_whole_grid(tmp_path, capsys):
    assert run_search(tmp_path, "--search", "null", "--dry-run") == 0
    assert "20 runs, 20 left to do" in capsys.readouterr().out


def test_a_dry_run_says_that_the_grid_is_not_what_is_run(tmp_path, capsys):
    assert run_search(tmp_path, "--dry-run") == 0
    assert "the search takes about a third of it" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
