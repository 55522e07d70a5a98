"""Receiver noise: sigma^2 per real symbol, once, whatever is sent."""

import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded

from laser_wireless.channels import AnalogUplink, Rayleigh, Streams
from laser_wireless.channels.radio_link import receiver_noise
from laser_wireless.channels.round import Round

NUM_SYMBOLS = 40_000


def draw(noise_variance, device="cpu"):
    like = torch.empty(NUM_SYMBOLS, device=device)
    variance = torch.tensor(noise_variance, dtype=torch.float64, device=device)
    return receiver_noise(like, variance, Round(7, Streams(0))).cpu()


def test_noise_has_its_variance_per_real_symbol(device):
    n = draw(0.3, device)
    assert_mean(n, mean=0, variance=0.3)
    assert_mean(n.square(), mean=0.3, variance=2 * 0.3**2)
    assert_distributed(n, "norm", 0, 0.3**0.5)


def test_noise_ten_percent_too_strong_is_noticed():
    with pytest.raises(AssertionError, match="expected 0"):
        assert_mean(draw(0.33).square(), mean=0.3, variance=2 * 0.3**2)


def test_complex_channel_use_carries_twice_the_variance(device):
    n = torch.view_as_complex(draw(0.3, device).view(-1, 2))
    assert_mean(n.abs().square(), mean=0.6, variance=0.6**2)  # exponential


def test_in_phase_and_quadrature_are_independent():
    n = draw(1.0).view(-1, 2)
    assert_mean(n[:, 0] * n[:, 1], mean=0, variance=1)


def noise_of(uplink, u, round=0, seed=0):
    """What the estimate adds to the mean, at the receiver: divided by its scale."""
    plan = uplink.plan(u, (u.shape[1],), round=round, streams=Streams(seed))
    estimate = uplink.aggregate(u, (u.shape[1],), round=round, streams=Streams(seed)).estimate
    active = plan.design.transceiver.active.expand(len(u), 1)
    return (estimate - (u * active).sum(0) / active.sum(0)) / plan.design.transceiver.scale.flatten()


def test_noise_does_not_depend_on_what_is_sent_nor_on_the_fading():
    u = torch.randn(3, 100, dtype=torch.float64, generator=seeded(0))
    quiet = noise_of(AnalogUplink(energy_budget=1.0), u)
    loud = noise_of(AnalogUplink(energy_budget=100.0), 3 * u[:2])
    faded = noise_of(AnalogUplink(energy_budget=1.0, fading=Rayleigh()), u)
    torch.testing.assert_close(loud, quiet, rtol=0, atol=1e-12)
    torch.testing.assert_close(faded, quiet, rtol=0, atol=1e-12)


def test_noise_is_the_same_for_the_same_seed_and_round_only():
    u = torch.randn(2, 100, dtype=torch.float64, generator=seeded(0))
    uplink = AnalogUplink(energy_budget=1.0)
    assert torch.equal(noise_of(uplink, u, 1, 2), noise_of(uplink, u, 1, 2))
    reference = noise_of(uplink, u, 1, 2)
    for other in (noise_of(uplink, u, 2, 2), noise_of(uplink, u, 1, 3)):
        assert (other - reference).abs().min() > 1e-9


def test_each_leading_index_gets_noise_of_its_own(device):
    u = torch.zeros(4000, 1, 4, device=device)
    u[:, :, 0] = 1
    uplink = AnalogUplink(energy_budget=1.0, noise_variance=0.5)
    estimate = uplink.aggregate(u, (4,), round=0, streams=Streams(0)).estimate.cpu()
    assert_mean((estimate[:, 1:]).square(), mean=0.5, variance=2 * 0.25)
    assert_mean(estimate[:-1, 1] * estimate[1:, 1], mean=0, variance=0.25)


@pytest.mark.parametrize("noise_variance", [-1.0, float("nan"), float("inf"), torch.tensor([1.0, -1.0])])
def test_impossible_noise_variance_is_refused(noise_variance):
    with pytest.raises(ValueError, match="noise_variance"):
        AnalogUplink(energy_budget=1.0, noise_variance=noise_variance)


@pytest.mark.parametrize("excess", [1.0, 1.1])
@pytest.mark.parametrize("coherence", ["round", "block", "symbol", 6])
def test_receiver_knows_the_noise_on_its_estimate(coherence, excess):
    layout, u = (7, 20), torch.randn(3, 27, dtype=torch.float64, generator=seeded(1))
    noisy, clean = (
        AnalogUplink(energy_budget=5.0, noise_variance=v, fading=Rayleigh(), coherence=coherence) for v in (excess, 0.0)
    )
    batch = u.expand(20_000, 3, 27)  # one draw of the gains for all
    got = noisy.aggregate(batch, layout, round=0, streams=Streams(0))
    noise = got.estimate - clean.aggregate(u, layout, round=0, streams=Streams(0)).estimate
    known = noisy.aggregate(u, layout, round=0, streams=Streams(0)).noise_variance / excess  # per unit of sigma^2
    per_symbol = torch.cat([part.square().mean(0) for part in noise.split(layout, -1)])
    for part, variance, spread in zip(noise.split(layout, -1), known, per_symbol.split(layout), strict=True):
        means = part.square().mean(-1)  # of N normals with variances v_i: variance 2 sum v_i^2 / N^2
        samples_variance = 2 * spread.square().sum().item() / spread.numel() ** 2
        if excess == 1.0:
            assert_mean(means, mean=variance.item(), variance=samples_variance, num_comparisons=2)
        else:
            with pytest.raises(AssertionError, match="expected"):
                assert_mean(means, mean=variance.item(), variance=samples_variance, num_comparisons=2)
