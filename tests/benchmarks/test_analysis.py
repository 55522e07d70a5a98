"""The answers in dB follow from the rows, by hand."""

import math

import pytest
from laser_wireless.benchmarks.sweeps.analysis import choose, crossovers_db, needed_power_db, savings, table, targets_of
from laser_wireless.benchmarks.sweeps.sweep import sweep_from

SEEDS = [0, 1, 2]


def make_sweep(**more):
    content = {
        "task": "digits",
        "uplink": "AnalogUplink",
        "schemes": ["laser", "z-sgd"],
        "energy_budgets": [1, 10, 100],
        "learning_rates": [0.1, 0.2],
        "seeds": SEEDS,
    }
    return sweep_from(content | more)


def make_row(scheme, budget, rate, seed, test, validation=None, status="done", arguments=""):
    losses = {"validation": {"loss": test if validation is None else validation}, "test": {"loss": test}}
    spent = {"energy_spent": 0.5 * budget, "max_energy_spent": 0.9 * budget, "energy_allowed": 1.0 * budget}
    spent |= {"num_symbols": 10.0, "num_channel_uses": 5.0}
    keys = {"scheme": scheme, "energy_budget": budget, "learning_rate": rate, "arguments": arguments, "seed": seed}
    best = {"round": 3, "metrics": {"validation": losses["validation"], "test": {"loss": test - 0.25}}}
    return keys | {"status": status, "reason": "", "metrics": losses, "best": best, "mean_per_round": spent}


def rows_of(curves, shift=0.0):
    """Rows in which the rate 0.2 is best on validation; curves: scheme -> test loss by budget."""
    return [
        make_row(scheme, budget, rate, seed, value + shift * seed, validation=0.0 if rate == 0.2 else 1.0)
        for scheme, values in curves.items()
        for budget, value in zip([1, 10, 100], values, strict=True)
        for rate in (0.1, 0.2)
        for seed in SEEDS
    ]


def test_the_rate_is_chosen_on_validation_and_never_on_test():
    rows = rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [3.0, 2.0, 1.0]})
    for row in rows:
        if row["learning_rate"] == 0.1:
            row["metrics"]["test"]["loss"] = 0.0  # tempting, but its validation loss is worse
    curves = choose(make_sweep(), rows)
    assert {point.learning_rate for points in curves.values() for point in points} == {0.2}
    assert curves["laser"][0].mean == 3.0
    assert curves["laser"][0].rate_at_edge == "highest"


def test_a_rate_at_which_one_seed_diverged_is_not_chosen():
    rows = rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [3.0, 2.0, 1.0]})
    for row in rows:
        if row["learning_rate"] == 0.2 and row["seed"] == 1:
            row["metrics"]["validation"]["loss"] = math.inf
    assert {point.learning_rate for point in choose(make_sweep(), rows)["laser"]} == {0.1}


def test_needed_power_is_linear_in_db_between_budgets():
    points = choose(make_sweep(), rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [3.0, 2.0, 1.0]}))["laser"]
    assert needed_power_db(points, 0, 2.5) == pytest.approx(5.0)
    assert needed_power_db(points, None, 1.25) == pytest.approx(17.5)
    assert needed_power_db(points, 0, 3.5) == -math.inf
    assert needed_power_db(points, 0, 0.5) == math.inf


def test_a_diverged_start_does_not_pull_the_crossing():
    points = choose(make_sweep(), rows_of({"laser": [math.inf, 2.0, 1.0], "z-sgd": [3.0, 2.0, 1.0]}))["laser"]
    assert needed_power_db(points, 0, 2.5) == pytest.approx(10.0)


def test_saving_and_interval_by_hand():
    # laser needs 5 dB at 2.5 for seed 0; per unit of shift the crossing moves by 10 dB per unit loss for both schemes,
    # so the paired difference is the same for every seed and the interval has no width
    sweep = make_sweep(targets=[2.5])
    rows = rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]}, shift=0.1)
    found = {row["scheme"]: row for row in savings(sweep, choose(sweep, rows))}
    assert found["laser"]["saving_db"] == pytest.approx(10.0)
    assert found["laser"]["low"] == pytest.approx(10.0)
    assert found["z-sgd"]["note"] == "reference"


def test_interval_is_students_over_seeds():
    sweep = make_sweep(targets=[2.5])
    rows = rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]})
    for row in rows:
        if row["scheme"] == "laser":
            row["metrics"]["test"]["loss"] += 0.1 * (row["seed"] - 1)  # savings 11, 10, 9 dB
    laser = savings(sweep, choose(sweep, rows))[0]
    half = 4.302652729911275 * 1.0 / math.sqrt(3)
    assert laser["saving_db"] == pytest.approx(10.0)
    assert (laser["low"], laser["high"]) == pytest.approx((10 - half, 10 + half))


def test_a_target_out_of_reach_is_said():
    sweep = make_sweep(targets=[0.5, 5.0, 1.5])
    found = savings(sweep, choose(sweep, rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]})))
    notes = {row["target"]: row["note"] for row in found if row["scheme"] == "laser"}
    assert notes == {0.5: "target not reached", 5.0: "below the lowest budget", 1.5: "reference not there"}
    assert all(math.isnan(row["saving_db"]) for row in found if row["note"] not in ("", "reference"))


def test_targets_lie_where_all_curves_pass():
    sweep = make_sweep()
    found = targets_of(sweep, choose(sweep, rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]})))
    assert len(found) == 4
    assert all(2.0 < target < 3.0 for target in found)
    assert found == sorted(found, reverse=True)


def test_crossovers_are_where_the_mean_curves_meet():
    curves = choose(make_sweep(), rows_of({"laser": [2.0, 1.5, 1.4], "z-sgd": [4.0, 2.5, 0.4]}))
    assert crossovers_db(curves["laser"], curves["z-sgd"]) == pytest.approx([15.0])
    assert crossovers_db(curves["laser"], curves["laser"]) == []
    assert crossovers_db(curves["laser"], curves["z-sgd"][:2]) == []  # runs of the last budget failed
    assert crossovers_db(curves["laser"][1:], curves["z-sgd"]) == pytest.approx([15.0])


def test_table_reports_what_was_spent_and_how_many_diverged():
    rows = rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]})
    for row in rows:
        if row["scheme"] == "z-sgd" and row["energy_budget"] == 1:
            row["status"], row["metrics"] = "diverged", {"validation": {"loss": math.inf}, "test": {"loss": math.inf}}
    sweep = make_sweep()
    found = {(row["scheme"], row["energy_budget"]): row for row in table(sweep, choose(sweep, rows))}
    assert found["laser", 10]["energy_spent_per_round"] == 5.0
    assert found["z-sgd", 1]["diverged"] == 3
    assert found["z-sgd", 1]["test_loss"] == math.inf
