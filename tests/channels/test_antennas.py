"""Several receive antennas: the combined channel of the plan is the channel of the antennas, in mean and in noise."""

import pytest
import torch
from helpers.statistical import assert_mean, assert_standard_normal, seeded
from helpers.uplinks import name_of, random_message

from laser_wireless.channels import (
    AnalogUplink,
    FullPower,
    Lmmse,
    MaximumRatio,
    MseOptimal,
    Rayleigh,
    Streams,
    TruncatedInversion,
    ZeroForcing,
)

NUM_DEVICES, NUM_ANTENNAS, NUM_ROUNDS = 3, 4, 10_000
LAYOUT = (6, 2, 4)
RECEIVERS = [Lmmse(), Lmmse(alternations=3), ZeroForcing(), MaximumRatio(), MaximumRatio(direction="dominant")]
CONTROLS = [TruncatedInversion(threshold=0.05), FullPower(), FullPower(phase=False), MseOptimal()]


def uplink_of(receiver, power_control, *, noise_variance=0.7, **options):
    return AnalogUplink(
        energy_budget=3.0,
        noise_variance=noise_variance,
        fading=Rayleigh(),
        num_rx_antennas=NUM_ANTENNAS,
        receiver=receiver,
        power_control=power_control,
        **options,
    )


def antenna_by_antenna(uplink, u, plan, noise):
    """w^H y with y formed antenna by antenna; noise: complex [..., N_r, S / 2]."""
    x = uplink.transmit(u, plan)  # [K, S / 2]
    shape = (NUM_DEVICES, NUM_ANTENNAS, plan.message.segments.num_segments)
    h = plan.message.segments.expand(plan.gains.expand(shape))[..., 0::2]
    y = (h * x.unsqueeze(1)).sum(0) + noise
    w = plan.message.segments.expand(plan.design.combiner.expand(shape[1:]))[..., 0::2]
    return torch.view_as_real((w.conj() * y).sum(-2)).flatten(-2)


@pytest.mark.parametrize("power_control", CONTROLS, ids=name_of)
@pytest.mark.parametrize("receiver", RECEIVERS, ids=name_of)
def test_estimate_without_noise_is_what_the_antennas_give(receiver, power_control, device):
    u = random_message(NUM_DEVICES, LAYOUT, dtype=torch.float64, device=device)
    uplink = uplink_of(receiver, power_control, noise_variance=0.0)
    streams = Streams(4)
    plan = uplink.plan(u, LAYOUT, round=1, streams=streams)
    expected = antenna_by_antenna(uplink, u, plan, 0)
    found = uplink.aggregate(u, LAYOUT, round=1, streams=streams).estimate
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def rounds_of_noise(how, uplink, u):
    """Noise of the estimate over its deviation, [R, S]."""
    plan = uplink.plan(u, LAYOUT, round=1, streams=Streams(4))
    if how == "antennas":
        shape = (NUM_ROUNDS, NUM_ANTENNAS, sum(LAYOUT) // 2)
        unit = torch.randn(shape, dtype=torch.complex128, generator=seeded(2))
        noise = antenna_by_antenna(uplink, torch.zeros_like(u), plan, (2 * uplink.noise_variance) ** 0.5 * unit)
    else:
        clean = antenna_by_antenna(uplink, u, plan, 0)
        noise = uplink.aggregate(u.expand(NUM_ROUNDS, -1, -1), LAYOUT, round=1, streams=Streams(4)).estimate - clean
    return noise / plan.message.segments.expand(plan.noise_amplitude) / 0.7**0.5


@pytest.mark.parametrize("how", ["antennas", "aggregate"])
@pytest.mark.parametrize("receiver", RECEIVERS, ids=name_of)
def test_noise_of_the_combiner_has_its_length(receiver, how):
    u = random_message(NUM_DEVICES, LAYOUT, dtype=torch.float64)
    assert_standard_normal(rounds_of_noise(how, uplink_of(receiver, FullPower()), u))


def test_noise_ten_percent_too_strong_is_noticed():
    u = random_message(NUM_DEVICES, LAYOUT, dtype=torch.float64)
    z = rounds_of_noise("aggregate", uplink_of(ZeroForcing(), FullPower()), u) * 1.1**0.5
    with pytest.raises(AssertionError, match="expected 1"):
        assert_mean(z.square(), mean=1, variance=2)


def test_reported_noise_variance_is_that_of_the_combiner():
    u = random_message(NUM_DEVICES, LAYOUT, dtype=torch.float64)
    uplink = uplink_of(Lmmse(), FullPower())
    plan = uplink.plan(u, LAYOUT, round=1, streams=Streams(4))
    reception = uplink.aggregate(u, LAYOUT, round=1, streams=Streams(4))
    torch.testing.assert_close(reception.noise_variance, 0.7 * plan.design.combiner.abs().square().sum(0))


def test_more_antennas_leave_less_error():
    u = random_message(NUM_DEVICES, (400,), dtype=torch.float64)
    errors = []
    for n in (1, 4, 16, 64):
        uplink = AnalogUplink(
            energy_budget=400.0, fading=Rayleigh(), num_rx_antennas=n, receiver=Lmmse(), power_control=FullPower()
        )
        estimates = uplink.aggregate(
            u.expand(200, -1, -1),
            (400,),
            round=0,
            streams=Streams(0),
            gains=torch.randn(200, NUM_DEVICES, n, 1, dtype=torch.complex128, generator=seeded(0))
            if n > 1
            else torch.randn(200, NUM_DEVICES, 1, dtype=torch.complex128, generator=seeded(0)),
        ).estimate
        errors.append((estimates - u.mean(0)).square().mean().item())
    assert errors == sorted(errors, reverse=True)


def test_antennas_without_a_receiver_are_refused():
    with pytest.raises(ValueError, match="num_rx_antennas = 4 needs a receiver that combines them: Lmmse"):
        AnalogUplink(energy_budget=1.0, num_rx_antennas=4)


@pytest.mark.parametrize("number", [0, -1])
def test_impossible_number_of_antennas_is_refused(number):
    with pytest.raises(ValueError, match="num_rx_antennas must be an integer >= 1"):
        AnalogUplink(energy_budget=1.0, num_rx_antennas=number)


def test_gains_of_another_number_of_antennas_are_refused():
    u = random_message(NUM_DEVICES, LAYOUT)
    gains = torch.ones(NUM_DEVICES, 2, 1, dtype=torch.complex64)
    with pytest.raises(ValueError, match=r"num_devices, num_rx_antennas, T F\] = \[\.\.\., 3, 4, 1\]"):
        uplink_of(ZeroForcing(), FullPower()).aggregate(u, LAYOUT, round=0, streams=Streams(0), gains=gains)


def test_fading_without_the_antennas_asked_for_is_refused():
    def one_antenna(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.ones(num_devices, 2, 1, 1, dtype=torch.complex64)

    uplink = AnalogUplink(energy_budget=1.0, fading=one_antenna, num_rx_antennas=4, receiver=Lmmse())
    with pytest.raises(ValueError, match=r"\[3, 4, 1, 1\].* got \[3, 2, 1, 1\]"):
        uplink.aggregate(random_message(3, LAYOUT), LAYOUT, round=0, streams=Streams(0))


@pytest.mark.parametrize("receiver", RECEIVERS, ids=name_of)
@pytest.mark.parametrize("power_control", CONTROLS, ids=name_of)
def test_message_or_gain_that_is_not_finite_voids_the_round(receiver, power_control):
    """Solvers of linear equations would raise on NaN."""
    u = random_message(NUM_DEVICES, LAYOUT)
    gains = torch.randn(NUM_DEVICES, NUM_ANTENNAS, 1, dtype=torch.complex64, generator=seeded(0))
    second = torch.tensor([1])
    for broken_u, broken_h in ((u.index_fill(0, second, torch.nan), gains), (u, gains.index_fill(0, second, torch.inf))):
        reception = uplink_of(receiver, power_control).aggregate(
            broken_u, LAYOUT, round=0, streams=Streams(0), gains=broken_h
        )
        assert not reception.estimate.any()
        assert not reception.delivered.any()
        with pytest.raises(FloatingPointError, match=r"devices \[1\]"):
            reception.ledger.check()
