"""The race finds the best candidate with few runs, and goes beyond the grid that it began with."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laser_wireless.benchmarks.sweeps.race import Ladder, Place, next_runs, ranked

GRID = [0.01, 0.014, 0.02, 0.028, 0.04, 0.056, 0.08, 0.11, 0.16, 0.22]
SEEDS = [3, 1, 4, 0, 5, 9, 2, 6]


def race(loss, *, ladder=None, num_arguments=1, start=4, stride=3, seeds=SEEDS[:5]):
    """Run until the choice is made; loss(place, seed) -> validation loss."""
    ladder = ladder or Ladder.of(GRID, fixed=False)
    losses, asked_in_all = {}, []
    while asked := next_runs(losses, ladder, num_arguments=num_arguments, start=start, stride=stride, seeds=seeds):
        assert len(set(asked)) == len(asked)
        for place, seed in asked:
            assert seed not in losses.get(place, {}), "asked for twice"
            losses.setdefault(place, {})[seed] = loss(place, seed)
            asked_in_all.append((place, seed))
        assert len(asked_in_all) < 500
    return losses, asked_in_all


def valley(best, steepness=0.1, noise=0.0):
    """Losses with a valley over the ladder, their noise by place and seed, half of it shared by all places of a seed."""

    def loss(place, seed):
        shared = np.random.default_rng(seed).normal()
        own = np.random.default_rng((seed, place.step + 1000, place.arguments)).normal()
        return (
            1
            + steepness * (place.step - best - 3 * place.arguments) ** 2
            + noise * (shared + own) / 2
            + 0.5 * place.arguments
        )

    return loss


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(-15, 25), st.integers(0, 9), st.sampled_from([1, 2, 3]), st.sampled_from([1, 3, 5, 8]))
def test_the_best_rate_is_found_wherever_it_lies_and_has_neighbours(best, start, stride, num_seeds):
    losses, asked = race(valley(best), start=start, stride=stride, seeds=SEEDS[:num_seeds])
    winner = ranked(losses, SEEDS[:num_seeds])[0]
    assert winner.step == best
    assert {Place(best - 1, 0), Place(best + 1, 0)} <= set(losses)
    assert len(asked) <= 9 + abs(best - start) / stride + 2 * num_seeds


def test_a_grid_that_is_fixed_is_not_left():
    losses, _ = race(valley(14), ladder=Ladder.of(GRID, fixed=True))
    assert {place.step for place in losses} <= set(range(10))
    assert ranked(losses, SEEDS[:5])[0].step == 9


def test_it_takes_less_than_a_third_of_the_grid():
    runs = [len(race(valley(best, noise=0.1))[1]) for best in range(1, 9)]
    assert np.mean(runs) < len(GRID) * 5 / 3


def test_other_arguments_race_along():
    losses, _ = race(lambda place, seed: valley(4)(place, seed) - place.arguments, num_arguments=3)
    assert ranked(losses, SEEDS[:5])[0] == Place(10, 2)


def test_diverged_rates_are_fled_downwards():
    losses, _ = race(lambda place, seed: math.inf if place.step > -5 else 1 - 0.1 * place.step)
    assert ranked(losses, SEEDS[:5])[0].step == -5


def test_where_everything_diverges_it_ends():
    _, asked = race(lambda place, seed: math.inf)
    assert len(asked) < 60


def test_the_second_leaves_when_it_is_surely_worse_and_stays_when_not():
    sure, _ = race(valley(4, steepness=1.0, noise=0.01), seeds=SEEDS)
    open_race, _ = race(lambda place, seed: valley(4, 1e-6, noise=1.0)(place, seed), seeds=SEEDS)
    assert sum(len(by) == len(SEEDS) for by in sure.values()) == 1
    assert sum(len(by) == len(SEEDS) for by in open_race.values()) == 2


@pytest.mark.parametrize("fixed", [True, False])
def test_the_ladder_holds_the_grid_and_goes_on_in_its_ratio(fixed):
    ladder = Ladder.of(GRID, fixed=fixed)
    assert [ladder.rate(step) for step in range(10)] == GRID
    assert ladder.rate(10) == pytest.approx(0.22 * 22 ** (1 / 9), rel=5e-3)
    assert ladder.rate(-1) == pytest.approx(0.01 / 22 ** (1 / 9), rel=5e-3)
    assert Ladder.of([0.1], fixed=False).rate(1) == 0.2
    rates = [ladder.rate(step) for step in range(-40, 50)]
    assert rates == sorted(set(rates))
