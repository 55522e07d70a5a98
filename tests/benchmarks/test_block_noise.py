"""Noise per block under each allocation, against the uplink itself."""

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from helpers.uplinks import random_message

from laser_wireless.benchmarks.theory import block_noise
from laser_wireless.channels import AnalogUplink, LeastNoiseAllocation, NormAllocation, Streams, UniformAllocation

LAYOUT = (40, 3, 200, 1)
NUM_DEVICES, NUM_ROUNDS = 3, 2000
ALLOCATIONS = [NormAllocation(), LeastNoiseAllocation(), UniformAllocation(), UniformAllocation(per_symbol=True)]


def norms_of(symbols):
    return torch.stack([part.norm(dim=1) for part in symbols.split(LAYOUT, dim=1)], dim=1)


@pytest.mark.parametrize("share_as", [None, (2, 1, 2, 3)])
@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=str)
def test_simulated_noise_has_the_energy_of_the_closed_form(allocation, share_as):
    symbols = random_message(NUM_DEVICES, LAYOUT, dtype=torch.float64)
    expected = block_noise(norms_of(symbols), LAYOUT, allocation, energy_budget=7.0, noise_variance=0.5, share_as=share_as)
    uplink = AnalogUplink(energy_budget=7.0, noise_variance=0.5, allocation=allocation)
    batch = symbols.expand(NUM_ROUNDS, *symbols.shape)
    estimate = uplink.aggregate(batch, LAYOUT, round=0, streams=Streams(0), share_as=share_as).estimate
    for b, error in enumerate((estimate - symbols.mean(0)).split(LAYOUT, dim=1)):
        size, energy = LAYOUT[b], expected.energy[b].item()
        found = error.square().sum(1)
        assert_mean(found, mean=energy, variance=2 * energy**2 / size, num_comparisons=4)
        with pytest.raises(AssertionError, match="expected"):
            assert_mean(found, mean=1.3 * energy, variance=2 * energy**2 / size, num_comparisons=4)
    assert expected.share.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(("allocation", "total"), [(NormAllocation(), "norm"), (LeastNoiseAllocation(), "least")])
def test_totals_for_devices_with_equal_norms(allocation, total):
    c = torch.rand(4, dtype=torch.float64, generator=seeded(0)) + 0.1
    sizes = torch.tensor(LAYOUT)
    expected = {"norm": c.sum() * (sizes * c).sum(), "least": (c * sizes.sqrt()).sum().square()}[total] / (9 * 7.0)
    found = block_noise(c.expand(3, -1), LAYOUT, allocation, energy_budget=7.0).energy.sum()
    torch.testing.assert_close(found, expected)


def test_least_noise_is_the_least():
    norms = torch.rand(1, 4, dtype=torch.float64, generator=seeded(1))
    totals = [block_noise(norms, LAYOUT, allocation, energy_budget=1.0).energy.sum().item() for allocation in ALLOCATIONS]
    assert min(totals) == totals[1]


def test_empty_blocks_carry_no_noise():
    norms = torch.tensor([[1.0, 0.0, 2.0, 0.0]])
    noise = block_noise(norms, LAYOUT, NormAllocation(), energy_budget=1.0)
    assert noise.energy[[1, 3]].tolist() == [0, 0]
    assert block_noise(torch.zeros(1, 4), LAYOUT, NormAllocation(), energy_budget=1.0).energy.sum() == 0


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match=r"norms must be \[num_devices, 4\], got shape \[1, 3\]"):
        block_noise(torch.ones(1, 3), LAYOUT, NormAllocation(), energy_budget=1.0)
    with pytest.raises(ValueError, match="the same shares"):
        block_noise(torch.ones(2, 4), LAYOUT, lambda norms, sizes, air: norms, energy_budget=1.0)
