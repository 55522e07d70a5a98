"""Timing offsets: whole delays shift, fractions interpolate, OFDM sees a phase ramp within the prefix and more beyond."""

import math

import pytest
import torch
from helpers.statistical import assert_distributed, seeded

from laser_wireless.channels.hardware.impairments import Generators, Radio
from laser_wireless.channels.hardware.spread import UniformSpread
from laser_wireless.channels.hardware.timing import TimingOffset, shift

NUM_SUBCARRIERS, PREFIX = 16, 4


def delayed(x, samples):
    generators = Generators(seeded(1), seeded(2), seeded(3))
    return TimingOffset(samples=samples)(x, Radio(mean_power=torch.ones(1, 1)), generators=generators)


def noise(rows, num_samples):
    return torch.randn(rows, num_samples, dtype=torch.complex128, generator=seeded(5))


@pytest.mark.parametrize("samples", [0, 1, 7, 19, 20, 21, -1, -7, -20, -1000])
@pytest.mark.parametrize("num_samples", [1, 20])
def test_whole_delay_shifts_and_fills_with_silence(samples, num_samples):
    x = noise(2, num_samples)
    expected = torch.zeros_like(x)
    for t in range(num_samples):
        if 0 <= t - samples < num_samples:
            expected[:, t] = x[:, t - samples]
    assert torch.allclose(delayed(x, float(samples)), expected, atol=1e-13)


def test_each_device_has_its_own_delay():
    x = noise(3, 8)
    after = delayed(x, (0.0, 2.0, -1.0))
    for row, samples in enumerate((0.0, 2.0, -1.0)):
        assert torch.allclose(after[row], delayed(x[row : row + 1], samples)[0])


def pulse(centre):
    """A Gaussian pulse, whose spectrum is negligible at the edge of the band: delayed, it is its own formula."""
    t = torch.arange(64, dtype=torch.float64)
    return torch.exp(-((t - centre) ** 2) / (2 * 2.5**2)).to(torch.complex128)[None]


def test_fraction_moves_a_band_limited_pulse():
    assert torch.allclose(delayed(pulse(30.0), 1.37), pulse(31.37), atol=1e-10)
    assert not torch.allclose(delayed(pulse(30.0), 1.37), pulse(31.27), atol=1e-2)


def test_two_half_delays_are_a_whole_one():
    assert torch.allclose(delayed(delayed(pulse(30.0), 0.5), 0.5), pulse(31.0), atol=1e-10)


def test_fraction_of_an_impulse_is_the_sinc_of_a_long_stream():
    x = torch.zeros(1, 1001, dtype=torch.complex128)
    x[:, 500] = 1
    t = torch.arange(1001, dtype=torch.float64) - 500
    assert torch.allclose(delayed(x, 0.25)[0].real, torch.sinc(t - 0.25), atol=1e-3)


def ofdm(symbols):
    """[rows, num_ofdm_symbols, subcarriers] -> stream with cyclic prefix."""
    body = torch.fft.ifft(symbols)
    return torch.cat([body[..., -PREFIX:], body], -1).flatten(-2)


def demodulate(stream):
    return torch.fft.fft(stream.unflatten(-1, (-1, NUM_SUBCARRIERS + PREFIX))[..., PREFIX:])


@pytest.mark.parametrize("samples", [0, 1, PREFIX])
def test_delay_within_the_prefix_is_a_phase_ramp_over_the_subcarriers(samples):
    symbols = noise(3, NUM_SUBCARRIERS)[None]
    ramp = torch.exp(-2j * math.pi * torch.arange(NUM_SUBCARRIERS) * samples / NUM_SUBCARRIERS)
    assert torch.allclose(demodulate(delayed(ofdm(symbols), float(samples))), ramp * symbols, atol=1e-12)


@pytest.mark.parametrize("samples", [PREFIX + 1, -1])
def test_delay_beyond_the_prefix_lets_symbols_interfere(samples):
    symbols = noise(3, NUM_SUBCARRIERS)[None]
    other = symbols.clone()
    other[0, [0, 2]] += noise(2, NUM_SUBCARRIERS)
    middle = [demodulate(delayed(ofdm(s), float(samples)))[0, 1] for s in (symbols, other)]
    assert not torch.allclose(*middle, atol=1e-3)


def test_drawn_delays_have_their_law():
    """The delay is read from the phase ramp: mean phase step of a slow tone."""
    x = torch.exp(2j * math.pi * 0.05 * torch.arange(512, dtype=torch.float64)).expand(4000, 512)
    after = delayed(x, UniformSpread(low=0.0, high=8.0))
    samples = -(after[:, 256] / x[:, 256]).angle() / (2 * math.pi * 0.05)
    assert_distributed(samples, "uniform", -0.02, 8.04)


def test_gradient_with_respect_to_the_delay_is_right():
    x = noise(2, 6).requires_grad_()
    delay = torch.tensor([[0.3], [1.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(shift, (x, delay))
