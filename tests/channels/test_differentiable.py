"""Gradients through the uplink: with respect to symbols, gains and budgets, also with silent blocks."""

import pytest
import torch
from helpers.statistical import seeded
from helpers.uplinks import ALLOCATIONS, name_of

from laser_wireless.channels import AlignedInversion, AnalogUplink, LeastNoiseAllocation, NormAllocation, Streams
from laser_wireless.channels import TruncatedInversion as Truncated

LAYOUT = (3, 1, 2)


def symbols():
    return torch.randn(3, 6, dtype=torch.float64, generator=seeded(0)).requires_grad_()


def gains(num_cells=1):
    return torch.randn(3, num_cells, dtype=torch.complex128, generator=seeded(1)).requires_grad_()


def estimate(u, h, budget, *, coherence="round", baseband="complex", **options):
    uplink = AnalogUplink(energy_budget=budget, coherence=coherence, baseband=baseband, **options)
    return uplink.aggregate(u, LAYOUT, round=0, streams=Streams(0), gains=h).estimate


@pytest.mark.parametrize("baseband", ["complex", "real"])
@pytest.mark.parametrize(("coherence", "num_cells"), [("round", 1), ("block", 3), ("symbol", 3)])
@pytest.mark.parametrize("allocation", [NormAllocation(), LeastNoiseAllocation()], ids=name_of)
@pytest.mark.parametrize("power_control", [AlignedInversion(), Truncated(threshold=0.3)], ids=name_of)
def test_gradients_match_finite_differences(power_control, allocation, coherence, num_cells, baseband):
    num_cells = 6 if (coherence, baseband) == ("symbol", "real") else num_cells
    budget = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)

    def run(u, h, budget):
        return estimate(
            u, h, budget, coherence=coherence, baseband=baseband, allocation=allocation, power_control=power_control
        )

    # along random directions, which costs two rounds and not two for each number
    assert torch.autograd.gradcheck(run, (symbols(), gains(num_cells), budget), atol=1e-6, fast_mode=True)


def test_gradient_reaches_the_noise_variance():
    variance = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: estimate(symbols().detach(), None, 1.0, noise_variance=v), variance)


@pytest.mark.parametrize("coherence", ["round", "block", "symbol", 2])
@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=name_of)
@pytest.mark.parametrize("silent", [(slice(None), slice(0, 3)), (0, slice(None)), (slice(None), slice(None))])
def test_silent_blocks_leave_gradients_finite(silent, allocation, coherence):
    u = symbols().detach()
    u[silent] = 0
    u.requires_grad_()
    num_cells = 1 if coherence == "round" else 3
    h, budget = gains(num_cells), torch.ones(3, dtype=torch.float64, requires_grad=True)
    estimate(u, h, budget, coherence=coherence, allocation=allocation).square().sum().backward()
    assert u.grad.isfinite().all()
    assert h.grad.isfinite().all()
    assert budget.grad.isfinite().all()


def test_zero_gain_and_zero_budget_leave_gradients_finite():
    h = gains().detach()
    h[0] = 0
    h.requires_grad_()
    u, budget = symbols(), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    estimate(u, h, budget).square().sum().backward()
    assert u.grad.isfinite().all()
    assert h.grad.isfinite().all()
    assert budget.grad.isfinite().all()


def test_long_message_passes_gradients_on():
    """Above a size, norms and sums take quicker ways; each must still be differentiable."""
    u = torch.randn(2, 70_000, dtype=torch.float64, generator=seeded(0)).requires_grad_()
    direction = torch.randn(u.shape, dtype=torch.float64, generator=seeded(1))
    layout = (50_000, 20_000)

    def loss(v):
        return AnalogUplink(energy_budget=9.0).aggregate(v, layout, round=0, streams=Streams(0)).estimate.square().sum()

    loss(u).backward()
    step = 1e-6
    slope = (loss(u.detach() + step * direction) - loss(u.detach() - step * direction)) / (2 * step)
    torch.testing.assert_close((u.grad * direction).sum(), slope, rtol=1e-5, atol=1e-6)
