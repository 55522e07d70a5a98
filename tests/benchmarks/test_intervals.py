"""Intervals hold what they promise: 95 of 100 contain the truth, at every sample size."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from laser_wireless.benchmarks.intervals import disk_of, fraction_interval, half_width, reach_of, standard_error


def test_interval_of_a_mean_is_students():
    assert reach_of(3) == pytest.approx(4.302652729749464)
    assert reach_of(math.inf) == pytest.approx(1.959963984540054)
    assert standard_error([1.0, 2.0, 3.0]) == pytest.approx(1 / math.sqrt(3))
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302652729749464 / math.sqrt(3))
    assert math.isnan(half_width([1.0]))
    assert math.isnan(half_width([1.0, math.inf]))
    assert math.isnan(half_width([]))


@pytest.mark.parametrize("count", [4, 40])
def test_the_disk_holds_a_complex_mean_in_95_percent(count):
    samples = np.random.default_rng(0).normal(size=(20_000, count, 2))
    mean = samples.mean(1)
    spread = np.einsum("ski,skj->sij", samples - mean[:, None], samples - mean[:, None]) / (count - 1) / count
    distance = np.einsum("si,si->s", mean, np.linalg.solve(spread, mean[..., None])[..., 0])
    inside = (distance <= disk_of(count) ** 2).mean()
    assert abs(inside - 0.95) < 5 * math.sqrt(0.05 * 0.95 / 20_000)
    assert disk_of(math.inf) == pytest.approx(math.sqrt(-2 * math.log(0.05)), rel=1e-6)


@pytest.mark.parametrize(("count", "least"), [(5, 0.93), (50, 0.95)])  # one-sided ends cost a little where n p is small
def test_interval_of_a_fraction_contains_it_in_95_percent(count, least):
    ends = [fraction_interval([1.0] * k + [0.0] * (count - k)) for k in range(count + 1)]
    for p in (0.01, 0.1, 0.37, 0.5, 0.9, 0.99):
        held = sum(binom.pmf(k, count, p) for k, (low, high) in enumerate(ends) if low <= p <= high)
        assert held >= least
        low, high = fraction_interval([0.0] * count)
        assert low == 0
        assert high == pytest.approx(1 - 0.05 ** (1 / count))
    assert fraction_interval([1.0] * count)[1] == 1


def test_independent_devices_narrow_the_interval_and_equal_ones_do_not():
    rng = np.random.default_rng(1)
    apart = (rng.random((400, 16)) < 0.1).mean(1)
    alike = (rng.random(400) < 0.1).astype(float)

    def width(fractions):
        low, high = fraction_interval(fractions.tolist())
        return high - low

    assert width(apart) == pytest.approx(width(alike) / 4, rel=0.25)
    p = apart.mean()
    assert width(apart) == pytest.approx(2 * 1.96 * math.sqrt(p * (1 - p) / 6400), rel=0.15)
