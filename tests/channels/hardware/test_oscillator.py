"""Phases: coherent gain of phase errors, exact rotation by a frequency offset, autocorrelation of Wiener phase noise."""

import cmath
import math

import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded

from laser_wireless.channels.hardware.impairments import Generators, Radio
from laser_wireless.channels.hardware.oscillator import CarrierFrequencyOffset, PhaseError, PhaseNoise
from laser_wireless.channels.hardware.spread import NormalSpread, UniformSpread

NUM_DEVICES = 40_000
RATE = 1e4


def run(stage, x, *, first_sample=0, seed=0):
    generators = Generators(seeded(seed + 1), seeded(seed + 2), seeded(seed + 3))
    radio = Radio(mean_power=torch.ones(1, 1), sample_rate_hz=RATE, first_sample=first_sample)
    return stage(x, radio, generators=generators)


def ones(rows, num_samples=1, dtype=torch.complex128):
    return torch.ones(rows, num_samples, dtype=dtype)


@pytest.mark.parametrize("std", [0.1, 0.5, 2.0])
def test_coherent_gain_of_normal_phase_errors(std):
    """E[e^{j phi}] = exp(-std^2 / 2); Var cos phi = (1 - exp(-std^2))^2 / 2, Var sin phi = (1 - exp(-2 std^2)) / 2."""
    turned = run(PhaseError(rad=NormalSpread(std=std)), ones(NUM_DEVICES))
    assert_mean(turned.real, mean=math.exp(-(std**2) / 2), variance=(1 - math.exp(-(std**2))) ** 2 / 2)
    assert_mean(turned.imag, mean=0, variance=(1 - math.exp(-2 * std**2)) / 2)
    assert torch.allclose(turned.abs(), torch.ones(()).double())


def test_phase_errors_ten_percent_too_wide_are_noticed():
    turned = run(PhaseError(rad=NormalSpread(std=0.55)), ones(NUM_DEVICES))
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(turned.real, mean=math.exp(-(0.5**2) / 2), variance=(1 - math.exp(-(0.5**2))) ** 2 / 2)


def test_uniform_phase_errors_are_uniform():
    turned = run(PhaseError(rad=UniformSpread(low=-0.5, high=1.0)), ones(NUM_DEVICES))
    assert_distributed(turned.angle(), "uniform", -0.5, 1.5)


def test_normal_spread_has_its_mean():
    turned = run(PhaseError(rad=NormalSpread(std=0.1, mean=0.7)), ones(NUM_DEVICES))
    assert_distributed(turned.angle(), "norm", 0.7, 0.1)


def test_given_phases_turn_their_devices():
    turned = run(PhaseError(rad=(0.0, math.pi / 2, math.pi)), ones(3, 2))
    assert torch.allclose(turned, torch.tensor([[1], [1j], [-1]], dtype=torch.complex128))


@pytest.mark.parametrize("first_sample", [0, 123, 10**9])
def test_frequency_offset_turns_exactly(first_sample):
    """Also after 10^9 samples; cycles are reduced with integers here."""
    hz, rate = 1_234, 10_000
    turned = run(CarrierFrequencyOffset(hz=float(hz)), ones(1, 50), first_sample=first_sample)
    for t, found in enumerate(turned[0].tolist()):
        cycles = hz * (first_sample + t) % rate / rate
        assert abs(found - cmath.exp(2j * math.pi * cycles)) < 1e-6 * max(1, first_sample / 1e9)
        assert first_sample > 1_000 or abs(found - cmath.exp(2j * math.pi * cycles)) < 1e-12


def test_frequency_offset_of_half_the_rate_alternates():
    turned = run(CarrierFrequencyOffset(hz=(RATE / 2, 0.0)), ones(2, 6, torch.complex64))
    assert torch.allclose(turned, torch.tensor([[1, -1] * 3, [1] * 6], dtype=torch.complex64), atol=1e-6)


def test_drawn_frequency_offsets_have_their_law():
    turned = run(CarrierFrequencyOffset(hz=UniformSpread(low=-1e3, high=3e3)), ones(NUM_DEVICES, 2))
    hz = (turned[:, 1] / turned[:, 0]).angle() * RATE / (2 * math.pi)
    assert_distributed(hz, "uniform", -1e3, 4e3)


@pytest.mark.parametrize(("first", "lag"), [(0, 1), (0, 60), (40, 60)])
def test_autocorrelation_of_phase_noise(first, lag):
    """exp(-pi linewidth lag); the increment over the lag is normal, so its cosine has the variance of a phase error."""
    stage = PhaseNoise(linewidth_hz=20.0)
    turned = run(stage, ones(NUM_DEVICES, first + lag + 1))
    increment = turned[:, first + lag] * turned[:, first].conj()
    mean = stage.autocorrelation(lag / RATE)
    assert mean == pytest.approx(math.exp(-math.pi * 20.0 * lag / RATE))
    assert_mean(increment.real, mean=mean, variance=(1 - mean**2) ** 2 / 2)
    assert_distributed(increment.angle(), "norm", 0, math.sqrt(2 * math.pi * 20.0 * lag / RATE))


def test_linewidth_ten_percent_too_large_is_noticed():
    turned = run(PhaseNoise(linewidth_hz=22.0), ones(NUM_DEVICES, 61))
    mean = PhaseNoise(linewidth_hz=20.0).autocorrelation(60 / RATE)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(turned[:, 60].real, mean=mean, variance=(1 - mean**2) ** 2 / 2)


def test_increments_of_phase_noise_are_independent():
    phase = run(PhaseNoise(linewidth_hz=20.0), ones(NUM_DEVICES, 3)).angle()
    product = phase[:, 1] * (phase[:, 2] - phase[:, 1]) / (2 * math.pi * 20.0 / RATE)
    assert_mean(product, mean=0, variance=1)


def test_phase_noise_begins_at_zero_and_a_later_chunk_where_the_walk_would_be():
    assert torch.equal(run(PhaseNoise(linewidth_hz=20.0), ones(5, 3))[:, 0], ones(5)[:, 0])
    later = run(PhaseNoise(linewidth_hz=20.0), ones(NUM_DEVICES), first_sample=60)
    assert_distributed(later.angle(), "norm", 0, math.sqrt(2 * math.pi * 20.0 * 60 / RATE))


def test_common_oscillator_turns_all_antennas_alike():
    turned = run(PhaseNoise(linewidth_hz=20.0, common=True), ones(4, 10).expand(2, 4, 10))
    assert torch.equal(turned, turned[:, :1].expand(2, 4, 10))
    assert not torch.allclose(turned[0], turned[1])
    own = run(PhaseNoise(linewidth_hz=20.0), ones(4, 10))
    assert not torch.allclose(own[0], own[1])


@pytest.mark.parametrize("linewidth_hz", [-1.0, math.nan, math.inf])
def test_impossible_linewidth_is_refused(linewidth_hz):
    with pytest.raises(ValueError, match="linewidth_hz must be finite and >= 0"):
        PhaseNoise(linewidth_hz=linewidth_hz)


@pytest.mark.parametrize("std", [-1.0, math.nan, math.inf])
def test_impossible_spread_is_refused(std):
    with pytest.raises(ValueError, match="std must be finite and >= 0"):
        NormalSpread(std=std)
    with pytest.raises(ValueError, match="mean must be finite"):
        NormalSpread(std=1.0, mean=math.nan)
    with pytest.raises(ValueError, match="low and high must be finite with low <= high"):
        UniformSpread(low=1.0, high=std if std != -1.0 else 0.0)
