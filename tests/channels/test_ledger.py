"""The ledger: what a round cost, against counts by hand."""

import pytest
import torch
from helpers.statistical import seeded
from helpers.uplinks import BASEBANDS, COHERENCES, random_message

from laser_wireless.channels import AnalogUplink, PreviousScale, Rayleigh, Streams, Transceiver, TruncatedInversion

LAYOUT = (4, 3)


def ledger_of(u, *, layout=LAYOUT, **options):
    uplink = AnalogUplink(**{"energy_budget": 2.0, **options})
    return uplink.aggregate(u, layout, round=5, streams=Streams(0)).ledger


def test_channel_uses_carry_two_real_symbols_or_one():
    u = random_message(2, LAYOUT)
    assert (ledger_of(u).num_symbols, ledger_of(u).num_channel_uses) == (7, 4)
    assert ledger_of(u, baseband="real").num_channel_uses == 7


def test_seconds_follow_from_the_bandwidth():
    u = random_message(2, LAYOUT)
    assert ledger_of(u).seconds is None
    assert ledger_of(u, bandwidth_hz=2e6).seconds == 4 / 2e6


@pytest.mark.parametrize("coherence", COHERENCES)
@pytest.mark.parametrize("baseband", BASEBANDS)
def test_peak_and_papr_are_those_of_the_transmitted_symbols(baseband, coherence):
    u = random_message(3, LAYOUT, dtype=torch.float64)
    uplink = AnalogUplink(
        energy_budget=2.0, fading=Rayleigh(), coherence=coherence, baseband=baseband, power_control=TruncatedInversion()
    )
    plan = uplink.plan(u, LAYOUT, round=5, streams=Streams(0))
    precoder = plan.message.segments.expand(plan.design.transceiver.precoder.expand(plan.message.norms.shape))
    peak = (precoder.abs() * u).square().amax(-1)  # per real symbol
    ledger = uplink.aggregate(u, LAYOUT, round=5, streams=Streams(0)).ledger
    torch.testing.assert_close(ledger.peak_power, peak)
    torch.testing.assert_close(ledger.papr, peak / (ledger.energy_spent / 7))


def test_silent_device_has_no_papr():
    u = random_message(2, LAYOUT)
    u[0] = 0
    assert ledger_of(u).papr[0].item() == 0


def test_active_fraction_and_outage_count_symbols():
    u = torch.ones(2, 8)
    gains = torch.tensor([[1.0, 0.1, 1.0, 0.1], [1.0, 1.0, 1.0, 0.1]])
    uplink = AnalogUplink(energy_budget=1.0, coherence="symbol", power_control=TruncatedInversion(threshold=0.5))
    ledger = uplink.aggregate(u, (8,), round=0, streams=Streams(0), gains=gains).ledger
    assert ledger.active_fraction.tolist() == [0.5, 0.75]
    assert ledger.outage.item() == 0.25


def test_block_that_waits_for_its_amplitude_counts_as_outage():
    """Under PreviousScale a block that was empty stays silent for a round: the estimate is 0 there, for want of senders."""
    u = random_message(2, LAYOUT)
    empty = u.clone()
    empty[:, 4:] = 0
    uplink = AnalogUplink(energy_budget=1.0, scale=PreviousScale())
    state = uplink.aggregate(empty, LAYOUT, round=0, streams=Streams(0)).state
    ledger = uplink.aggregate(u, LAYOUT, round=1, streams=Streams(0), state=state).ledger
    assert ledger.outage.item() == pytest.approx(3 / 7)
    assert ledger.active_fraction.tolist() == pytest.approx([4 / 7, 4 / 7])


def test_side_information_and_known_gains_are_counted():
    u = random_message(3, LAYOUT)
    assert ledger_of(u).side_information == 4
    assert ledger_of(u).known_gains == 0
    assert ledger_of(u, fading=Rayleigh()).known_gains == 3
    assert ledger_of(u, fading=Rayleigh(), coherence="symbol").known_gains == 3 * 4


def test_summary_reads_numbers():
    u = random_message(3, LAYOUT)
    ledger = ledger_of(u, fading=Rayleigh())
    summary = ledger.summary()
    assert set(summary) == {
        *("energy_spent", "max_energy_spent", "energy_allowed", "peak_power", "papr", "active_fraction", "outage"),
        *("num_symbols", "num_channel_uses", "side_information", "known_gains", "feedback_bits"),
    }
    assert summary["energy_allowed"] == 2.0
    assert summary["energy_spent"] == pytest.approx(ledger.energy_spent.mean().item())
    assert summary["max_energy_spent"] == ledger.energy_spent.max().item()
    assert set(ledger_of(u, bandwidth_hz=1e3).summary()) - set(summary) == {"seconds"}
    assert all(isinstance(value, float | int) for value in summary.values())


def test_every_column_has_the_devices_axis():
    u = torch.randn(4, 3, 7, generator=seeded(0))
    ledger = ledger_of(u, energy_budget=[1.0, 2.0, 3.0])
    for name in ("energy_spent", "energy_allowed", "peak_power", "papr", "active_fraction", "nonfinite"):
        assert getattr(ledger, name).shape == (4, 3), name
    assert ledger.outage.shape == (4,)


def test_a_users_power_control_that_breaks_the_limit_is_found_out():
    def loud(h, norms, energy, noise_variance, *, agreement):
        factor = 1.001 if norms.shape[-2] == 4 else 0.999
        return Transceiver(factor * energy.sqrt() / norms, torch.ones(1, 1), torch.ones(1, 1), torch.ones(1, 1) > 0)

    uplink = AnalogUplink(energy_budget=2.0, power_control=loud, noise_variance=0.0)
    for num_devices in (3, 4):
        message = torch.randn(num_devices, 10, generator=torch.Generator().manual_seed(0))
        ledger = uplink.aggregate(message, (10,), round=5, streams=Streams(0)).ledger
        if num_devices == 3:
            assert ledger.summary()["max_energy_spent"] <= 2.0
        else:
            with pytest.raises(
                ValueError, match=r"devices \[0, 1, 2, 3\] spent up to 2.004.* in round 5.*power_control must"
            ):
                ledger.summary()
