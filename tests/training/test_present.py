"""Rounds of some of the devices: who is absent sends nothing, and the estimate is the mean of the others."""

from dataclasses import dataclass

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels import (
    AnalogUplink,
    Attendance,
    DigitalUplink,
    EnergyDifference,
    FskMajorityVote,
    Streams,
)
from laser_wireless.training.present import among

PRESENT = torch.tensor([True, False, True, True])


def received(uplink, symbols):
    return uplink.aggregate(symbols, (symbols.shape[-1],), round=0, streams=Streams(0))


@pytest.mark.parametrize(
    "uplink",
    [
        AnalogUplink(energy_budget=10.0, noise_variance=0.0),
        AnalogUplink(energy_budget=[10.0, 20.0, 5.0, 1.0], noise_variance=0.0),
        EnergyDifference(energy_budget=10.0, noise_variance=0.0, num_chips=1),
        DigitalUplink(energy_budget=10.0, noise_variance=1e-30, num_channel_uses=400),
    ],
    ids=["analog", "budgets", "energies", "digital"],
)
def test_the_estimate_is_the_mean_of_those_who_are_there(uplink):
    u = torch.randn(1, 20, dtype=torch.float64, generator=seeded(0)) * torch.tensor([[1.0], [5.0], [2.0], [3.0]])
    reception = received(among(uplink, PRESENT), u)
    if not isinstance(uplink, EnergyDifference):  # whose energies of several devices interfere
        step = 2 * u[PRESENT].abs().max().item() / (2**16 - 1)  # of the quantiser's 16 bits
        atol = step if isinstance(uplink, DigitalUplink) else 1e-12
        torch.testing.assert_close(reception.estimate, u[PRESENT].mean(0), rtol=0, atol=atol)
    assert reception.ledger.energy_spent[1] == 0
    assert (reception.ledger.energy_spent[PRESENT] > 0).all()
    assert (reception.delivered_symbols(u)[1] == 0).all()
    assert received(uplink, u).ledger.energy_spent[1] > 0  # the control


def test_votes_of_the_absent_do_not_count():
    votes = torch.tensor([[1.0], [-1.0], [1.0], [1.0]]).expand(4, 8).contiguous()
    uplink = FskMajorityVote(energy_budget=10.0, noise_variance=0.0)
    assert (received(among(uplink, PRESENT), votes).estimate == 1).all()
    assert (received(among(uplink, ~PRESENT), votes).estimate == -1).all()


def test_everybody_present_is_the_uplink_itself():
    uplink = AnalogUplink(energy_budget=10.0)
    assert among(uplink, torch.ones(4, dtype=torch.bool)) is uplink


def test_who_does_not_take_part_anyway_stays_away():
    def first_alone(num_devices, *, round, generator):
        return Attendance(torch.arange(num_devices) < 1)

    uplink = AnalogUplink(energy_budget=10.0, noise_variance=0.0, participation=first_alone)
    u = torch.randn(4, 20, generator=seeded(1))
    torch.testing.assert_close(received(among(uplink, PRESENT), u).estimate, u[0])
    assert received(among(uplink, ~PRESENT), u).ledger.energy_spent.sum() == 0


def test_a_schedule_goes_on():
    uplink = DigitalUplink(energy_budget=lambda round: 4.0 + round, noise_variance=1e-3, num_channel_uses=40)
    ledger = received(among(uplink, PRESENT), torch.ones(4, 20)).ledger
    assert ledger.energy_allowed.tolist() == [4.0] * 4
    assert ledger.energy_spent.tolist() == [4.0, 0.0, 4.0, 4.0]


def test_a_digital_uplink_shares_its_channel_uses_among_those_who_are_there():
    u = torch.randn(40, 6, generator=seeded(2))
    uplink = DigitalUplink(energy_budget=1e3, noise_variance=1e-3, num_channel_uses=30)
    with pytest.raises(ValueError, match="num_channel_uses must be at least one for each of the 40 devices, got 30"):
        received(uplink, u)
    there = torch.arange(40) < 2
    both = received(DigitalUplink(energy_budget=1e3, noise_variance=1e-3, num_channel_uses=30), u[:2])
    assert torch.equal(received(among(uplink, there), u).ledger.bits[:2], both.ledger.bits)


def test_an_uplink_that_cannot_leave_devices_out_is_refused():
    @dataclass
    class Wire:
        def aggregate(self, symbols, layout, **options): ...

    with pytest.raises(TypeError, match=r"a field participation.*got Wire, and devices \[1\] are"):
        among(Wire(), PRESENT)
    assert isinstance(among(Wire(), PRESENT | True), Wire)
