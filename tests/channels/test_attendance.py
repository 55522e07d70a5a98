"""Devices that miss a round, over every kind of uplink: they send and spend nothing, and the others do not count them."""

import math
from typing import Any

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels import (
    AnalogUplink,
    Attendance,
    DigitalUplink,
    EnergyDifference,
    FskMajorityVote,
    RandomDropout,
    Rayleigh,
    SampledDevices,
    SparseQuantiser,
    Stragglers,
    Streams,
)

K, S, P = 5, 24, 5000.0
KINDS: dict[str, Any] = {
    "analog": (AnalogUplink, {}),
    "digital": (DigitalUplink, {"num_channel_uses": 600}),
    "digital, fixed rate": (DigitalUplink, {"num_channel_uses": 600, "fixed_rate": 1.0, "quantiser": SparseQuantiser()}),
    "votes": (FskMajorityVote, {}),
    "energies": (EnergyDifference, {"num_chips": 2}),
}
RULES = [
    RandomDropout(drop_probability=0.5),
    SampledDevices(num_sampled=2),
    Stragglers(extra_s=1.0, deadline_s=1.0),
    Stragglers(extra_s=1.0, deadline_s=1.0, num_sampled=3),
]


def made(kind, **more):
    uplink, options = KINDS[kind]
    return uplink(**{"energy_budget": P, "bandwidth_hz": 1e3} | options | more)


def receive(uplink, u, *, round=0, **options):
    return uplink.aggregate(u, (u.shape[-1],), round=round, streams=Streams(7), **options)


def first(number):
    """Rule by which so many devices take part, always the same."""

    def rule(num_devices, *, round, generator):
        return Attendance(torch.arange(num_devices) < number)

    return rule


def present_in(rule, round):
    return rule(K, round=round, generator=Streams(7).generator("participation", round)).present


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_absent_devices_send_and_spend_nothing(kind, rule):
    uplink, control = made(kind, participation=rule, fading=Rayleigh()), made(kind, fading=Rayleigh())
    absences = 0
    for round in range(12):
        u = torch.randn(K, S, generator=seeded(round))
        reception, present = receive(uplink, u, round=round), present_in(rule, round)
        ledger = reception.ledger
        ledger.check()
        assert (ledger.energy_spent[~present] == 0).all()
        assert (ledger.active_fraction[~present] == 0).all()
        assert (ledger.energy_spent <= P).all()
        assert (ledger.energy_allowed == P).all()
        assert (reception.delivered_symbols(u)[~present] == 0).all()
        absences += int((~present).sum())
        if present.any():
            assert ledger.energy_spent.sum() > 0
        assert (receive(control, u, round=round).ledger.energy_spent > 0).sum() > present.sum() or present.all()
    assert absences > 10


@pytest.mark.parametrize("kind", KINDS)
def test_those_who_are_there_are_heard_as_if_there_were_no_others(kind):
    """The same devices by themselves, with their gains, spend the same and are decoded to the same."""

    u = torch.randn(K, S, dtype=torch.float64, generator=seeded(1))
    h = torch.randn(K, 1, dtype=torch.complex128, generator=seeded(2))
    found = receive(made(kind, participation=first(3), fading=Rayleigh()), u, gains=h)
    expected = receive(made(kind, fading=Rayleigh()), u[:3], gains=h[:3])
    control = receive(made(kind, fading=Rayleigh()), u, gains=h)
    for field in ("energy_spent", "bits", "peak_power"):
        mine, theirs = getattr(found.ledger, field), getattr(expected.ledger, field)
        assert theirs is None or torch.allclose(mine[:3], theirs, rtol=1e-12), field
    if kind in ("analog", "votes"):  # rounding, and phases of energies, are drawn for all devices: other draws for fewer
        torch.testing.assert_close(found.estimate, expected.estimate)
        assert not torch.allclose(control.estimate, expected.estimate)


@pytest.mark.parametrize("kind", ["digital", "energies"])
def test_the_mean_is_that_of_those_who_are_there(kind):
    """Unbiased over many rounds, and not the mean over all."""

    rounds = 20_000
    u = torch.tensor([[1.0], [2.0], [-0.5], [40.0], [-90.0]], dtype=torch.float64)
    uplink = made(kind, participation=first(3), noise_variance=1e-3, energy_budget=100.0)
    estimates = receive(uplink, u.expand(rounds, K, 1).contiguous()).estimate.squeeze(-1)
    deviation = estimates.std().item() / math.sqrt(rounds) + 1e-9
    assert abs(estimates.mean().item() - 2.5 / 3) < 5 * deviation
    assert abs(estimates.mean().item() - u.mean().item()) > 5 * deviation


def test_votes_of_the_absent_do_not_count():
    u = -torch.ones(K, S)
    u[0] = 1
    assert (receive(made("votes", participation=first(1), noise_variance=0.0), u).estimate == 1).all()
    assert (receive(made("votes", noise_variance=0.0), u).estimate == 1).double().mean() < 0.5


@pytest.mark.parametrize("present", [1, 2, 5])
def test_channel_uses_are_shared_among_those_who_are_there(present):
    """N_k = floor(N / m): by capacity a device sends floor(N_k log2(1 + P / (2 sigma^2 N_k))) bits at most."""

    u = torch.randn(K, S, generator=seeded(3))
    for budget in (30.0, 1e3):
        uplink = made("digital", participation=first(present), energy_budget=budget, num_channel_uses=203)
        uses = 203 // present
        most = uses * math.log2(1 + budget / (2 * uses))
        bits = receive(uplink, u).ledger.bits
        assert (bits[present:] == 0).all()
        assert (bits[:present] <= most).all()
        assert (bits[:present] > most - S - 1).all()  # one more bit for every entry does not fit


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_there(kind):
    uplink = made(kind, participation=RandomDropout(drop_probability=1.0))
    u = torch.randn(K, S, generator=seeded(4))
    reception = receive(uplink, u)
    assert reception.ledger.energy_spent.sum() == 0
    assert (reception.ledger.outage == 1).all()
    assert (reception.delivered_symbols(u) == 0).all()
    if kind != "votes":  # which noise decides
        assert (reception.estimate == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_waits_for_the_last_device_or_the_deadline(kind):
    rule = Stragglers(extra_s=1.0, deadline_s=2.0)
    u = torch.randn(K, S, generator=seeded(5))
    waited = rule(K, round=3, generator=Streams(7).generator("participation", 3)).seconds
    on_air = receive(made(kind), u, round=3).ledger.seconds
    total = receive(made(kind, participation=rule), u, round=3).ledger.seconds
    assert float(total) == pytest.approx(float(waited) + on_air)
    assert receive(made(kind, bandwidth_hz=None), u).ledger.seconds is None


def test_more_devices_than_channel_uses_are_allowed_if_so_many_are_never_asked():
    u = torch.randn(40, 6, generator=seeded(6))
    options: dict[str, Any] = {"energy_budget": 1.0, "num_channel_uses": 4}
    receive(DigitalUplink(**options, participation=SampledDevices(num_sampled=4)), u).ledger.check()
    for rule, number in ((SampledDevices(num_sampled=5), 5), (RandomDropout(drop_probability=0.9), 40), (None, 40)):
        uplink = DigitalUplink(**options, participation=rule)
        with pytest.raises(ValueError, match=f"at least one for each of the {number} devices, got 4"):
            receive(uplink, u)
