"""The law of the round: the explicit channel, the closed form and `aggregate` are one distribution."""

import pytest
import torch
from helpers.statistical import assert_mean, assert_standard_normal, seeded
from helpers.uplinks import explicit_estimate, name_of, random_message

from laser_wireless.channels import (
    AlignedInversion,
    AnalogUplink,
    NoFading,
    Rayleigh,
    Rician,
    Streams,
    TruncatedInversion,
)

NUM_ROUNDS = 10_000  # a variance 10 % too large is 7 bounds away with the 12 symbols of a round
NUM_DEVICES = 4
LAYOUT = (6, 2, 4)
NOISE_VARIANCE = 0.7
CHANNELS = [
    (NoFading(), AlignedInversion()),
    (NoFading(), TruncatedInversion(threshold=0.1)),
    (Rayleigh(), TruncatedInversion(threshold=0.3)),
    (Rayleigh(), AlignedInversion()),
    (Rician(k_factor=2.0), TruncatedInversion(threshold=0.1)),
    (Rician(k_factor=2.0), AlignedInversion()),
]


def gains_of_rounds(fading, device):
    """[R, K, 1], independent over rounds."""
    if isinstance(fading, NoFading):
        return torch.ones(NUM_ROUNDS, NUM_DEVICES, 1, device=device)
    grid = AnalogUplink(energy_budget=1.0).grid((2,))
    h = fading(NUM_ROUNDS * NUM_DEVICES, 1, grid, round=0, generator=seeded(1, device))
    return h.view(NUM_ROUNDS, NUM_DEVICES, 1)


def closed_form(u, h, threshold, energy_budget):
    """Mean [R, S] and noise deviation tau [R, S] of the estimate, straight from the reference's template."""
    power = h.abs().double().square()  # [R, K, 1]
    active = (power >= threshold) & (power > 0)
    norms = torch.stack([block.double().norm(dim=1) for block in u.split(LAYOUT, dim=1)], dim=1)  # [K, B]
    shares = (norms / norms.sum(1, keepdim=True)).mean(0)  # [B]
    limits = torch.where(active, (energy_budget * shares).sqrt() * power.sqrt() / norms, torch.inf)  # [R, K, B]
    alpha = limits.amin(1)  # [R, B]
    speakers = active.sum(1)  # [R, 1]
    tau = (NOISE_VARIANCE**0.5) / (alpha * speakers)
    mean = (active * u.double()).sum(1) / speakers
    return mean, torch.repeat_interleave(tau, torch.tensor(LAYOUT, device=u.device), dim=1)


def sample(how, uplink, u, h):
    if how == "aggregate":
        return uplink.aggregate(u, LAYOUT, round=0, streams=Streams(5), gains=h).estimate
    plan = uplink.plan(u, LAYOUT, round=0, streams=Streams(5), gains=h)
    shape = (NUM_ROUNDS, sum(LAYOUT))
    noise = uplink.noise_variance**0.5 * torch.randn(shape, device=u.device, generator=seeded(2, u.device))
    return explicit_estimate(uplink, u.expand(NUM_ROUNDS, *u.shape), plan, noise)


def standardised(how, fading, power_control, device, *, excess=1.0):
    """(estimate - mean) / tau per block, of NUM_ROUNDS rounds in which somebody was heard."""
    u = random_message(NUM_DEVICES, LAYOUT, device=device)
    h = gains_of_rounds(fading, device)
    uplink = AnalogUplink(
        energy_budget=3.0, noise_variance=excess * NOISE_VARIANCE, fading=fading, power_control=power_control
    )
    threshold = power_control.threshold if isinstance(power_control, TruncatedInversion) else 0.0
    u_of_rounds = u.expand(NUM_ROUNDS, -1, -1) if how == "aggregate" else u
    estimate = sample(how, uplink, u_of_rounds, h)
    mean, tau = closed_form(u, h, threshold, 3.0)
    heard = tau[:, 0].isfinite()
    return ((estimate - mean) / tau)[heard].cpu()


@pytest.mark.parametrize("how", ["explicit", "aggregate"])
@pytest.mark.parametrize(("fading", "power_control"), CHANNELS, ids=name_of)
def test_estimate_is_the_mean_plus_noise_of_the_closed_form(how, fading, power_control, device):
    z = standardised(how, fading, power_control, device)
    for block in z.split(LAYOUT, dim=1):
        assert_standard_normal(block)


@pytest.mark.parametrize("how", ["explicit", "aggregate"])
def test_channel_ten_percent_too_noisy_is_noticed(how):
    z = standardised(how, Rayleigh(), TruncatedInversion(threshold=0.3), torch.device("cpu"), excess=1.1)
    with pytest.raises(AssertionError, match="expected 1"):
        assert_mean(z.double().square(), mean=1, variance=2)


def test_biased_estimate_is_noticed():
    z = standardised("aggregate", NoFading(), AlignedInversion(), torch.device("cpu"))
    with pytest.raises(AssertionError, match="expected 0"):
        assert_standard_normal(z + 0.1)


def mse_samples(power_control, fading, *, excess=1.0):
    """Squared errors [R] against the mean of all devices, with their closed-form mean and variance given the fades."""
    u = random_message(NUM_DEVICES, LAYOUT, dtype=torch.float64)
    uplink = AnalogUplink(
        energy_budget=3.0, noise_variance=NOISE_VARIANCE, fading=fading, power_control=power_control, coherence="block"
    )
    plan = uplink.plan(u, LAYOUT, round=3, streams=Streams(0))
    g = plan.design.transceiver.scale
    coefficients = plan.message.segments.expand((plan.arriving - 1 / NUM_DEVICES).expand(plan.message.norms.shape))
    assert not coefficients.is_complex() or coefficients.imag.abs().max() < 1e-12  # phases are inverted
    bias = (coefficients.real * u).sum(0)  # not sum_k |.|^2 ||u_k||^2: the messages may be correlated
    noise = plan.message.segments.expand(g.squeeze(-2)).square() * NOISE_VARIANCE  # variance of each symbol
    mean = bias.square().sum() + noise.sum()
    variance = (2 * noise.square() + 4 * bias.square() * noise).sum()
    noisy = AnalogUplink(
        energy_budget=3.0,
        noise_variance=excess * NOISE_VARIANCE,
        fading=fading,
        power_control=power_control,
        coherence="block",
    )
    reception = noisy.aggregate(u.expand(NUM_ROUNDS, -1, -1), LAYOUT, round=3, streams=Streams(0))
    return (reception.estimate - u.mean(0)).square().sum(-1), mean.item(), variance.item()


@pytest.mark.parametrize("fading", [NoFading(), Rayleigh(), Rician()], ids=name_of)
@pytest.mark.parametrize("power_control", [AlignedInversion(), TruncatedInversion(threshold=0.8)], ids=name_of)
def test_mean_squared_error_is_bias_plus_noise(power_control, fading):
    errors, mean, variance = mse_samples(power_control, fading)
    assert_mean(errors, mean=mean, variance=variance)


def test_mean_squared_error_of_a_channel_ten_percent_too_noisy_is_noticed():
    errors, mean, variance = mse_samples(AlignedInversion(), Rician(), excess=1.1)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(errors, mean=mean, variance=variance)
