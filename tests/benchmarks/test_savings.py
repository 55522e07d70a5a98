"""The answers in dB follow from the rows, by hand."""

import math

import pytest
from helpers.sweep_rows import SEEDS, fail, make_row, make_sweep, rows_of

from laser_wireless.benchmarks.sweeps.choices import choose, table_of
from laser_wireless.benchmarks.sweeps.savings import crossovers_db, pareto_front, savings, targets_of


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


def test_a_power_beyond_the_budgets_is_known_from_one_side():
    # laser falls from 3 to 1 over 0 to 20 dB, z-sgd from 4 to 2, without any spread
    sweep = make_sweep(targets=[0.5, 3.5, 1.5, 5.0])
    found = savings(sweep, choose(sweep, rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]})))
    seen = {row["target"]: row for row in found if row["scheme"] == "laser"}
    powers = {target: (row["power_low"], row["power_db"], row["power_high"]) for target, row in seen.items()}
    assert powers[0.5] == (20.0, math.inf, math.inf)
    assert powers[3.5] == powers[5.0] == (-math.inf, -math.inf, 0.0)
    assert powers[1.5] == pytest.approx((15.0, 15.0, 15.0))
    assert {target: row["note"] for target, row in seen.items()} == {
        0.5: "target not reached",
        3.5: "below the lowest budget",
        1.5: "reference does not reach it",
        5.0: "below the lowest budget",
    }
    bounds = {target: (row["low"], row["high"]) for target, row in seen.items()}
    assert bounds[0.5] == (-math.inf, math.inf)  # neither reaches it
    assert bounds[3.5] == pytest.approx((5.0, math.inf))  # z-sgd needs 5 dB, laser less than 0
    assert bounds[1.5] == pytest.approx((5.0, math.inf))  # z-sgd needs more than 20 dB, laser 15
    assert bounds[5.0] == (-math.inf, math.inf)
    assert all(math.isnan(row["saving_db"]) for row in seen.values())


def test_energy_spent_and_channel_uses_stand_at_the_needed_power():
    sweep = make_sweep(targets=[2.5])
    rows = rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]})
    for row in rows:
        if row["scheme"] == "laser":
            row["mean_per_round"] |= {"energy_spent": row["energy_budget"], "num_channel_uses": 2.0}
    laser, z_sgd = savings(sweep, choose(sweep, rows))
    assert laser["spent_db"] == pytest.approx(5.0)
    assert z_sgd["spent_db"] == pytest.approx(15.0 + 10 * math.log10(0.5))
    assert laser["spent_saving_db"] == pytest.approx(10.0 + 10 * math.log10(0.5))
    assert (laser["channel_uses"], z_sgd["channel_uses"]) == (2.0, 5.0)
    assert (laser["on_front"], z_sgd["on_front"]) == ("yes", "")


def test_the_front_holds_what_nothing_beats_in_both():
    needs = {"a": (1.0, 5.0), "b": (2.0, 3.0), "c": (2.0, 4.0), "d": (3.0, 1.0), "e": (math.inf, 0.0), "f": (1.0, 5.0)}
    assert pareto_front(needs) == {"a", "b", "d", "f"}


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
    assert crossovers_db(curves["laser"], curves["z-sgd"][:2]) == []
    assert crossovers_db(curves["laser"][1:], curves["z-sgd"]) == pytest.approx([15.0])


def test_crossovers_of_curves_with_budgets_of_their_own_lie_on_their_lines():
    curves = choose(make_sweep(), rows_of({"laser": [2.0, 1.5, 1.0], "z-sgd": [4.0, 2.5, 0.4]}))
    assert crossovers_db(curves["laser"][::2], curves["z-sgd"]) == pytest.approx([10 + 10 * 1.0 / 1.6])


def test_a_crossing_below_a_missing_budget_is_seen():
    curves = choose(make_sweep(), fail(rows_of({"laser": [2.0, 1.5, 1.4], "z-sgd": [4.0, 1.0, 0.4]}), "z-sgd", [100]))
    assert crossovers_db(curves["laser"], curves["z-sgd"]) == pytest.approx([8.0])


def test_table_reports_what_was_spent_and_how_many_diverged():
    rows = rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]})
    for row in rows:
        if row["scheme"] == "z-sgd" and row["energy_budget"] == 1:
            row["status"], row["metrics"] = "diverged", {"validation": {"loss": math.inf}, "test": {"loss": math.inf}}
    sweep = make_sweep()
    found = {(row["scheme"], row["energy_budget"]): row for row in table_of(sweep, choose(sweep, rows))}
    assert found["laser", 10]["energy_spent_per_round"] == 5.0
    assert found["z-sgd", 1]["diverged"] == 3
    assert found["z-sgd", 1]["test_loss"] == math.inf


def test_a_target_reached_above_missing_budgets_is_not_an_infinite_saving():
    sweep = make_sweep(targets=[2.5, 0.5])
    rows = fail(rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]}), "laser", [1, 10])
    found = [row for row in savings(sweep, choose(sweep, rows)) if row["scheme"] == "laser"]
    assert [row["note"] for row in found] == ["not known: runs failed at P = 1, 10"] * 2
    assert all(math.isnan(row[name]) for row in found for name in ("power_db", "saving_db", "low", "high"))


def test_a_reference_with_missing_budgets_saves_nothing_for_others():
    sweep = make_sweep(targets=[2.5])
    rows = fail(rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]}), "z-sgd", [10])
    notes = {row["scheme"]: row["note"] for row in savings(sweep, choose(sweep, rows))}
    assert notes == {
        "laser": "reference not known: runs failed at P = 10",
        "z-sgd": "reference: not known: runs failed at P = 10",
    }


def test_a_gap_above_the_crossing_changes_nothing():
    sweep = make_sweep(targets=[2.5])
    rows = rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]})
    before = {row["scheme"]: row for row in savings(sweep, choose(sweep, rows))}
    after = {row["scheme"]: row for row in savings(sweep, choose(sweep, fail(rows, "laser", [100])))}
    assert after == before


def test_one_failed_run_of_one_candidate_makes_the_budget_missing():
    rows = fail(rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]}), "laser", [10], every=6)
    sweep = make_sweep()
    curves = choose(sweep, rows)
    assert [(point.missing, point.failed, point.num_runs) for point in curves["laser"]] == [
        (False, 0, 6),
        (True, 1, 6),
        (False, 0, 6),
    ]
    assert crossovers_db(curves["laser"], curves["z-sgd"]) == []
    row = next(row for row in table_of(sweep, curves) if row["scheme"] == "laser" and row["energy_budget"] == 10)
    assert (row["failed"], row["runs"], row["chosen"], row["rate_at_edge"]) == (1, 6, "", "")
    assert math.isnan(row["test_loss"])
    assert math.isnan(row["learning_rate"])
    assert math.isnan(row["num_bytes_per_round"])


def test_no_crossing_is_concluded_across_a_missing_budget():
    curves = choose(make_sweep(), fail(rows_of({"laser": [2.0, 1.5, 1.4], "z-sgd": [4.0, 2.5, 0.4]}), "z-sgd", [10]))
    assert crossovers_db(curves["laser"], curves["z-sgd"]) == []


def test_the_reference_saves_exactly_nothing_against_itself_wherever_it_reaches_the_target():
    sweep = make_sweep(targets=[5.0, 2.5, 0.5])  # below the lowest budget, within, out of reach
    rows = rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]}, shift=0.1)
    found = [row for row in savings(sweep, choose(sweep, rows)) if row["scheme"] == "z-sgd"]
    assert [(row["saving_db"], row["low"], row["high"], row["note"]) for row in found[:2]] == [(0, 0, 0, "reference")] * 2
    assert math.isnan(found[2]["saving_db"])
    assert found[2]["note"] == "reference: target not reached"


def test_the_reference_of_a_single_seed_has_an_interval_of_zero():
    sweep = make_sweep(targets=[2.5], seeds=[0])
    rows = [row for row in rows_of({"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]}) if row["seed"] == 0]
    [row] = [row for row in savings(sweep, choose(sweep, rows)) if row["scheme"] == "z-sgd"]
    assert (row["saving_db"], row["low"], row["high"]) == (0, 0, 0)


def test_z_sgd_is_the_reference_wherever_it_stands():
    assert make_sweep(schemes=["z-sgd", "laser"]).baseline == "z-sgd"
    assert make_sweep(schemes=["signum", "laser"]).baseline == "laser"
    assert make_sweep(schemes=["z-sgd", "laser"], reference="laser").baseline == "laser"


@pytest.mark.parametrize("exploded", [1e5, 3e21])
def test_a_run_that_exploded_to_a_finite_loss_has_diverged(exploded):
    """One seed of a rate that nobody would choose; its mean's draws would be negative, and chosen."""
    rows = [
        make_row(scheme, budget, rate, seed, value + 0.01 * seed + (0.05 if rate == 0.2 else 0.0))
        for scheme, values in {"laser": [3.0, 2.0, 1.0], "z-sgd": [3.5, 2.5, 1.5]}.items()
        for budget, value in zip([1, 10, 100], values, strict=True)
        for rate in (0.1, 0.2)
        for seed in SEEDS
    ]
    sweep = make_sweep(targets=[2.2])
    plain = {row["scheme"]: row for row in savings(sweep, choose(sweep, rows))}["laser"]
    for row in rows:
        if (row["scheme"], row["energy_budget"], row["learning_rate"], row["seed"]) == ("laser", 1, 0.2, 1):
            row["metrics"] = {"validation": {"loss": exploded}, "test": {"loss": exploded}}
    curves = choose(sweep, rows)
    found = {row["scheme"]: row for row in savings(sweep, curves)}["laser"]
    for name in ("power_db", "saving_db"):
        assert found[name] == pytest.approx(plain[name], abs=0.5)
    assert [math.inf in trial.costs.values() for trial in curves["laser"][0].trials] == [False, True]
