"""Closed forms of power controls and receivers against the rules, the explicit channel and averages over drawn gains."""

import math

import pytest
import scipy.special
import torch
from helpers.closed_forms import conditional_lmmse_mse, conditional_mse
from helpers.statistical import assert_mean, seeded
from helpers.transceivers import (
    RULES,
    Instance,
    errors_of,
    explicit_errors,
    joint_design,
    one_segment,
    random_instance,
    settle,
)

from laser_wireless.benchmarks.theory.inversion import inversion_mse
from laser_wireless.benchmarks.theory.power_control import expected_mse, scaled_exponential_integral
from laser_wireless.benchmarks.theory.receivers import (
    maximum_ratio_mse,
    receiver_mse,
)
from laser_wireless.channels.fading.alpha_mu import Nakagami
from laser_wireless.channels.fading.laws import NoFading, Rayleigh, Rician
from laser_wireless.channels.power_control.full_power import FullPower, OpenLoop
from laser_wireless.channels.power_control.inversion import AlignedInversion, TimeVaryingPrecoding, TruncatedInversion
from laser_wireless.channels.power_control.optimal import MseOptimal, RegularisedInversion
from laser_wireless.channels.receivers.least_error import Lmmse, ZeroForcing
from laser_wireless.channels.receivers.maximum_ratio import MaximumRatio
from laser_wireless.channels.receivers.single_antenna import SingleAntenna
from laser_wireless.channels.segments import Grid

BLIND = FullPower(phase=False)
KNOWN = [
    AlignedInversion(),
    TruncatedInversion(threshold=0.3),
    TimeVaryingPrecoding(threshold=0.3),
    FullPower(),
    BLIND,
    MseOptimal(),
    RegularisedInversion(regulariser=0.2),
]
NUM_USES = 50_000
NUM_ROUNDS = 20_000


@pytest.mark.parametrize("rule", KNOWN, ids=str)
def test_error_given_the_gains_is_that_of_the_rule(rule):
    instance = random_instance(100, 5, seed=1)
    found = [
        conditional_mse(rule, h.numpy()[:, 0], norms.numpy()[:, 0], energy.numpy()[:, 0], 6 * noise.item())
        for h, norms, energy, noise in zip(*instance[:4], strict=True)
    ]
    torch.testing.assert_close(errors_of(rule, instance), torch.tensor(found, dtype=torch.float64), rtol=1e-9, atol=0)


def errors_on_air(rule, *, excess=1.0):
    """Errors of real symbols of the explicit channel, and the closed form for one symbol."""
    instance = random_instance(1, 4, decades=0.2, seed=7)
    transceiver = settle(rule, instance)
    h, norms, energy, noise = (value[0] for value in instance[:4])
    combiner = transceiver.scale[0, :, 0]
    errors = explicit_errors(
        h, transceiver.precoder[0, :, 0], combiner, norms[:, 0].square() / 6, excess * noise.item(), num_uses=NUM_USES
    )
    return errors, conditional_mse(rule, h[:, 0].numpy(), norms[:, 0].numpy(), energy[:, 0].numpy(), 6 * noise.item()) / 6


@pytest.mark.parametrize("rule", KNOWN, ids=str)
def test_error_given_the_gains_is_that_of_the_explicit_channel(rule):
    errors, mse = errors_on_air(rule)
    assert_mean(errors.square(), mean=mse, variance=2 * mse**2)


@pytest.mark.parametrize("rule", [rule for rule in KNOWN if rule != BLIND], ids=str)  # of BLIND nearly all is bias
def test_explicit_channel_with_half_more_noise_is_noticed(rule):
    errors, mse = errors_on_air(rule, excess=1.5)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(errors.square(), mean=mse, variance=2 * mse**2)


def rayleigh(num_devices, num_rx_antennas, snr, *, num_rounds=NUM_ROUNDS, seed=0):
    """Rounds of one norm (unit variance per symbol) and one energy."""
    shape = (num_rounds, num_devices, num_rx_antennas, 1)
    h = torch.randn(shape, dtype=torch.complex128, generator=seeded(seed))
    of_device = torch.ones(num_rounds, num_devices, 1, dtype=torch.float64)
    return Instance(h, 2 * of_device, 4 * snr * of_device, torch.ones(num_rounds, dtype=torch.float64), one_segment(4))


def bounded(num_devices):
    """Largest variance of an error between 0 and 1/K, as a receiver of least error has."""
    return 1 / (4 * num_devices**2)


@pytest.mark.parametrize(("num_devices", "snr"), [(1, 1.0), (4, 0.3), (4, 30.0), (16, 2.0)])
@pytest.mark.parametrize("rule", [FullPower(), BLIND, OpenLoop(p0=0.2, alpha=1.0)], ids=str)
def test_full_power_over_rayleigh_fading(rule, num_devices, snr):
    instance = rayleigh(num_devices, 1, snr)
    errors = errors_of(rule, instance._replace(h=instance.h[:, :, 0])) / 4
    assert_mean(errors, mean=expected_mse(Rayleigh(), rule, num_devices, snr), variance=bounded(num_devices))


@pytest.mark.parametrize(("num_devices", "num_rx_antennas", "snr"), [(1, 3, 1.0), (4, 1, 2.0), (4, 5, 0.3), (5, 3, 10.0)])
@pytest.mark.parametrize("receiver", [MaximumRatio(), Lmmse()], ids=str)
def test_receivers_of_least_error_over_rayleigh_fading(receiver, num_devices, num_rx_antennas, snr):
    errors = joint_design(receiver, BLIND, rayleigh(num_devices, num_rx_antennas, snr, num_rounds=10_000)).error[:, 0] / 4
    expected = receiver_mse(receiver, Rayleigh(), BLIND, num_devices, num_rx_antennas, snr)
    assert_mean(errors, mean=expected, variance=bounded(num_devices))


@pytest.mark.parametrize("fading", [Rician(k_factor=3.0), Nakagami(m=2.0), Nakagami(m=0.5)], ids=str)
@pytest.mark.parametrize("rule", [FullPower(), BLIND], ids=str)
def test_full_power_over_other_laws(rule, fading):
    k, snr = 4, 1.5
    grid = Grid(num_slots=1, symbols_per_cell=4)
    h = fading(NUM_ROUNDS * k, 1, grid, round=0, generator=seeded(3)).reshape(NUM_ROUNDS, k, 1)
    errors = errors_of(rule, rayleigh(k, 1, snr)._replace(h=h)) / 4
    expected = expected_mse(fading, rule, k, snr)
    assert_mean(errors, mean=expected, variance=bounded(k))
    assert abs(expected / expected_mse(Rayleigh(), rule, k, snr) - 1) > 0.01 or rule == BLIND


@pytest.mark.parametrize("k", [1, 4, 64])
@pytest.mark.parametrize("snr", [0.1, 1000.0])
def test_integral_over_a_law_agrees_with_the_closed_form_of_rayleigh(k, snr):
    """Nakagami just off m = 1 takes the integral, m = 1 the closed form."""
    for rule in (FullPower(), BLIND):
        found = expected_mse(Nakagami(m=1 + 1e-7), rule, k, snr)
        assert found == pytest.approx(expected_mse(Nakagami(m=1.0), rule, k, snr), rel=1e-5)


def test_average_at_one_decibel_more_is_noticed():
    errors = joint_design(MaximumRatio(), BLIND, rayleigh(4, 6, 0.3 * 10**0.1)).error[:, 0] / 4
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(errors, mean=maximum_ratio_mse(4, 6, 0.3), variance=bounded(4))


def test_zero_forcing_over_rayleigh_fading():
    """The error is 1 / (K SNR X), X ~ Gamma(N_r - K + 1)."""
    k, n, snr = 3, 8, 0.5
    errors = joint_design(ZeroForcing(), BLIND, rayleigh(k, n, snr, num_rounds=5000)).error[:, 0] / 4
    shape = n - k + 1
    variance = (1 / ((shape - 1) * (shape - 2)) - 1 / (shape - 1) ** 2) / (k * snr) ** 2
    assert_mean(errors, mean=receiver_mse(ZeroForcing(), Rayleigh(), BLIND, k, n, snr), variance=variance)


def test_maximum_ratio_with_weights_of_sum_one_over_rayleigh_fading():
    """The error is (G + 1/SNR) / (K X), X ~ Gamma(N_r), G ~ Gamma(K - 1), independent."""
    k, n, snr = 3, 10, 0.5
    rule = FullPower(phase=False, scale="unit_sum")
    errors = joint_design(MaximumRatio(), rule, rayleigh(k, n, snr)).error[:, 0] / 4
    mean = receiver_mse(MaximumRatio(), Rayleigh(), rule, k, n, snr)
    second = (k - 1 + (k - 1 + 1 / snr) ** 2) / ((n - 1) * (n - 2)) / k**2
    assert_mean(errors, mean=mean, variance=second - mean**2)


def test_time_varying_precoding_over_rayleigh_fading():
    k, snr, rule = 4, 2.0, TimeVaryingPrecoding(threshold=0.4)
    instance = rayleigh(k, 1, snr)
    errors = errors_of(rule, instance._replace(h=instance.h[:, :, 0])) / 4
    worst = 1 / (snr * rule.threshold) + 1 - 1 / k  # one device alone
    assert_mean(errors, mean=expected_mse(Rayleigh(), rule, k, snr), variance=worst**2 / 4)
    assert expected_mse(Rayleigh(), rule, k, snr) > inversion_mse(Rayleigh(), TruncatedInversion(threshold=0.4), k, snr)


@pytest.mark.parametrize("rule", [*KNOWN, FullPower(scale="unit_sum")], ids=str)
def test_without_fading_the_average_is_the_error_of_one_round(rule):
    k, snr = 5, 3.0
    ones = torch.ones(1, k, 1, dtype=torch.float64)
    round = Instance(ones, 2 * ones, 4 * snr * ones, torch.ones(1, dtype=torch.float64), one_segment(4))
    assert expected_mse(NoFading(), rule, k, snr) == pytest.approx(errors_of(rule, round).item() / 4)


def test_lmmse_given_what_arrives():
    instance = rayleigh(3, 4, 2.0)
    few = Instance(*(value[:5] for value in instance[:4]), instance.segments)
    link = joint_design(Lmmse(), BLIND, few)
    found = [conditional_lmmse_mse(a[..., 0].numpy(), [1.0] * 3, 1.0) for a in link.arriving]
    torch.testing.assert_close(link.error[:, 0] / 4, torch.tensor(found, dtype=torch.float64))


def test_lmmse_is_below_the_others_on_average():
    for k, n, snr in [(2, 4, 0.1), (2, 4, 100.0), (4, 2, 1.0), (8, 32, 1.0)]:
        least = receiver_mse(Lmmse(), Rayleigh(), BLIND, k, n, snr)
        assert least < receiver_mse(MaximumRatio(), Rayleigh(), BLIND, k, n, snr)
        assert not least >= receiver_mse(ZeroForcing(), Rayleigh(), BLIND, k, n, snr)


@pytest.mark.parametrize("snr", [1e-6, 1e6])
def test_lmmse_at_the_ends_of_the_scale(snr):
    """Nothing but noise leaves the variance of the mean; nothing but signal the zero-forcing error."""
    found = receiver_mse(Lmmse(), Rayleigh(), BLIND, 3, 8, snr)
    assert found == pytest.approx(1 / 3 if snr < 1 else receiver_mse(ZeroForcing(), Rayleigh(), BLIND, 3, 8, snr), rel=1e-4)


def test_one_device_has_the_same_error_with_maximum_ratio_and_lmmse():
    found = receiver_mse(Lmmse(), Rayleigh(), BLIND, 1, 4, 0.7)
    assert found == pytest.approx(maximum_ratio_mse(1, 4, 0.7), rel=1e-8)


@pytest.mark.parametrize("order", [1, 2, 5, 40])
@pytest.mark.parametrize("x", [1e-5, 0.3, 0.999, 1.0, 5.0, 100.0])
def test_exponential_integral(order, x):
    expected = math.exp(x) * scipy.special.expn(order, x)
    assert scaled_exponential_integral(order, x) == pytest.approx(expected, rel=1e-12)


def test_exponential_integral_at_its_ends():
    assert scaled_exponential_integral(4, 0.0) == pytest.approx(1 / 3)
    assert scaled_exponential_integral(4, 1e8) == pytest.approx(1e-8, rel=1e-6)


def test_one_antenna_is_the_power_controls_own_error():
    found = receiver_mse(SingleAntenna(), Rayleigh(), TruncatedInversion(), 4, 1, 2.0)
    assert found == inversion_mse(Rayleigh(), TruncatedInversion(), 4, 2.0)


def test_impossible_and_unknown_averages():
    assert math.isnan(expected_mse(lambda *_: None, FullPower(), 4, 1.0))
    assert math.isnan(expected_mse(Rayleigh(), MseOptimal(), 4, 1.0))
    assert math.isnan(expected_mse(Rayleigh(), FullPower(scale="unit_sum"), 4, 1.0))
    assert math.isnan(expected_mse(Rayleigh(), RULES[-1], 4, 1.0))
    assert math.isnan(receiver_mse(Lmmse(), Rayleigh(), MseOptimal(), 4, 4, 1.0))
    assert math.isnan(receiver_mse(SingleAntenna(), Rayleigh(), FullPower(), 4, 2, 1.0))
    assert math.isnan(receiver_mse(ZeroForcing(), Rayleigh(), BLIND, 4, 3, 1.0))
    assert receiver_mse(ZeroForcing(), Rayleigh(), BLIND, 4, 4, 1.0) == math.inf
    assert receiver_mse(MaximumRatio(), Rayleigh(), FullPower(phase=False, scale="unit_sum"), 4, 1, 1.0) == math.inf
    assert math.isnan(conditional_mse(RULES[-1], [1.0], [1.0], [1.0], 1.0))
