"""Power control: who is heard, at which amplitude, and what an impossible channel does."""

import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from helpers.uplinks import FADINGS, deep_fades, name_of, random_message
from laser_wireless.channels import AlignedInversion, AnalogUplink, NoFading, Rayleigh, Streams, TruncatedInversion

LAYOUT = (3, 5)


def plan_of(power_control, fading, u, **options):
    uplink = AnalogUplink(energy_budget=2.0, fading=fading, power_control=power_control, **options)
    return uplink.plan(u, LAYOUT, round=0, streams=Streams(3))


@pytest.mark.parametrize("fading", FADINGS, ids=name_of)
@pytest.mark.parametrize("coherence", ["round", "block", "symbol"])
@pytest.mark.parametrize("power_control", [AlignedInversion(), TruncatedInversion(threshold=0.5)], ids=name_of)
def test_active_devices_arrive_with_one_amplitude(power_control, fading, coherence, device):
    u = random_message(6, LAYOUT, dtype=torch.float64, device=device)
    plan = plan_of(power_control, fading, u, coherence=coherence)
    weights = plan.transceiver.scale * plan.gains * plan.transceiver.precoder  # of each device in the estimate
    active = plan.transceiver.active.expand(plan.norms.shape)
    speakers = active.sum(-2, keepdim=True)
    expected = active.double() / speakers.clamp(min=1)
    torch.testing.assert_close(weights.expand(plan.norms.shape), expected.to(weights.dtype), rtol=1e-12, atol=1e-12)


def test_devices_in_a_fade_stay_silent():
    u = random_message(6, LAYOUT)
    plan = plan_of(TruncatedInversion(threshold=0.7), Rayleigh(), u)
    sends = plan.transceiver.precoder.abs() > 0
    assert torch.equal(sends.any(-1), plan.gains.abs().square().squeeze(-1) >= 0.7)
    assert 0 < sends.any(-1).sum() < 6


def test_rayleigh_outage_probability_follows_from_the_threshold():
    u = torch.ones(100_000, 1, 2)
    uplink = AnalogUplink(energy_budget=1.0, fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.2))
    gains = torch.randn(100_000, 1, 1, dtype=torch.complex64, generator=seeded(0))
    outage = uplink.aggregate(u, (2,), round=0, streams=Streams(0), gains=gains).ledger.outage
    p = 1 - math.exp(-0.2)
    assert_mean(outage, mean=p, variance=p * (1 - p))


def test_common_amplitude_is_the_largest_that_all_can_afford():
    """h = (1, 1/2), norms (1, 1), budget 2: the second device needs four times the energy and spends all of it."""
    u = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    gains = torch.tensor([[1.0], [0.5]])
    uplink = AnalogUplink(energy_budget=2.0)
    spent = uplink.aggregate(u, (2,), round=0, streams=Streams(0), gains=gains).ledger.energy_spent
    torch.testing.assert_close(spent, torch.tensor([0.5, 2.0], dtype=torch.float64))


def test_aligned_inversion_is_truncated_inversion_without_threshold():
    u = random_message(4, LAYOUT)
    for fading in (Rayleigh(), deep_fades):
        aligned = plan_of(AlignedInversion(), fading, u, coherence="symbol").transceiver
        truncated = plan_of(TruncatedInversion(threshold=0.0), fading, u, coherence="symbol").transceiver
        assert all(torch.equal(one, other) for one, other in zip(aligned, truncated, strict=True))


def test_without_fading_truncation_changes_nothing():
    u = random_message(4, LAYOUT)
    aligned = plan_of(AlignedInversion(), NoFading(), u).transceiver
    truncated = plan_of(TruncatedInversion(threshold=0.1), NoFading(), u).transceiver
    assert all(torch.equal(one, other) for one, other in zip(aligned, truncated, strict=True))


def test_device_without_budget_never_counts():
    u = random_message(3, LAYOUT, dtype=torch.float64)
    options = {"noise_variance": 0.0, "fading": Rayleigh()}
    three = AnalogUplink(energy_budget=[1.0, 0.0, 2.0], **options)
    estimate = three.aggregate(u, LAYOUT, round=0, streams=Streams(0)).estimate
    torch.testing.assert_close(estimate, (u[0] + u[2]) / 2)


def test_device_with_nothing_to_say_counts_as_zero():
    u = random_message(3, LAYOUT, dtype=torch.float64)
    u[1] = 0
    estimate = AnalogUplink(energy_budget=1.0, noise_variance=0.0).aggregate(u, LAYOUT, round=0, streams=Streams(0)).estimate
    torch.testing.assert_close(estimate, u.mean(0))


def nobody(num_devices, num_rx_antennas, grid, *, round, generator):
    return torch.zeros(num_devices, 1, 1, 1, dtype=torch.complex64, device=generator.device)


@pytest.mark.parametrize("power_control", [AlignedInversion(), TruncatedInversion()], ids=name_of)
def test_outage_of_everybody_gives_zero_and_is_counted(power_control, device):
    u = random_message(3, LAYOUT, device=device)
    uplink = AnalogUplink(energy_budget=1.0, fading=nobody, power_control=power_control)
    reception = uplink.aggregate(u, LAYOUT, round=0, streams=Streams(0))
    assert not reception.estimate.any()
    assert not reception.delivered.any()
    assert reception.ledger.outage.item() == 1
    assert not reception.ledger.energy_spent.any()
    assert not reception.ledger.active_fraction.any()


def test_outage_of_a_symbol_leaves_the_others_alone():
    u = random_message(1, (8,), dtype=torch.float64)
    gains = torch.tensor([[1.0, 0.0, 0.5, 2.0]])  # of four channel uses
    uplink = AnalogUplink(energy_budget=1.0, noise_variance=0.0, coherence="symbol")
    reception = uplink.aggregate(u, (8,), round=0, streams=Streams(0), gains=gains)
    expected = u[0].clone()
    expected[2:4] = 0
    torch.testing.assert_close(reception.estimate, expected)
    torch.testing.assert_close(reception.delivered_symbols(u)[0], expected, rtol=0, atol=0)
    assert reception.ledger.outage.item() == 0.25


@pytest.mark.parametrize("threshold", [-0.1, math.nan, math.inf])
def test_impossible_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        TruncatedInversion(threshold=threshold)
