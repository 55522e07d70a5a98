"""Interference: power exact per real symbol, correlation over antennas, impulses with their kurtosis."""

import math

import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded

from laser_wireless.channels.hardware.impairments import Generators, Radio
from laser_wireless.channels.hardware.impulsive_noise import BernoulliGaussianNoise, MiddletonNoise
from laser_wireless.channels.hardware.interference import BarrageJammer, OtherCells, PulsedJammer, ToneJammer

RUNS = 100_000


def add(stage, *shape, first_sample=0, samples_seed=3):
    """What the stage adds to silence: complex128 of this shape."""
    generators = Generators(seeded(1), seeded(2), seeded(samples_seed))
    radio = Radio(mean_power=torch.ones(1, 1), first_sample=first_sample)
    return stage(torch.zeros(shape, dtype=torch.complex128), radio, generators=generators)


def test_interference_is_added():
    x = torch.randn(2, 5, dtype=torch.complex128, generator=seeded(4))
    for stage in (OtherCells(powers=1.0), BarrageJammer(power=1.0), ToneJammer(power=1.0)):
        generators = Generators(seeded(1), seeded(2), seeded(3))
        assert torch.allclose(stage(x, Radio(mean_power=torch.ones(1, 1)), generators=generators) - x, add(stage, 2, 5))


@pytest.mark.parametrize(
    "make",
    [
        lambda powers: OtherCells(powers=powers),
        lambda powers: BarrageJammer(power=powers),
        lambda powers: PulsedJammer(power=powers),
        lambda powers: ToneJammer(power=powers),
        lambda powers: BernoulliGaussianNoise(noise_variance=powers),
        lambda powers: MiddletonNoise(noise_variance=powers),
    ],
)
def test_without_power_nothing_is_added(make):
    assert (add(make(0.0), 3, 50) == 0).all()


def test_other_cells_power_is_the_sum_of_their_powers():
    """One sample is sum_m sqrt(2 p_m) h_m s_m; Var |i|^2 = E|i|^4 - 4 p^2 with E|i|^4 = 8 (p^2 + sum p_m^2)."""
    powers = (0.5, 2.0, 0.0)
    i = add(OtherCells(powers=powers), RUNS, 1, 1)
    total, squares = sum(powers), sum(p * p for p in powers)
    variance = 8 * (total**2 + squares) - 4 * total**2
    assert_mean(i.abs().square(), mean=2 * total, variance=variance)
    assert_mean(i.real.square(), mean=total, variance=2 * total**2 + 3 * squares)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(1.2 * i.abs().square(), mean=2 * total, variance=variance)


def test_other_cells_fade_per_antenna_and_hold_over_the_round():
    i = add(OtherCells(powers=1.0), 20_000, 2, 2)
    assert torch.allclose(i[:, 0, 0] / i[:, 0, 1], i[:, 1, 0] / i[:, 1, 1])  # one device: rank one
    ratio = (i[:, 0, 0] / i[:, 1, 0]).abs().square()  # of two exponentials
    assert_distributed(ratio, "f", 2, 2)
    chunk, next_chunk = (add(OtherCells(powers=1.0), 3, 2, 2, samples_seed=seed) for seed in (3, 4))
    assert torch.allclose(chunk[:, 0] / chunk[:, 1], next_chunk[:, 0] / next_chunk[:, 1])
    assert not torch.allclose(chunk, next_chunk)


def test_barrage_jammer_is_white_gaussian_noise_of_its_power():
    i = add(BarrageJammer(power=3.0), RUNS, 1, 2)
    assert_distributed(i[:, 0, 0].real, "norm", 0, math.sqrt(3.0))
    assert_mean(i.abs().square(), mean=6, variance=36)
    assert_mean((i[:, 0, 0] * i[:, 0, 1].conj()).real, mean=0, variance=18)
    with pytest.raises(AssertionError, match="not norm"):
        assert_distributed(1.1 * i[:, 0, 0].real, "norm", 0, math.sqrt(3.0))


@pytest.mark.parametrize(
    "stage", [BarrageJammer(power=3.0), PulsedJammer(power=3.0, duty=1.0), ToneJammer(power=3.0)], ids=str
)
def test_jammer_has_one_phase_for_each_antenna_and_round(stage):
    i = add(stage, 20_000, 2, 2)
    step = i[:, 1] / i[:, 0]
    assert torch.allclose(step[:, 0], step[:, 1])
    assert_distributed(step[:, 0].angle(), "uniform", -math.pi, 2 * math.pi)
    assert torch.allclose(step.abs(), torch.ones(()).double())


@pytest.mark.parametrize("duty", [0.07, 0.5, 1.0])
def test_pulsed_jammer_is_on_for_its_duty_with_its_mean_power(duty):
    i = add(PulsedJammer(power=3.0, duty=duty, pulse_samples=3), RUNS, 1, 1, first_sample=17).flatten()
    assert_mean((i != 0).double(), mean=duty, variance=duty * (1 - duty) + 1e-12)
    assert_mean(i.abs().square(), mean=6, variance=36 * (2 / duty - 1))
    assert_distributed(i[i != 0].abs().square() * duty / 6, "expon")


def test_pulses_have_their_length_and_period():
    on = (add(PulsedJammer(power=1.0, duty=0.25, pulse_samples=8), 1, 1, 3200) != 0).flatten().int()
    starts = (on.diff() == 1).nonzero().flatten()
    ends = (on.diff() == -1).nonzero().flatten()
    assert (starts.diff() == 32).all()
    assert ((ends[ends > starts[0]][: len(starts) - 1] - starts[:-1]) == 8).all()
    assert len(starts) in (99, 100)


def test_tone_jammer_is_a_tone():
    i = add(ToneJammer(power=2.0, frequency=0.1), 1, 1, 50, first_sample=7).flatten()
    assert torch.allclose(i.abs().square(), torch.full((), 4.0).double())
    steps = i[1:] / i[:-1]
    assert torch.allclose(steps, torch.full_like(steps, complex(math.cos(0.2 * math.pi), math.sin(0.2 * math.pi))))


def test_tone_is_anywhere_in_the_band_unless_given():
    i = add(ToneJammer(power=2.0), 20_000, 1, 2)
    assert_distributed((i[..., 1] / i[..., 0]).angle(), "uniform", -math.pi, 2 * math.pi)


MIDDLETON = MiddletonNoise(noise_variance=0.7, overlap=0.5, gaussian_ratio=0.3)
BERNOULLI = BernoulliGaussianNoise(noise_variance=0.7, probability=0.3)


def test_kurtosis_is_that_of_the_docstring():
    assert BERNOULLI.kurtosis == pytest.approx(10)
    assert MIDDLETON.kurtosis == pytest.approx(3 * (1 + 2 / 1.69))
    assert BernoulliGaussianNoise(noise_variance=1.0, probability=1.0).kurtosis == 3


def gaussian_mixture_moments(stage, terms=200):
    """E[v^2], E[v^4], E[v^8] of a real symbol, summed over the states of the variance."""
    if isinstance(stage, BernoulliGaussianNoise):
        q = stage.probability
        states = [(q, stage.noise_variance / q), (1 - q, 0.0)]
    else:
        a, g = stage.overlap, stage.gaussian_ratio
        weights = [math.exp(-a + m * math.log(a) - math.lgamma(m + 1)) for m in range(terms)]
        states = [(w, stage.noise_variance * (m / a + g) / (1 + g)) for m, w in enumerate(weights)]
    return [factor * sum(w * v**power for w, v in states) for factor, power in ((1, 1), (3, 2), (105, 4))]


@pytest.mark.parametrize("stage", [BERNOULLI, MIDDLETON], ids=str)
def test_impulsive_noise_has_its_variance_and_kurtosis(stage):
    second, fourth, eighth = gaussian_mixture_moments(stage)
    assert second == pytest.approx(stage.noise_variance)
    assert fourth / second**2 == pytest.approx(stage.kurtosis)
    i = add(stage, 1, 4 * RUNS)
    for v in (i.real, i.imag):
        assert_mean(v, mean=0, variance=second)
        assert_mean(v.square(), mean=second, variance=fourth - second**2)
        assert_mean(v**4, mean=fourth, variance=eighth - fourth**2)
        with pytest.raises(AssertionError, match="expected"):
            assert_mean(1.1 * v.square(), mean=second, variance=fourth - second**2)


def test_bernoulli_impulses_come_with_their_probability_on_all_antennas_at_once():
    i = add(BERNOULLI, 2, RUNS)
    assert torch.equal(i[0] != 0, i[1] != 0)
    assert_mean((i[0] != 0).double(), mean=0.3, variance=0.21)
    assert not torch.allclose(i[0], i[1])


def test_impulses_of_high_overlap_are_gaussian():
    dense = add(MiddletonNoise(noise_variance=1.0, overlap=1e5), 1, 20_000)
    assert_distributed(dense.real, "norm")
    with pytest.raises(AssertionError, match="not norm"):
        assert_distributed(add(MIDDLETON, 1, 20_000).real / math.sqrt(0.7), "norm")


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_impossible_powers_are_refused(bad):
    for make in (BarrageJammer, PulsedJammer, ToneJammer):
        with pytest.raises(ValueError, match="power must be finite and >= 0"):
            make(power=bad)
    for powers in (bad, (1.0, bad)):
        with pytest.raises(ValueError, match="powers must be finite and >= 0"):
            OtherCells(powers=powers)
    for make in (BernoulliGaussianNoise, MiddletonNoise):
        with pytest.raises(ValueError, match="noise_variance must be finite and >= 0"):
            make(noise_variance=bad)
    with pytest.raises(ValueError, match="gaussian_ratio must be finite and >= 0"):
        MiddletonNoise(noise_variance=1.0, gaussian_ratio=bad)
    with pytest.raises(ValueError, match="overlap must be finite and > 0"):
        MiddletonNoise(noise_variance=1.0, overlap=bad)


def test_interference_of_nobody_is_refused():
    with pytest.raises(ValueError, match=r"powers must be finite and >= 0 .*, one for each device, got \(\)"):
        OtherCells(powers=())


@pytest.mark.parametrize("share", [0.0, 1.01, math.nan])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ValueError, match=r"duty must be in \(0, 1\]"):
        PulsedJammer(power=1.0, duty=share)
    with pytest.raises(ValueError, match=r"probability must be in \(0, 1\]"):
        BernoulliGaussianNoise(noise_variance=1.0, probability=share)
    with pytest.raises(ValueError, match=r"frequency must be in \[-0\.5, 0\.5\] cycles per sample"):
        ToneJammer(power=1.0, frequency=share + 0.6)
    with pytest.raises(ValueError, match="pulse_samples must be an integer >= 1"):
        PulsedJammer(power=1.0, pulse_samples=0)
