"""Leading axes: a Monte-Carlo over rounds, SNRs or budgets in one call equals one call each."""

import pytest
import torch
from helpers.statistical import seeded
from helpers.uplinks import POWER_CONTROLS, name_of, random_message

from laser_wireless.channels import AnalogUplink, LocalAir, OracleScale, PreviousScale, Rayleigh, Streams, draw_rounds

LAYOUT = (4, 1, 3)


def aggregate(u, *, gains=None, state=None, **options):
    uplink = AnalogUplink(**{"energy_budget": 2.0, "noise_variance": 0.0, **options})
    return uplink.aggregate(u, LAYOUT, round=0, streams=Streams(1), gains=gains, state=state)


def messages(*leading):
    return torch.randn(*leading, 3, 8, dtype=torch.float64, generator=seeded(0))


@pytest.mark.parametrize("coherence", ["round", "block", "symbol", 4])
@pytest.mark.parametrize("power_control", POWER_CONTROLS, ids=name_of)
@pytest.mark.parametrize("scale", [OracleScale(), PreviousScale()], ids=str)
def test_batch_of_messages_equals_one_by_one(scale, power_control, coherence, device):
    u = messages(2, 5).to(device)
    options = {"fading": Rayleigh(), "power_control": power_control, "coherence": coherence, "scale": scale}
    first = aggregate(u, **options)
    second = aggregate(2 * u, state=first.state, **options)
    for i in range(2):
        for j in range(5):
            alone = aggregate(u[i, j], **options)
            again = aggregate(2 * u[i, j], state=alone.state, **options)
            for batch, single in ((first, alone), (second, again)):
                torch.testing.assert_close(batch.estimate[i, j], single.estimate, rtol=1e-12, atol=1e-14)
                torch.testing.assert_close(batch.ledger.energy_spent[i, j], single.ledger.energy_spent)
                torch.testing.assert_close(
                    batch.delivered_symbols(u)[i, j], single.delivered_symbols(u[i, j]), rtol=1e-12, atol=1e-14
                )


def test_batch_of_gains_equals_one_by_one():
    u = messages()
    grid = AnalogUplink(energy_budget=1.0, coherence="block").grid(LAYOUT)
    gains = draw_rounds(Rayleigh(), 3, grid, num_rounds=6, streams=Streams(0), device="cpu")
    batch = aggregate(u, gains=gains, coherence="block", power_control=POWER_CONTROLS[1])
    for round in range(6):
        alone = aggregate(u, gains=gains[round], coherence="block", power_control=POWER_CONTROLS[1])
        torch.testing.assert_close(batch.estimate[round], alone.estimate, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(batch.ledger.outage[round], alone.ledger.outage)
        torch.testing.assert_close(batch.ledger.energy_spent[round], alone.ledger.energy_spent)


def test_axis_of_budgets_equals_one_by_one():
    u = messages()
    budgets = torch.tensor([[1.0], [10.0], [100.0]])
    batch = aggregate(u, energy_budget=budgets)
    for budget, spent in zip(budgets, batch.ledger.energy_spent, strict=True):
        torch.testing.assert_close(spent, aggregate(u, energy_budget=budget).ledger.energy_spent)
    assert batch.estimate.shape == (3, 8)


def test_axis_of_noise_variances_scales_the_noise():
    u = messages()
    variances = torch.tensor([0.0, 1.0, 4.0])
    estimates = aggregate(u.expand(3, -1, -1), noise_variance=variances).estimate
    torch.testing.assert_close(estimates[0], u.mean(0))
    for quiet, loud in ((0.0, 1.0), (1.0, 4.0)):
        one = aggregate(u.expand(3, -1, -1), noise_variance=torch.full((3,), quiet)).estimate
        other = aggregate(u.expand(3, -1, -1), noise_variance=torch.full((3,), loud)).estimate
        unit = (aggregate(u.expand(3, -1, -1), noise_variance=torch.ones(3)).estimate - u.mean(0)) * (loud**0.5 - quiet**0.5)
        torch.testing.assert_close(other - one, unit, rtol=1e-9, atol=1e-12)


def test_noise_variances_and_budgets_alone_make_leading_axes(device):
    u = messages().to(device)
    variances = torch.tensor([1.0, 2.0], device=device)
    assert aggregate(u, noise_variance=variances).estimate.shape == (2, 8)
    budgets = torch.ones(5, 1, 1, device=device)
    reception = aggregate(u, noise_variance=variances, energy_budget=budgets)
    assert reception.estimate.shape == (5, 2, 8)
    assert reception.estimate.flatten(0, 1).unique(dim=0).shape[0] == 10  # noise of its own for each


def test_scalar_tensors_are_numbers():
    u = messages()
    tensors = aggregate(u, energy_budget=torch.tensor(2.0), noise_variance=torch.tensor(1.0))
    assert torch.equal(tensors.estimate, aggregate(u, energy_budget=2.0, noise_variance=1.0).estimate)


def test_nonfinite_message_voids_its_own_leading_index_only():
    u = messages(3)
    u[1, 2, 0] = torch.nan
    reception = aggregate(u)
    assert not reception.estimate[1].any()
    torch.testing.assert_close(reception.estimate[[0, 2]], u[[0, 2]].mean(1))
    assert reception.ledger.nonfinite.nonzero().tolist() == [[1, 2]]
    with pytest.raises(FloatingPointError, match=r"devices \[2\] were not finite"):
        reception.ledger.check()


class CountingAir(LocalAir):
    """An air that tells who asked."""

    def __init__(self):
        self.calls = []

    def sum(self, x, dim):
        self.calls.append("sum")
        return super().sum(x, dim)

    def gather(self, x, dim):
        self.calls.append("gather")
        return super().gather(x, dim)


def test_devices_agree_through_the_air():
    air = CountingAir()
    uplink = AnalogUplink(energy_budget=2.0, noise_variance=0.0)
    u = random_message(3, LAYOUT)
    found = uplink.aggregate(u, LAYOUT, round=0, streams=Streams(0), air=air).estimate
    torch.testing.assert_close(found, u.mean(0))
    assert set(air.calls) == {"gather", "sum"}
