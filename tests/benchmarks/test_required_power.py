"""The needed power is the root of a monotone fit, and its interval holds the truth as often as it says."""

import math
import os
from itertools import pairwise

import numpy as np
import pytest
from helpers.known_power import KnownPower
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom

from laser_wireless.benchmarks.intervals import reach_of
from laser_wireless.benchmarks.sweeps.choices import Point, Trial
from laser_wireless.benchmarks.sweeps.required_power import Curve
from laser_wireless.benchmarks.sweeps.savings import saving_of
from laser_wireless.benchmarks.sweeps.seed_draws import SeedDraws


def point(budget, *trials):
    """A budget with candidates given as (validation losses, test losses) by seed."""
    made = [Trial(dict(enumerate(v)), dict(enumerate(t))) for v, t in trials]
    best = min(made, key=lambda trial: np.mean(list(trial.validation.values())))
    return Point("a", budget, 0.1, "", "", len(made), best.costs, [], made)


def missing(budget):
    return Point("a", budget, math.nan, "", "", 1, {}, [], failed=1, num_runs=3)


def curve(values, spread=0.0, num_seeds=3, budgets=None):
    """One candidate; seed s lies at value + spread (s - middle); None is a missing budget."""
    offsets = [spread * (seed - (num_seeds - 1) / 2) for seed in range(num_seeds)]
    budgets = budgets or [10.0**i for i in range(len(values))]
    points = [
        missing(p) if value is None else point(p, ([0.0] * num_seeds, [value + offset for offset in offsets]))
        for p, value in zip(budgets, values, strict=True)
    ]
    return Curve(points, SeedDraws(range(num_seeds)))


def test_a_straight_curve_is_read_by_hand():
    needed = curve([3.0, 2.0, 1.0]).needed(2.5)
    assert (needed.low, needed.value, needed.high) == pytest.approx((5.0, 5.0, 5.0))
    assert curve([3.0, 2.0, 1.0]).needed(1.25).value == pytest.approx(17.5)


def test_its_interval_is_students_where_the_curve_is_straight():
    needed = curve([3.0, 2.0, 1.0], spread=0.1).needed(2.5)
    half = reach_of(3) * 0.1 / math.sqrt(3) * 10  # 10 dB per unit of loss
    assert (needed.low, needed.value, needed.high) == pytest.approx((5 - half, 5.0, 5 + half), rel=1e-6)


def test_between_budgets_it_follows_a_smooth_curve():
    budgets = [1.0, 4.0, 16.0, 64.0, 256.0]

    def loss(db):
        return 0.1 + 0.4 * math.exp(-db / 8)

    found = curve([loss(10 * math.log10(p)) for p in budgets], budgets=budgets)
    for target in (0.4, 0.3, 0.2, 0.15):
        truth = brentq(lambda db, t=target: loss(db) - t, 0, 25)
        assert found.needed(target).value == pytest.approx(truth, abs=0.2)
        line = np.interp(-target, [-loss(10 * math.log10(p)) for p in budgets], [10 * math.log10(p) for p in budgets])
        assert abs(found.needed(target).value - truth) < abs(line - truth)  # straight lines lie above a convex curve


def test_beyond_the_budgets_it_is_censored():
    over, under = curve([3.0, 2.0, 1.0], 0.01).needed(0.5), curve([3.0, 2.0, 1.0], 0.01).needed(3.5)
    assert (over.low, over.value, over.high) == (20.0, math.inf, math.inf)
    assert (under.low, under.value, under.high) == (-math.inf, -math.inf, 0.0)
    near = curve([3.0, 2.0, 1.0], 0.1).needed(1.01)  # 0.58 dB of standard error: the highest budget may be too little
    assert near.value == pytest.approx(19.9, abs=0.3)
    assert near.low < 19
    assert near.high == math.inf


def test_one_seed_has_a_value_and_no_interval():
    needed = curve([3.0, 2.0, 1.0], num_seeds=1).needed(2.5)
    assert needed.value == pytest.approx(5.0)
    assert math.isnan(needed.low)
    assert math.isnan(needed.high)


def test_below_a_diverged_budget_nothing_is_read():
    needed = curve([math.inf, 2.0, 1.0], 0.01).needed(2.5)
    assert (needed.low, needed.value, needed.high) == (0.0, 10.0, 10.0)
    assert curve([math.inf, 2.0, 1.0]).needed(1.5).value == pytest.approx(15.0)
    assert curve([math.inf, math.inf]).needed(1.5).value == math.inf
    assert curve([math.inf, math.inf]).needed(1.5).low == 10.0


def test_a_curve_that_surely_gets_worse_is_not_called_monotone():
    assert curve([3.0, 1.0, 2.0], 0.01).needed(1.5).note == "not monotone: worse at P = 100 than at 10"
    assert math.isnan(curve([3.0, 1.0, 2.0], 0.01).needed(1.5).value)
    assert curve([3.0, 1.0, 2.0], 0.01).needed(2.5).value == pytest.approx(2.5, abs=2)  # passed once only
    assert curve([3.0, 1.0, math.inf], 0.01).needed(2.0).note == "not monotone: reached, but diverged at P = 100"


def test_a_rise_within_the_spread_is_pooled():
    rng = np.random.default_rng(0)
    noisy = [3 + rng.normal(0, 0.5, 5), 1.95 + rng.normal(0, 0.5, 5), 2.05 + rng.normal(0, 0.5, 5), rng.normal(0, 0.5, 5)]
    points = [point(10.0**i, (np.zeros(5), losses)) for i, losses in enumerate(noisy)]
    needed = Curve(points, SeedDraws(range(5))).needed(2.0)
    assert needed.note == ""
    assert needed.low < needed.value < needed.high


VALUES = st.one_of(st.none(), st.sampled_from([0.5, 1.0, 2.0, math.inf]))


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(VALUES, min_size=1, max_size=5), st.lists(st.sampled_from([0.5, 2.0, math.inf]), min_size=5, max_size=5))
def test_nothing_is_concluded_across_a_missing_budget(values, others):
    gap = values.index(None) if None in values else len(values)
    needed = curve(values).needed(1.2)
    if gap == len(values):
        assert not needed.note.startswith("not known")
    elif needed.note.startswith("not known"):
        assert gap == 0 or not curve(values[:gap]).needed(1.2).value < math.inf
    else:  # what lies beyond does not count
        filled = [other if value is None else value for value, other in zip(values, others[: len(values)], strict=True)]
        beyond = [*values[: gap + 1], *filled[gap + 1 :]]
        assert str(curve(beyond).needed(1.2)[:4]) == str(needed[:4])
        assert str(curve(values[:gap]).needed(1.2)[:4]) == str(needed[:4])


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.01, 5), min_size=2, max_size=8), st.floats(0, 0.5), st.integers(2, 6))
def test_harder_targets_need_no_less_power_and_intervals_hold_their_value(values, spread, num_seeds):
    made = curve(values, spread, num_seeds)
    found = [made.needed(target) for target in (4.0, 2.0, 1.0, 0.5, 0.1)]
    for needed in found:
        assert needed.note.startswith("not monotone") or needed.low <= needed.value <= needed.high
    known = [needed.value for needed in found if not needed.note]
    assert all(a <= b for a, b in pairwise(known))


BUDGETS_DB = np.array([6.0, 12.0, 18.0, 24.0])
CANDIDATES = np.arange(10)


def draw_curve(rng, common, advantage, problem, draws):
    """A scheme's curve; what a seed does to all runs is the same for both schemes."""
    points, noise, n = [], problem.noise, len(common)
    for db in BUDGETS_DB:
        means = problem.mean_loss(db, CANDIDATES, advantage)[:, None]
        shared = 1 + 4 * noise * (common + 0.7 * rng.standard_normal((10, n)))
        validation, test = (means * (shared + 2 * noise * rng.standard_normal((10, n))) for _ in range(2))
        points.append(point(10 ** (db / 10), *zip(validation, test, strict=True)))
    return Curve(points, draws)


@pytest.mark.parametrize(
    ("num_seeds", "flatness", "noise", "least"),
    [(5, 0.01, 0.012, 0.93), (5, 0.001, 0.012, 0.93), (3, 0.005, 0.012, 0.93), (10, 0.0025, 0.02, 0.93)],
    ids=["5 seeds", "flat in the rate", "3 seeds", "10 noisy seeds"],
)
def test_intervals_hold_the_truth_as_often_as_they_say(num_seeds, flatness, noise, least):
    """Coverage of the power and of the saving, the choice among ten candidates included.

    LASER_COVERAGE=1000 repeats it that often, and prints the shares.
    """
    repetitions = int(os.environ.get("LASER_COVERAGE", "40"))
    rng = np.random.default_rng(1)
    problem = KnownPower(flatness, noise)
    truth = np.array([problem.power_db(advantage) for advantage in (1.5, 0.0)])
    held = np.zeros(3)
    for _ in range(repetitions):
        draws = SeedDraws(range(num_seeds), 1000)
        common = 0.7 * rng.standard_normal(num_seeds)
        laser, z_sgd = (draw_curve(rng, common, a, problem, draws).needed(problem.target) for a in (1.5, 0.0))
        held[:2] += [needed.low <= power <= needed.high for needed, power in zip((laser, z_sgd), truth, strict=True)]
        saving = saving_of(laser, z_sgd, draws)
        held[2] += saving.low <= truth[1] - truth[0] <= saving.high
    print(f"\n{num_seeds} seeds, flatness {flatness}: {held / repetitions} of {repetitions} (power, power, saving)")
    assert (held >= binom.ppf(1e-4, repetitions, least)).all()
    assert (held[:2] <= binom.ppf(1 - 1e-4, repetitions, 0.98)).all()
