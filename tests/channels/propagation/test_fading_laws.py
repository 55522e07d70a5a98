"""The alpha-mu laws: E|h|^2 = 1, moments, distributions by other formulas, special cases, parameters."""

import math

import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.fading.alpha_mu import AlphaMu, Nakagami, Weibull, as_alpha_mu
from laser_wireless.channels.fading.laws import NoFading, Rayleigh
from laser_wireless.channels.segments import Grid

NUM_DEVICES = 60_000
GRID = Grid(num_slots=2, symbols_per_cell=3)
LAWS = [
    Nakagami(m=0.5),
    Nakagami(m=1.0),
    Nakagami(m=2.7),
    Nakagami(m=200.0),
    Weibull(shape=1.0),
    Weibull(shape=3.5),
    AlphaMu(alpha=1.3, mu=2.5),
    AlphaMu(alpha=4.0, mu=0.4),
]


def gains(fading, device="cpu"):
    return fading(NUM_DEVICES, 1, GRID, round=0, generator=seeded(11, device)).cpu()


def power_variance(alpha, mu):
    """Var |h|^2 from E G^s = Gamma(mu + s) / Gamma(mu)."""
    fourth = math.lgamma(mu + 4 / alpha) + math.lgamma(mu) - 2 * math.lgamma(mu + 2 / alpha)
    return math.exp(fourth) - 1


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_mean_power_is_one_and_phase_uniform(law, device):
    h = gains(law, device)
    assert (h.dtype, h.shape) == (torch.complex64, (NUM_DEVICES, 1, 2, 1))
    general = as_alpha_mu(law)
    assert_mean(h.abs().square(), mean=1, variance=power_variance(general.alpha, general.mu))
    assert_distributed(h.angle(), "uniform", -math.pi, 2 * math.pi)


@pytest.mark.parametrize("m", [0.5, 1.0, 2.7, 200.0])
def test_nakagami_power_is_gamma(m, device):
    h = gains(Nakagami(m=m), device)
    assert_distributed(h.abs().square(), "gamma", m, 0, 1 / m)
    assert_distributed(h.abs(), "nakagami", m)
    assert power_variance(2.0, m) == pytest.approx(1 / m)


@pytest.mark.parametrize("shape", [1.0, 2.0, 3.5])
def test_weibull_envelope_is_weibull(shape):
    scale = 1 / math.sqrt(math.gamma(1 + 2 / shape))
    assert_distributed(gains(Weibull(shape=shape)).abs(), "weibull_min", shape, 0, scale)


@pytest.mark.parametrize(("alpha", "mu"), [(1.3, 2.5), (4.0, 0.4)])
def test_alpha_mu_envelope_is_generalised_gamma(alpha, mu, device):
    scale = math.sqrt(math.gamma(mu) / math.gamma(mu + 2 / alpha))
    assert_distributed(gains(AlphaMu(alpha=alpha, mu=mu), device).abs(), "gengamma", mu, alpha, 0, scale)


@pytest.mark.parametrize("law", [AlphaMu(), Nakagami(m=1.0), Weibull(shape=2.0)], ids=str)
def test_rayleigh_is_the_common_special_case(law):
    assert as_alpha_mu(law) == as_alpha_mu(Rayleigh()) == AlphaMu(alpha=2.0, mu=1.0)
    assert_distributed(gains(law).abs().square(), "expon")


def test_other_models_are_no_alpha_mu_law():
    assert as_alpha_mu(NoFading()) is None


@pytest.mark.parametrize(("m", "other"), [(2.7, 2.5), (1.0, 1.1), (0.5, 0.53)])
def test_a_neighbouring_law_is_told_apart(m, other):
    with pytest.raises(AssertionError, match="not gamma"):
        assert_distributed(gains(Nakagami(m=m)).abs().square(), "gamma", other, 0, 1 / other)


def test_weibull_of_the_power_is_not_that_of_the_envelope():
    with pytest.raises(AssertionError, match="not weibull_min"):
        assert_distributed(gains(Weibull(shape=3.5)).abs().square(), "weibull_min", 3.5, 0, 1 / math.gamma(1 + 1 / 3.5))


@pytest.mark.parametrize("law", [Nakagami(m=0.5), Weibull(shape=1.2)], ids=str)
def test_gains_are_independent_over_devices_and_slots(law):
    h = gains(law)[:, 0, :, 0]
    for other in (h.roll(1, 0), h.roll(1, 1)):
        assert_mean((h * other.conj()).real[: NUM_DEVICES // 2, 0], mean=0, variance=0.5)


@pytest.mark.parametrize("law", [AlphaMu(alpha=0.3, mu=0.05), AlphaMu(alpha=0.05, mu=0.1), Nakagami(m=1e6)], ids=str)
def test_extreme_laws_stay_finite(law):
    assert gains(law).isfinite().all()


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_draws_are_repeatable_and_read_nothing(law, device, global_rng_untouched):
    h = law(5, 3, Grid(num_slots=2, num_frequency_blocks=4, symbols_per_cell=1), round=0, generator=seeded(1, device))
    assert (h.shape, h.device.type) == ((5, 3, 2, 4), device.type)
    again = law(5, 3, Grid(num_slots=2, num_frequency_blocks=4, symbols_per_cell=1), round=9, generator=seeded(1, device))
    assert torch.equal(h, again)
    with FakeTensorMode():
        assert law(5, 3, GRID, round=0, generator=seeded(1)).shape == (5, 3, 2, 1)


@pytest.mark.parametrize(
    ("law", "bad", "message"),
    [
        (Nakagami, {"m": 0.4}, "m must be finite and >= 0.5, got 0.4"),
        (Nakagami, {"m": math.nan}, "m must be finite"),
        (Nakagami, {"m": math.inf}, "m must be finite"),
        (Weibull, {"shape": 0.0}, "shape must be finite and > 0"),
        (Weibull, {"shape": math.nan}, "shape must be finite"),
        (AlphaMu, {"alpha": -1.0}, "alpha must be finite and > 0"),
        (AlphaMu, {"mu": math.nan}, "mu must be finite and > 0"),
    ],
)
def test_impossible_parameters_are_refused(law, bad, message):
    with pytest.raises(ValueError, match=message):
        law(**bad)
