"""The tables that a sweep prints say all that decides, in few columns."""

from helpers.sweep_rows import diverge, fail, make_sweep, rows_of

from laser_wireless.benchmarks.records import aligned
from laser_wireless.benchmarks.sweeps.choices import choose, table_of
from laser_wireless.benchmarks.sweeps.savings import savings
from laser_wireless.benchmarks.sweeps.short_tables import short_savings, short_table

CURVES = {"laser": [3.0, 2.0, 1.0], "z-sgd": [4.0, 3.0, 2.0]}


def printed(rows, **more):
    sweep = make_sweep(**more)
    curves = choose(sweep, rows)
    return short_table(sweep, table_of(sweep, curves)), short_savings(savings(sweep, curves))


def test_they_fit_a_terminal():
    table, saved = printed(rows_of(CURVES, shift=0.1), targets=[2.5])
    assert max(map(len, aligned(table).splitlines())) <= 100
    assert max(map(len, aligned(saved).splitlines())) <= 140


def test_a_row_says_what_was_chosen_and_what_went_wrong():
    rows = diverge(fail(rows_of(CURVES), "laser", [10]), ["z-sgd"], [1])
    notes = {(row["scheme"], row["P"]): (row["test loss"], row["rate"], row["note"]) for row in printed(rows)[0]}
    assert notes["laser", "10"] == ("missing", "", "failed 6 of 6")
    assert notes["z-sgd", "1"] == ("diverged", "0.1", "3 diverged, rate at lowest edge")
    assert notes["laser", "1"] == ("3.00 ± 0.00", "0.2", "rate at highest edge")


def test_savings_are_numbers_with_intervals_or_bounds():
    saved = printed(rows_of(CURVES, shift=0.1), targets=[2.55, 0.5, 1.55])[1]
    cells = {
        (row["target"], row["scheme"]): (row["power needed [dB]"], row["saved against z-sgd [dB]"], row["note"])
        for row in saved
    }
    needed, saving, note = cells["2.55", "laser"]
    assert needed.startswith("5.5 [")
    assert saving.startswith("10.0")
    assert note == ""
    assert cells["0.5", "laser"] == ("above 20.0", "", "target not reached")
    assert cells["1.55", "laser"][1].startswith("at least ")
    assert cells["1.55", "z-sgd"][2] == "reference: target not reached"


def test_what_is_not_known_is_left_empty():
    saved = printed(fail(rows_of(CURVES), "laser", [1]), targets=[2.5])[1]
    assert [row["power needed [dB]"] for row in saved] == ["", "15.00 [15.00, 15.00]"]
