"""How energy is split over the blocks of a message."""

import pytest
import torch
from helpers.statistical import seeded
from helpers.uplinks import ALLOCATIONS, name_of

from laser_wireless.channels import (
    AnalogUplink,
    LeastNoiseAllocation,
    LocalAir,
    NormAllocation,
    Streams,
    UniformAllocation,
)

NORMS = torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.0, 2.0]], dtype=torch.float64)
SIZES = (4, 9, 1)


def shares(allocation, norms=NORMS, sizes=SIZES):
    weights = allocation(norms, sizes, LocalAir())
    return (weights / weights.sum(-1, keepdim=True)).flatten()


def test_norm_allocation_is_the_mean_of_the_devices_shares():
    torch.testing.assert_close(shares(NormAllocation()), torch.tensor([1 / 2, 1 / 4, 1 / 4], dtype=torch.float64))


def test_silent_device_has_no_say_in_the_norm_allocation():
    norms = torch.cat([NORMS, torch.zeros_like(NORMS[:1])])
    torch.testing.assert_close(shares(NormAllocation(), norms), shares(NormAllocation()))


def test_uniform_allocation_counts_blocks_or_symbols():
    torch.testing.assert_close(shares(UniformAllocation()), torch.full((3,), 1 / 3, dtype=torch.float64))
    expected = torch.tensor(SIZES, dtype=torch.float64) / 14
    torch.testing.assert_close(shares(UniformAllocation(per_symbol=True)), expected)


def test_least_noise_allocation_minimises_the_noise_energy():
    """Cauchy-Schwarz: sum_b N_b c_b^2 / P_b >= (sum_b c_b sqrt(N_b))^2 / P, with equality for the allocation."""
    lengths, largest = torch.tensor(SIZES, dtype=torch.float64), NORMS.amax(0)
    noise = (lengths * largest.square() / shares(LeastNoiseAllocation())).sum()
    torch.testing.assert_close(noise, (largest * lengths.sqrt()).sum().square())
    others = torch.rand(1000, 3, dtype=torch.float64, generator=seeded(0)) + 1e-3
    others = others / others.sum(1, keepdim=True)
    assert (noise <= (lengths * largest.square() / others).sum(1) * (1 + 1e-12)).all()


@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=name_of)
def test_message_of_zeros_is_received_as_zeros(allocation):
    u = torch.zeros(3, 5)
    reception = AnalogUplink(energy_budget=1.0, allocation=allocation).aggregate(u, (2, 3), round=0, streams=Streams(0))
    assert torch.equal(reception.estimate, torch.zeros(5))
    assert torch.equal(reception.ledger.energy_spent, torch.zeros(3, dtype=torch.float64))


def test_energy_of_a_block_can_follow_another_blocks_norm():
    u = torch.tensor([[1.0, 0.0, 10.0]])
    uplink = AnalogUplink(energy_budget=8.0)
    plan = uplink.plan(u, (1, 1, 1), round=0, streams=Streams(0), share_as=(2, 1, 2))
    spent = (plan.design.transceiver.precoder * plan.message.norms).square().flatten()
    torch.testing.assert_close(spent, torch.tensor([4.0, 0, 4.0], dtype=torch.float64), rtol=1e-5, atol=0)


def test_negative_weights_of_a_users_rule_count_as_zero_and_keep_the_limit():
    def reckless(norms, block_sizes, air):
        return torch.tensor([[-5.0, 1.0, 3.0]], dtype=norms.dtype)

    u = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    uplink = AnalogUplink(energy_budget=7.0, allocation=reckless)
    plan = uplink.plan(u, (10, 10, 10), round=0, streams=Streams(0))
    spent = uplink.transmit(u, plan).abs().square().sum(-1)
    assert spent.max() <= 7.0
    ledger = uplink.aggregate(u, (10, 10, 10), round=0, streams=Streams(0)).ledger
    assert ledger.summary()["max_energy_spent"] <= 7.0
