"""A round reads no tensor's value on the host: it runs on fake tensors, which have none."""

import pytest
import torch
from helpers.uplinks import (
    ALLOCATIONS,
    COHERENCES,
    FADINGS,
    POWER_CONTROLS,
    SCALES,
    matched_filter,
    name_of,
    rising,
)
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from laser_wireless.channels import AnalogUplink, Streams

LAYOUT = (5, 1, 4)


def two_rounds(uplink, *, num_symbols=10, layout=LAYOUT, dtype=torch.float32):
    with FakeTensorMode():
        streams, state = Streams(0), None
        for round in range(2):
            u = torch.randn(3, num_symbols, dtype=dtype)
            plan = uplink.plan(u, layout, round=round, streams=streams, state=state)
            uplink.transmit(u, plan)
            reception = uplink.aggregate(u, layout, round=round, streams=streams, state=state)
            state = reception.state
            assert reception.delivered_symbols(u).shape == u.shape
            assert reception.estimate.shape == (num_symbols,)


@pytest.mark.parametrize("baseband", ["complex", pytest.param("real", marks=pytest.mark.slow)])
@pytest.mark.parametrize("coherence", COHERENCES)
@pytest.mark.parametrize("power_control", POWER_CONTROLS, ids=name_of)
@pytest.mark.parametrize("fading", FADINGS, ids=name_of)
def test_channels_read_nothing(fading, power_control, coherence, baseband):
    two_rounds(
        AnalogUplink(energy_budget=1.0, fading=fading, power_control=power_control, coherence=coherence, baseband=baseband)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("budget", [1.0, [1.0, 0.0, 2.0], rising], ids=name_of)
@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=name_of)
def test_energies_read_nothing(allocation, scale, budget, dtype):
    two_rounds(AnalogUplink(energy_budget=budget, allocation=allocation, scale=scale), dtype=dtype)


@pytest.mark.parametrize("coherence", ["round", "symbol"])
def test_long_messages_read_nothing(coherence):
    two_rounds(AnalogUplink(energy_budget=1.0, coherence=coherence), num_symbols=60_000, layout=(50_000, 10_000))


def test_policy_that_reads_a_value_is_noticed():
    def reading(h, norms, energy, noise_variance, *, agreement):
        norms.sum().item()
        return matched_filter(h, norms, energy, noise_variance, agreement=agreement)

    with pytest.raises(DataDependentOutputException):
        two_rounds(AnalogUplink(energy_budget=1.0, power_control=reading))


def test_policy_that_branches_on_a_value_is_noticed():
    def branching(h, norms, energy, noise_variance, *, agreement):
        return matched_filter(h if norms.sum() > 0 else -h, norms, energy, noise_variance, agreement=agreement)

    with pytest.raises(DataDependentOutputException):
        two_rounds(AnalogUplink(energy_budget=1.0, power_control=branching))
