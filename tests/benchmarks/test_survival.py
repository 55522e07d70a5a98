"""P(|h|^2 > x) of every law against its samples, and the mean of 1 / min |h|^2 against other integrals."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from helpers.statistical import FALSE_ALARM, assert_distributed, assert_mean, seeded
from scipy.integrate import quad
from scipy.stats import gamma, gengamma

from laser_wireless.benchmarks.channel_views.error import study_error
from laser_wireless.benchmarks.channel_views.study import ChannelStudy
from laser_wireless.benchmarks.theory import inversion_mse, silence, survival
from laser_wireless.channels.fading.alpha_mu import AlphaMu, Nakagami, Weibull
from laser_wireless.channels.fading.contract import FadingProcess
from laser_wireless.channels.fading.correlated import GaussMarkov, Jakes
from laser_wireless.channels.fading.correlated_law import CorrelatedLaw
from laser_wireless.channels.fading.laws import NoFading, Rayleigh, Rician
from laser_wireless.channels.power_control.inversion import AlignedInversion, TruncatedInversion
from laser_wireless.channels.segments import Grid

FLAT = Grid(num_slots=1, symbols_per_cell=2)
NUM_DEVICES = 20_000
FADINGS = [
    Rayleigh(),
    Rician(k_factor=0.0),
    Rician(k_factor=3.0),
    Nakagami(m=0.5),
    Nakagami(m=2.5),
    Weibull(shape=1.2),
    AlphaMu(alpha=3.5, mu=0.8),
    GaussMarkov(correlation=0.9),
    GaussMarkov(correlation=0.9, k_factor=2.0),
    Jakes(doppler_hz=3.0, round_interval_s=1.0, num_sinusoids=64),
    Jakes(doppler_hz=3.0, round_interval_s=1.0, num_sinusoids=64, k_factor=5.0),
    CorrelatedLaw(law=Nakagami(m=3.0), process=GaussMarkov(correlation=0.9)),
]


def power(fading, num_devices=NUM_DEVICES):
    if isinstance(fading, FadingProcess):
        h, _ = fading.advance(num_devices, 1, FLAT, round=0, generator=seeded(2), state=None)
    else:
        h = fading(num_devices, 1, FLAT, round=0, generator=seeded(2))
    return h.abs().double().square().flatten()


@pytest.mark.parametrize("fading", FADINGS, ids=str)
def test_survival_is_that_of_the_samples(fading):
    beyond = survival(fading)
    assert_distributed(power(fading, 5000), np.vectorize(lambda x: 1 - beyond(x)))
    for threshold in (0.05, 0.7):
        expected = beyond(threshold)
        share = (power(fading) > threshold).double()
        assert_mean(share, mean=expected, variance=expected * (1 - expected))
        assert silence(fading, TruncatedInversion(threshold=threshold)) == pytest.approx(1 - expected)


def test_samples_of_another_law_are_noticed():
    beyond = survival(Nakagami(m=1.2))
    with pytest.raises(AssertionError, match="not"):
        assert_distributed(power(Rayleigh(), 5000), np.vectorize(lambda x: 1 - beyond(x)))


def test_unknown_law_has_no_survival():
    assert survival(lambda *args, **kwargs: torch.ones(1, 1, 1, 1)) is None


def inverse_of_least(fading, num_devices, policy=None):
    """E[1 / min |h|^2] out of the error of inversion at a tiny SNR."""
    snr = 1e-9
    return inversion_mse(fading, policy or AlignedInversion(), num_devices, snr) * snr * num_devices**2


@pytest.mark.parametrize("m", [1.01, 1.5, 2.0, 5.0, 300.0])
def test_nakagami_of_one_device_has_a_mean_inverse(m):
    assert inverse_of_least(Nakagami(m=m), 1) == pytest.approx(m / (m - 1), rel=1e-9)


def by_density(density, beyond, num_devices):
    """E[1 / min] = integral of K f(x) P(X > x)^(K-1) / x, over the logarithm of x."""

    def integrand(s):
        x = math.exp(s)
        return num_devices * density(x) * beyond(x) ** (num_devices - 1)

    return sum(quad(integrand, a, b, limit=400)[0] for a, b in ((-90, -30), (-30, -5), (-5, 0), (0, 5)))


@pytest.mark.parametrize("num_devices", [1, 2, 16, 500])
@pytest.mark.parametrize("m", [1.3, 2.0, 6.5, 80.0])
def test_mean_inverse_of_the_least_nakagami_is_the_integral(m, num_devices):
    law = gamma(m, 0, 1 / m)
    expected = by_density(law.pdf, law.sf, num_devices)
    assert inverse_of_least(Nakagami(m=m), num_devices) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("num_devices", [1, 4, 100])
@pytest.mark.parametrize(("alpha", "mu"), [(4.0, 0.8), (1.0, 3.0), (0.7, 6.0), (3.0, 1.0)])
def test_mean_inverse_of_the_least_alpha_mu_is_the_integral(alpha, mu, num_devices):
    envelope = gengamma(mu, alpha, 0, math.sqrt(math.gamma(mu) / math.gamma(mu + 2 / alpha)))

    def density(x):
        return envelope.pdf(math.sqrt(x)) / (2 * math.sqrt(x))

    expected = by_density(density, lambda x: envelope.sf(math.sqrt(x)), num_devices)
    assert inverse_of_least(AlphaMu(alpha=alpha, mu=mu), num_devices) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("fading", "finite"),
    [
        (Rayleigh(), False),
        (Rician(k_factor=50.0), False),
        (Nakagami(m=1.0), False),
        (Nakagami(m=1.001), True),
        (Weibull(shape=2.0), False),
        (Weibull(shape=2.1), True),
        (AlphaMu(alpha=4.0, mu=0.5), False),
        (AlphaMu(alpha=0.5, mu=4.1), True),
        (GaussMarkov(correlation=0.5), False),
        (Jakes(doppler_hz=1.0, round_interval_s=1.0, k_factor=2.0), False),
        (CorrelatedLaw(law=Nakagami(m=2.0), process=GaussMarkov(correlation=0.5)), True),
    ],
    ids=str,
)
@pytest.mark.parametrize("num_devices", [1, 7])
def test_mean_inverse_is_finite_where_the_gains_seldom_vanish(fading, finite, num_devices):
    assert math.isfinite(inverse_of_least(fading, num_devices)) is finite


@pytest.mark.parametrize("fading", [Nakagami(m=3.0), Weibull(shape=3.0)], ids=str)
def test_a_threshold_that_goes_to_zero_is_no_threshold(fading):
    policy = TruncatedInversion(threshold=1e-6)
    assert inverse_of_least(fading, 4, policy) == pytest.approx(inverse_of_least(fading, 4), rel=1e-2)


@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_law_of_hardly_any_fading_is_no_fading(threshold):
    policy = TruncatedInversion(threshold=threshold) if threshold else AlignedInversion()
    assert inverse_of_least(Nakagami(m=1e5), 1, policy) == pytest.approx(1, rel=1e-4)
    spread = math.sqrt(1e-5)
    assert inverse_of_least(Nakagami(m=1e5), 16, policy) == pytest.approx(
        1 + 1.766 * spread, rel=1e-3
    )  # least of 16 normals
    assert inverse_of_least(NoFading(), 16, policy) == pytest.approx(1)


def test_mean_inverse_of_the_least_is_that_of_the_samples():
    """Nakagami m = 5: 1 / min has a variance, known from an integral."""
    fading, num_devices = Nakagami(m=5.0), 4
    least = power(fading, 80_000).view(-1, num_devices).amin(-1)
    mean = inverse_of_least(fading, num_devices)
    law = gamma(5.0, 0, 1 / 5.0)
    second = by_density(lambda x: law.pdf(x) / x, law.sf, num_devices)
    assert_mean(least.reciprocal(), mean=mean, variance=second - mean**2)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(least.reciprocal(), mean=1.05 * mean, variance=second - mean**2)


@pytest.mark.parametrize(
    ("fading", "policy"),
    [
        (Nakagami(m=4.0), AlignedInversion()),
        (Weibull(shape=1.5), TruncatedInversion(threshold=0.2)),
        (GaussMarkov(correlation=0.0, k_factor=2.0), TruncatedInversion(threshold=0.2)),
    ],
    ids=repr,
)
def test_simulation_meets_the_closed_form(fading, policy):
    settings = ChannelStudy(fading=fading, power_control=policy, num_devices=4, snr_db=[0.0])
    row = study_error(settings.error_view(), torch.device("cpu"))[0]
    z = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)
    assert abs(row["mse"] - row["mse_theory"]) <= z * row["mse_se"]
    assert abs(row["mse"] - 1.1 * row["mse_theory"]) > z * row["mse_se"]
