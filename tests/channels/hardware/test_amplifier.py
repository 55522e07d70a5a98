"""Amplifiers: hand-computed points, limits, and the Bussgang decomposition of clipping."""

import cmath
import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded

from laser_wireless.channels.hardware.amplifier import Clipping, Rapp, Saleh
from laser_wireless.channels.hardware.impairments import Generators, Radio

AMPLITUDES = torch.tensor([0.0, 0.01, 0.5, 1.0, 2.0, 10.0], dtype=torch.float64)
PHASE = 0.4


def amplify(stage, x, mean_power=1.0):
    generators = Generators(seeded(1), seeded(2), seeded(3))
    return stage(x, Radio(mean_power=torch.full((1, 1), mean_power, dtype=torch.float64)), generators=generators)


def envelope(stage, amplitudes=AMPLITUDES, mean_power=1.0):
    """Output amplitude and added phase for input amplitudes at one phase."""
    x = torch.polar(amplitudes, torch.full_like(amplitudes, PHASE))[None]
    after = amplify(stage, x, mean_power)[0]
    return after.abs(), (after * cmath.exp(-1j * PHASE)).angle()


@pytest.mark.parametrize(
    ("smoothness", "at_saturation", "at_twice"),
    [
        (1.0, 1 / math.sqrt(2), 2 / math.sqrt(5)),
        (2.0, 2 ** (-1 / 4), 2 / 17 ** (1 / 4)),
        (3.0, 2 ** (-1 / 6), 2 / 65 ** (1 / 6)),
    ],
)
def test_rapp_at_hand_computed_points(smoothness, at_saturation, at_twice):
    amplitude, phase = envelope(Rapp(saturation_db=0.0, smoothness=smoothness))
    assert amplitude[0] == 0
    assert amplitude[1].item() == pytest.approx(0.01, rel=1e-4)  # gain 1 for small signals
    assert amplitude[3].item() == pytest.approx(at_saturation)
    assert amplitude[4].item() == pytest.approx(at_twice)
    assert (amplitude < 1).all()
    assert torch.allclose(phase, torch.zeros(()).double(), atol=1e-12)


def test_rapp_tends_to_the_clipper():
    clipped, _ = envelope(Clipping(saturation_db=0.0))
    for smoothness, error in ((2.0, 0.2), (20.0, 0.02), (2000.0, 2e-4)):
        amplitude, _ = envelope(Rapp(saturation_db=0.0, smoothness=smoothness))
        assert 1e-8 < (amplitude - clipped).abs().max() < error


def test_saleh_at_hand_computed_points():
    """r / (1 + 1.1517 r^2) and 4.0033 r^2 / (1 + 9.104 r^2)."""
    amplitude, phase = envelope(Saleh(saturation_db=0.0))
    assert amplitude.tolist() == pytest.approx([0, 0.01 / 1.00011517, 0.5 / 1.287925, 1 / 2.1517, 2 / 5.6068, 10 / 116.17])
    assert phase[2:].tolist() == pytest.approx([1.000825 / 3.276, 4.0033 / 10.104, 16.0132 / 37.416, 400.33 / 911.4])


def test_saleh_is_strongest_where_its_docstring_says():
    top = 1 / math.sqrt(1.1517)
    amplitude, _ = envelope(Saleh(saturation_db=0.0), torch.tensor([0.95 * top, top, 1.05 * top], dtype=torch.float64))
    assert amplitude[1].item() == pytest.approx(1 / (2 * math.sqrt(1.1517)))
    assert amplitude[1] > amplitude[0]
    assert amplitude[1] > amplitude[2]


def test_saleh_without_betas_and_phase_is_a_wire():
    x = torch.randn(1, 9, dtype=torch.complex64, generator=seeded(0))
    assert torch.equal(amplify(Saleh(saturation_db=0.0, beta_a=0.0, alpha_p=0.0, beta_p=0.0), x), x)


def test_clipping_keeps_the_phase_and_limits_the_envelope():
    amplitude, phase = envelope(Clipping(saturation_db=6.0))
    level = 10 ** (6.0 / 20)
    assert amplitude.tolist() == pytest.approx([0, 0.01, 0.5, 1, level, level])
    assert torch.allclose(phase, torch.zeros(()).double(), atol=1e-12)


@pytest.mark.parametrize("stage", [Rapp(saturation_db=3.0), Saleh(saturation_db=3.0), Clipping(saturation_db=3.0)], ids=str)
def test_saturation_goes_with_the_mean_power_allowed(stage):
    for mean_power in (1e-20, 4.0, 1e20):
        root = math.sqrt(mean_power)
        amplitude, phase = envelope(stage, AMPLITUDES * root, mean_power)
        assert torch.allclose(amplitude / root, envelope(stage)[0])
        assert torch.allclose(phase, envelope(stage)[1])


@pytest.mark.parametrize("saturation_db", [-3.0, 0.0, 4.0])
def test_clipped_gaussian_has_bussgang_gain_and_distortion(saturation_db):
    """With R = |x|^2 ~ Exp(1) and C = min(R, c^2): gain E[sqrt(R C)], power E[C]; variances by E[R C] and E[C^2]."""
    stage = Clipping(saturation_db=saturation_db)
    n = 400_000
    x = torch.randn(1, n, dtype=torch.complex128, generator=seeded(8))
    after = amplify(stage, x)
    limit = 10 ** (saturation_db / 10)
    gain, distortion = stage.gaussian_gain, stage.gaussian_distortion
    tail = math.exp(-limit)
    assert gain**2 + distortion == pytest.approx(1 - tail)
    mean_rc = 2 - tail * (limit**2 + 2 * limit + 2) + limit * tail * (limit + 1)
    mean_cc = 2 - 2 * tail * (limit + 1)
    product = after * x.conj()
    assert_mean(product.real, mean=gain, variance=mean_rc - gain**2)
    assert_mean(after.abs().square(), mean=gain**2 + distortion, variance=mean_cc - (1 - tail) ** 2)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(product.real * 1.1, mean=gain, variance=mean_rc - gain**2)


def test_clipping_far_above_the_signal_is_a_wire():
    stage = Clipping(saturation_db=30.0)
    assert stage.gaussian_gain == pytest.approx(1)
    assert stage.gaussian_distortion == pytest.approx(0, abs=1e-12)
    x = torch.randn(1, 99, dtype=torch.complex64, generator=seeded(0))
    assert torch.equal(amplify(stage, x), x)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("make", [Rapp, Saleh, Clipping])
def test_impossible_saturation_is_refused(make, bad):
    with pytest.raises(ValueError, match="saturation_db must be finite"):
        make(saturation_db=bad)


@pytest.mark.parametrize("smoothness", [0.49, math.nan, math.inf])
def test_impossible_smoothness_is_refused(smoothness):
    with pytest.raises(ValueError, match=r"smoothness must be finite and >= 0\.5.*use Clipping"):
        Rapp(saturation_db=0.0, smoothness=smoothness)


@pytest.mark.parametrize("name", ["beta_a", "beta_p", "alpha_p"])
def test_impossible_fit_of_saleh_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        Saleh(saturation_db=0.0, **{name: math.nan})
