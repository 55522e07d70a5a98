"""Draws of means give Student's interval where that is the truth, and know nothing of one seed."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from laser_wireless.benchmarks.intervals import reach_of
from laser_wireless.benchmarks.sweeps.seed_draws import SeedDraws

VALUES = {
    "a": dict(enumerate([1.0, 1.5, 0.5, 2.5, 2.0])),
    "b": dict(enumerate([3.0, 3.25, 2.5, 4.0, 4.5])),
}


def interval(draws, numbers, num_seeds):
    mean, error = draws.estimate(numbers)
    return float(mean - reach_of(num_seeds) * error), float(mean + reach_of(num_seeds) * error)


@pytest.mark.parametrize("kind", ["measured", "chosen_by"])
def test_of_a_mean_it_is_students_interval(kind):
    draws = SeedDraws(range(5))
    found = getattr(draws, kind)(VALUES["a"])
    assert found[0] == 1.5
    there = ttest_1samp(list(VALUES["a"].values()), 0).confidence_interval()
    assert interval(draws, found, 5) == pytest.approx((there.low, there.high), rel=1e-9)


def test_of_a_difference_it_is_the_paired_interval():
    draws = SeedDraws(range(5))
    found = draws.measured(VALUES["a"]) - draws.measured(VALUES["b"])
    there = ttest_rel(list(VALUES["a"].values()), list(VALUES["b"].values())).confidence_interval()
    assert interval(draws, found, 5) == pytest.approx((there.low, there.high), rel=1e-9)


def test_seeds_that_only_some_means_have_are_paired_where_they_are_shared():
    draws = SeedDraws(range(5))
    some = {seed: VALUES["b"][seed] for seed in (3, 1)}
    a, b = draws.measured(VALUES["a"])[1:], draws.measured(some)[1:]
    x, y = np.array(list(VALUES["a"].values())), np.array([VALUES["b"][1], VALUES["b"][3]])
    expected = ((x - x.mean())[[1, 3]] * (y - y.mean())).sum() / math.sqrt(5 * 4 * 2 * 1)
    assert np.mean((a - a.mean()) * (b - b.mean())) == pytest.approx(expected, rel=1e-9)


def test_choice_and_measurement_are_drawn_apart():
    draws = SeedDraws(range(5))
    chosen, measured = draws.chosen_by(VALUES["a"])[1:], draws.measured(VALUES["a"])[1:]
    assert abs(np.corrcoef(chosen, measured)[0, 1]) < 1e-9


def test_one_seed_does_not_move_and_an_infinite_value_stays_infinite():
    assert set(SeedDraws([7]).measured({7: 2.0})) == {2.0}
    assert set(SeedDraws([7, 8]).measured({7: 2.0, 8: math.inf})) == {math.inf}


def test_the_same_seeds_give_the_same_draws_in_any_number_of_them():
    assert np.array_equal(SeedDraws(range(5)).measured(VALUES["a"]), SeedDraws(range(5)).measured(VALUES["a"]))
    assert len(SeedDraws(range(300)).measured({0: 1.0, 299: 2.0})) == 1 + 6000
