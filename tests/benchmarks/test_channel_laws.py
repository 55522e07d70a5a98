"""Closed forms of fading laws: densities that fit their distributions, correlations that fit their processes."""

import math

import numpy as np
import pytest
import torch
from helpers.statistical import assert_mean, seeded
from scipy.integrate import quad
from scipy.special import j0

from laser_wireless.benchmarks.channel_views.laws import (
    delay_profile,
    envelope,
    frequency_correlation,
    interval_of_rounds,
    response_of,
    time_correlation,
)
from laser_wireless.channels.fading.alpha_mu import AlphaMu, Nakagami, Weibull
from laser_wireless.channels.fading.correlated import GaussMarkov, Jakes
from laser_wireless.channels.fading.correlated_law import CorrelatedLaw
from laser_wireless.channels.fading.laws import NoFading, Rayleigh, Rician
from laser_wireless.channels.propagation.delay_profiles import DelayProfile
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.sionna_paths import SionnaTdl
from laser_wireless.channels.propagation.tapped_delay import TappedDelayLine
from laser_wireless.channels.segments import Grid

GRID = Grid(num_slots=3, num_frequency_blocks=2, symbols_per_cell=2, slot_s=1e-3, block_hz=1e5)
LAWS = [Rayleigh(), Rician(k_factor=3.0), Nakagami(m=2.5), Weibull(shape=1.4), AlphaMu(alpha=3.0, mu=0.7)]
TAPPED = TappedDelayLine(profile="D", delay_spread_s=1e-6, doppler_hz=80.0, round_interval_s=0.01)


@pytest.mark.parametrize("fading", LAWS, ids=str)
def test_density_survival_and_moments_agree(fading):
    law = envelope(fading)
    for r in (0.3, 1.0, 1.8):
        above, _ = quad(lambda x: float(law.density(np.array(x))), r, np.inf, epsabs=1e-12)
        assert above == pytest.approx(float(law.survival(np.array(r**2))), rel=1e-7)
    mean, _ = quad(lambda x: float(law.survival(np.array(x))), 0, np.inf)
    square, _ = quad(lambda x: 2 * x * float(law.survival(np.array(x))), 0, np.inf)
    assert mean == pytest.approx(1, rel=1e-7)
    assert square - 1 == pytest.approx(law.power_variance, rel=1e-6)


def test_laws_of_composed_models():
    assert envelope(NoFading()) is None
    assert envelope(Jakes(doppler_hz=5.0, round_interval_s=0.1, k_factor=2.0)).k_factor == 2
    paths = TappedDelayLine(profile="A", delay_spread_s=1e-6, k_factor=5.0)
    assert envelope(Multipath(paths=paths)).k_factor == pytest.approx(5)
    process = GaussMarkov(correlation=0.5)
    assert envelope(CorrelatedLaw(law=Nakagami(m=3.0), process=process)).power_variance == pytest.approx(1 / 3)
    assert time_correlation(CorrelatedLaw(law=Nakagami(), process=process), GRID, np.ones(1), np.zeros(1)) is None
    assert delay_profile(Multipath(paths=SionnaTdl(profile="C", delay_spread_s=2e-7))).spread == pytest.approx(
        2e-7, rel=1e-3
    )
    assert interval_of_rounds(Multipath(paths=TAPPED)) == 0.01
    assert interval_of_rounds(CorrelatedLaw(law=Nakagami(), process=process)) is None


NUM_DEVICES = 4000
PROCESSES = [
    Rician(k_factor=2.0),
    GaussMarkov(correlation=0.8, slot_correlation=0.9, k_factor=0.5),
    GaussMarkov(doppler_hz=40.0, round_interval_s=0.01),
    Jakes(doppler_hz=40.0, round_interval_s=0.01, k_factor=1.0),
    Multipath(
        paths=TappedDelayLine(profile="D", delay_spread_s=1e-6, doppler_hz=80.0, round_interval_s=0.01, num_sinusoids=4)
    ),
    Multipath(
        paths=TappedDelayLine(profile="A", delay_spread_s=1e-6, doppler_hz=80.0, round_interval_s=math.inf, num_sinusoids=4)
    ),
    Multipath(paths=TappedDelayLine(profile="A", delay_spread_s=1e-6, num_sinusoids=4), frequency="flat"),
]


def two_rounds(fading):
    """Gains [K, 2 rounds, T, F]."""
    if not hasattr(fading, "advance"):
        return torch.stack([fading(NUM_DEVICES, 1, GRID, round=i, generator=seeded(i))[:, 0] for i in range(2)], 1)
    drawn, state = [], None
    for i in range(2):
        h, state = fading.advance(NUM_DEVICES, 1, GRID, round=i, generator=seeded(i), state=state)
        drawn.append(h[:, 0].expand(-1, GRID.num_slots, GRID.num_frequency_blocks))
    return torch.stack(drawn, 1)


@pytest.mark.parametrize("fading", PROCESSES, ids=str)
def test_correlations_are_those_of_the_drawn_gains(fading):
    h = two_rounds(fading).to(torch.complex128)
    first = h[:, 0, 0, 0].conj()
    over_rounds = time_correlation(fading, GRID, np.ones(1), np.zeros(1))[0]
    over_slots = time_correlation(fading, GRID, np.zeros(1), np.full(1, 2))[0]
    over_blocks = frequency_correlation(fading, np.ones(1), 1e5)[0]
    for other, expected in ((h[:, 1, 0, 0], over_rounds), (h[:, 0, 2, 0], over_slots), (h[:, 0, 0, 1], over_blocks)):
        product = other * first  # real and imaginary part have variances below E|h|^4 <= 2
        assert_mean(product.real, mean=expected.real, variance=2, num_comparisons=6)
        assert_mean(product.imag, mean=expected.imag, variance=2, num_comparisons=6)
    assert abs(over_slots - over_rounds) > 0.15 or abs(over_blocks - over_slots) > 0.15 or "flat" in str(fading)


def test_lags_of_zero_have_correlation_one():
    zero = np.zeros(1)
    for fading in (*LAWS, *PROCESSES, NoFading(), Multipath(paths=SionnaTdl())):
        assert time_correlation(fading, GRID, zero, zero)[0] == pytest.approx(1)
        assert frequency_correlation(fading, zero, 1e5)[0] == pytest.approx(1)


def test_paths_may_stand_where_a_fading_stands():
    lag, zero = np.ones(1), np.zeros(1)
    assert envelope(TAPPED).k_factor == envelope(Multipath(paths=TAPPED)).k_factor
    assert interval_of_rounds(TAPPED) == 0.01
    assert delay_profile(TAPPED).spread == pytest.approx(1e-6, rel=0.01)
    whole = Multipath(paths=TAPPED)
    assert time_correlation(TAPPED, GRID, zero, lag) == time_correlation(whole, GRID, zero, lag)
    assert frequency_correlation(TAPPED, lag, 1e5) == frequency_correlation(whole, lag, 1e5)


def test_doppler_of_each_device_is_averaged():
    both = time_correlation(Jakes(doppler_hz=[0.0, 40.0], round_interval_s=0.01), GRID, np.ones(1), np.zeros(1))[0]
    assert both == pytest.approx((1 + j0(2 * math.pi * 0.4)) / 2)


def test_response_of_two_paths():
    profile = DelayProfile(delays=(0.0, 1e-6), powers=(0.25, 0.5), line_of_sight=0.25)
    assert response_of(profile, np.array([0.0, 5e5, 1e6])) == pytest.approx([1, 0, 1])


def test_unknown_models_are_not_guessed():
    def mine(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.ones(1, 1, 1, 1)

    assert envelope(mine) is None
    assert time_correlation(mine, GRID, np.zeros(1), np.zeros(1)) is None
    assert frequency_correlation(mine, np.zeros(1), 1e5) is None
