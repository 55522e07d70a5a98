"""A round whose numbers leave the range of its dtype is invalid and says so: no estimate, nothing counted as delivered."""

from dataclasses import replace
from unittest import mock

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels import (
    AnalogBroadcast,
    AnalogUplink,
    DigitalUplink,
    EnergyDifference,
    FskMajorityVote,
    FullPower,
    Lmmse,
    PreviousScale,
    Rayleigh,
    Streams,
    UniformAllocation,
    ZeroForcing,
)
from laser_wireless.compression import Uncompressed
from laser_wireless.training import UplinkBridge

HUGE = torch.full((2, 4), 3e38)
BESIDE = torch.tensor([[1e20, 1e-25, 3.0], [1e20, 1e-25, 3.0]])
LONE = torch.ones(2, 4, dtype=torch.float64).index_fill(1, torch.tensor(1), 1e160)


def nan_control(h, norms, energy, noise_variance, *, agreement):
    """A user's power control that loses its numbers."""
    return FullPower()(h, norms, energy * torch.nan, noise_variance, agreement=agreement)


OVERFLOW = {
    "noise on the largest floats": (AnalogUplink(energy_budget=1.0, noise_variance=1e12), HUGE),
    "noise on tiny symbols": (
        AnalogUplink(energy_budget=1.0, noise_variance=1e30, allocation=UniformAllocation(), coherence="symbol"),
        BESIDE * 1e10,
    ),
    "sum of the largest floats": (DigitalUplink(energy_budget=1e9, num_channel_uses=400), HUGE),
    "energies beyond float32": (EnergyDifference(energy_budget=1e80), HUGE / 1e38),
    "votes beyond float32": (FskMajorityVote(energy_budget=1e80), HUGE / 1e38),
}
NOTHING_SENT = {
    "energy beyond float64": (AnalogUplink(energy_budget=1.0, baseband="real", coherence="symbol"), LONE),
    "the same on a complex baseband": (AnalogUplink(energy_budget=1.0), LONE),
    "magnitudes beyond float64": (EnergyDifference(energy_budget=1.0), torch.full((2, 4), 1e308, dtype=torch.float64)),
    "a power control without numbers": (AnalogUplink(energy_budget=1.0, power_control=nan_control), HUGE / 1e38),
    "the same by samples": (
        AnalogUplink(energy_budget=1.0, power_control=nan_control, channel=lambda x, **_: x.sum(-2, True)),
        HUGE / 1e38,
    ),
}


@pytest.mark.parametrize("name", [*OVERFLOW, *NOTHING_SENT])
def test_a_round_beyond_the_range_of_its_dtype_is_invalid(name):
    uplink, u = {**OVERFLOW, **NOTHING_SENT}[name]
    reception = uplink.aggregate(u, (u.shape[1],), round=3, streams=Streams(0))
    assert (reception.estimate == 0).all()
    assert (reception.delivered_symbols(u) == 0).all()
    assert reception.noise_variance is None or reception.noise_variance.isfinite().all()
    assert reception.ledger.energy_spent.isfinite().all()
    assert (reception.ledger.energy_spent > 0).any() == (name in OVERFLOW)
    for read in (reception.ledger.check, reception.ledger.summary):
        with pytest.raises(FloatingPointError, match=r"in round 3.*error memory keeps"):
            read()


def test_nothing_is_on_the_air_in_an_invalid_round():
    uplink, u = NOTHING_SENT["a power control without numbers"]
    plan = uplink.plan(u, (4,), round=0, streams=Streams(0))
    assert (uplink.transmit(u, plan) == 0).all()
    assert (plan.energy == 0).all()


def test_a_sound_round_is_valid_next_to_an_invalid_one():
    """Each leading index stands for itself."""
    u = torch.stack([HUGE, HUGE / 1e38])
    reception = AnalogUplink(energy_budget=1.0, noise_variance=1e12).aggregate(u, (4,), round=0, streams=Streams(0))
    assert reception.ledger.overflow.tolist() == [True, False]
    assert (reception.estimate[1] != 0).all()


@pytest.mark.parametrize("receiver", [Lmmse(), Lmmse(alternations=2), ZeroForcing()], ids=str)
def test_eigenvalues_that_are_not_found_make_the_round_invalid(receiver):
    def fail(*arguments, **options):
        raise torch.linalg.LinAlgError("linalg.eigh: the algorithm failed to converge")

    uplink = AnalogUplink(energy_budget=1.0, fading=Rayleigh(), num_rx_antennas=3, receiver=receiver)
    u = torch.randn(4, 6, generator=seeded(0))
    with mock.patch.object(torch.linalg, "pinv", fail):
        reception = uplink.aggregate(u, (6,), round=2, streams=Streams(0))
    assert (reception.estimate == 0).all()
    with pytest.raises(FloatingPointError, match="found no finite setting in round 2"):
        reception.ledger.check()
    assert uplink.aggregate(u, (6,), round=2, streams=Streams(0)).ledger.summary()["outage"] == 0


def test_devices_learn_nothing_from_an_invalid_round():
    uplink = AnalogUplink(energy_budget=1.0, noise_variance=1e12, scale=PreviousScale())
    before = replace(uplink, noise_variance=0.0).aggregate(HUGE / 2, (4,), round=0, streams=Streams(0)).state
    lost = uplink.aggregate(HUGE, (4,), round=1, streams=Streams(0), state=before)
    assert lost.ledger.overflow.item()
    torch.testing.assert_close(lost.state["scale"], before["scale"], rtol=0, atol=0)


def test_the_bridge_says_so_and_keeps_what_is_not_delivered():
    model = torch.nn.Linear(3, 1, bias=False)
    bridge = UplinkBridge(
        model, num_devices=2, compressor=Uncompressed(), uplink=AnalogUplink(energy_budget=1.0, noise_variance=1e12), seed=0
    )
    for k in range(2):
        with bridge.gradients_of(k):
            (model(torch.full((1, 3), 3e38))).sum().backward()
    bridge.exchange()
    assert (model.weight.grad == 0).all()
    for read in (bridge.state_dict, bridge.check):
        with pytest.raises(FloatingPointError, match="estimate was not finite in round 0"):
            read()


def test_a_broadcast_beyond_the_range_of_its_dtype_leaves_the_old_model():
    held = torch.ones(1, 4)
    downlink = AnalogBroadcast(energy_budget=1e-3, noise_variance=1e3)
    delivery = downlink.broadcast(HUGE[0], (4,), num_devices=2, round=5, streams=Streams(0), held=held)
    assert (delivery.received == 1).all()
    with pytest.raises(FloatingPointError, match="broadcast of round 5"):
        delivery.ledger.check()
