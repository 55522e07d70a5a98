"""Converters: quantiser against its table and its Bussgang gain, I/Q imbalance against its image rejection ratio."""

import math
from itertools import pairwise

import pytest
import scipy.integrate
import scipy.stats
import torch
from helpers.closed_forms import image_rejection_ratio
from helpers.statistical import assert_mean, seeded

from laser_wireless.channels.hardware.converters import IqImbalance, Quantiser
from laser_wireless.channels.hardware.impairments import Generators, Radio
from laser_wireless.channels.hardware.spread import NormalSpread

NUM_SAMPLES = 400_000
LEAST_DISTORTION = {1: (1.596, 0.3634), 2: (1.991, 0.1188), 3: (2.344, 0.03744), 4: (2.682, 0.01154)}
"""Bits -> full scale and mean square error of the best uniform quantiser of N(0, 1); Max (1960)."""


def convert(stage, x, mean_power=2.0):
    generators = Generators(seeded(1), seeded(2), seeded(3))
    return stage(x, Radio(mean_power=torch.full((1, 1), mean_power, dtype=torch.float64)), generators=generators)


def gaussian(power=2.0):
    """CN(0, power); rms of I and of Q is 1 for power 2."""
    return math.sqrt(power) * torch.randn(1, NUM_SAMPLES, dtype=torch.complex128, generator=seeded(8))


def level(v, bits, full_scale):
    """The quantiser in its plainest form."""
    step = 2 * full_scale / 2**bits
    return math.copysign(min(math.floor(abs(v) / step) + 0.5, 2 ** (bits - 1) - 0.5) * step, v)


def moment(function, bits, full_scale):
    """E of a function of (v, quantised v) under N(0, 1), level by level."""
    step = 2 * full_scale / 2**bits
    edges = [-9.0, *(i * step for i in range(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1))), 9.0]
    total = 0.0
    for low, high in pairwise(edges):
        q = level((low + high) / 2 if abs(low) + abs(high) < 9 else math.copysign(full_scale, low + high), bits, full_scale)
        total += scipy.integrate.quad(lambda v, q=q: function(v, q) * scipy.stats.norm.pdf(v), low, high)[0]
    return total


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("bits", [1, 2, 3, 6])
def test_levels_are_those_of_the_plain_form(bits, dtype):
    v = torch.linspace(-5, 5, 1001, dtype=torch.float64)[::2] + 1e-3
    after = convert(Quantiser(bits=bits, full_scale=3.0), torch.complex(v, v.flip(0))[None].to(dtype))
    expected = torch.tensor([level(value, bits, 3.0) for value in v.tolist()], dtype=torch.float64)
    assert torch.allclose(after.real.double(), expected, rtol=1e-6)
    assert torch.allclose(after.imag.double(), expected.flip(0), rtol=1e-6)
    assert len(after.real.unique()) == 2**bits


def test_two_bits_by_hand():
    x = torch.tensor([[0.0 + 0.9j, 1.1 - 0.1j, -1.0 - 7.0j, 7.0 + 0.0j]], dtype=torch.complex128)
    expected = [0.5 + 0.5j, 1.5 - 0.5j, -0.5 - 1.5j, 1.5 + 0.5j]  # steps of 1; an edge belongs to the level above it
    assert convert(Quantiser(bits=2, full_scale=2.0), x)[0].tolist() == expected


def test_many_bits_are_a_wire():
    x = gaussian()[:, :1000]
    assert torch.allclose(convert(Quantiser(bits=24, full_scale=8.0), x), x, atol=8 / 2**24)


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_quantised_gaussian_has_bussgang_gain_and_distortion(bits):
    """gain = E[v q] and power = E[q^2] by quadrature; 1 bit in closed form, gain = (F / 2) sqrt(2 / pi)."""
    full_scale = LEAST_DISTORTION[bits][0]
    x = gaussian()
    after = convert(Quantiser(bits=bits, full_scale=full_scale), x)
    gain = moment(lambda v, q: v * q, bits, full_scale)
    if bits == 1:
        assert gain == pytest.approx(full_scale / 2 * math.sqrt(2 / math.pi), rel=1e-6)
    variance = moment(lambda v, q: (v * q) ** 2, bits, full_scale) - gain**2
    product = torch.stack([after.real * x.real, after.imag * x.imag])
    assert_mean(product, mean=gain, variance=variance)
    power = moment(lambda v, q: q * q, bits, full_scale)
    squares = torch.stack([after.real, after.imag]).square()
    assert_mean(squares, mean=power, variance=moment(lambda v, q: q**4, bits, full_scale) - power**2 + 1e-12)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(1.1 * product, mean=gain, variance=variance)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_full_scales_of_the_docstring_distort_least(bits):
    full_scale, error = LEAST_DISTORTION[bits]
    found = [moment(lambda v, q: (v - q) ** 2, bits, full_scale * factor) for factor in (0.97, 1.0, 1.03)]
    assert found[1] == pytest.approx(error, rel=2e-3)
    assert found[1] == min(found)


@pytest.mark.parametrize("mean_power", [1e-20, 1e20])
def test_levels_go_with_the_mean_power(mean_power):
    x = gaussian()[:, :100]
    root = math.sqrt(mean_power / 2)
    assert torch.allclose(convert(Quantiser(bits=3), root * x, mean_power) / root, convert(Quantiser(bits=3), x))


def test_gradient_is_that_of_clipping():
    x = torch.tensor([[0.1 + 5.0j, -5.0 + 1.9j]], dtype=torch.complex128, requires_grad=True)
    torch.view_as_real(convert(Quantiser(bits=2, full_scale=2.0), x)).sum().backward()
    assert x.grad.tolist() == [[1 + 0j, 0 + 1j]]


def test_conjugated_samples_are_quantised():
    x = gaussian()[:, :20]
    assert torch.equal(convert(Quantiser(bits=3), x.conj()), convert(Quantiser(bits=3), x.conj().resolve_conj()))


@pytest.mark.parametrize("bits", [0, 25])
def test_impossible_quantisers_are_refused(bits):
    with pytest.raises(ValueError, match="bits must be an integer from 1 to 24"):
        Quantiser(bits=bits)
    for full_scale in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="full_scale must be finite and > 0"):
            Quantiser(bits=4, full_scale=full_scale)


def tones(stage, num_samples=64):
    """Signal and image of e^{j 2 pi 5 t / 64}, at bins 5 and -5."""
    t = torch.arange(num_samples, dtype=torch.float64)
    spectrum = torch.fft.fft(convert(stage, torch.exp(2j * math.pi * 5 * t / num_samples)[None])) / num_samples
    return spectrum[0, 5], spectrum[0, -5]


@pytest.mark.parametrize(("amplitude_db", "phase_rad"), [(1.0, 0.0), (0.0, 0.1), (-0.5, 0.05), (3.0, -1.0)])
def test_image_lies_below_the_signal_by_the_rejection_ratio(amplitude_db, phase_rad):
    signal, image = tones(IqImbalance(amplitude_db=amplitude_db, phase_rad=phase_rad))
    ratio = (signal.abs() / image.abs()).square().item()
    assert ratio == pytest.approx(image_rejection_ratio(amplitude_db, phase_rad))
    assert (signal.abs() + image.abs()).item() == pytest.approx(1)


def test_small_mismatches_have_the_textbook_rejection():
    """4 / (epsilon^2 + phi^2) for relative gain error epsilon and phase error phi."""
    assert image_rejection_ratio(20 * math.log10(1.001), 0.002) == pytest.approx(4 / (0.001**2 + 0.002**2), rel=2e-3)


def test_branches_are_those_of_the_docstring():
    """I is kept and Q becomes j g e^{j phi} Q, up to the common divisor |mu| + |nu|."""
    amplitude_db, phase = 2.0, 0.3
    i, q = convert(IqImbalance(amplitude_db=amplitude_db, phase_rad=phase), torch.tensor([[1, 1j]], dtype=torch.complex128))[
        0
    ]
    expected = 1j * 10 ** (amplitude_db / 20) * complex(math.cos(phase), math.sin(phase))
    assert abs((q / i).item() - expected) < 1e-12
    assert i.imag == 0


def test_perfect_mixer_is_a_wire():
    x = gaussian()[:, :9]
    assert torch.equal(convert(IqImbalance(), x), x)
    assert image_rejection_ratio(0.0, 0.0) == math.inf


def test_drawn_mismatches_have_their_law():
    """|Q| / |I| of a device is its g."""
    x = torch.tensor([1, 1j], dtype=torch.complex128).expand(20_000, 2)
    after = convert(IqImbalance(amplitude_db=NormalSpread(std=0.5)), x)
    decibels = 20 * (after[:, 1].abs() / after[:, 0].abs()).log10()
    assert_mean(decibels, mean=0, variance=0.25)
    assert_mean(decibels.square(), mean=0.25, variance=2 * 0.25**2)
