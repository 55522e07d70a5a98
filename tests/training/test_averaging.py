"""The averaged model against the closed form of the bias-corrected moving average."""

import math

import pytest
import torch
from helpers.models import build
from helpers.statistical import seeded
from torch import nn

from laser_wireless.training import averaged_model


def closed_form(history, decay):
    """(1 - d) / (1 - d^t) sum_s d^(t - s) theta_s."""
    t = len(history)
    total = sum(decay ** (t - s) * theta.double() for s, theta in enumerate(history, start=1))
    return (1 - decay) / (1 - decay**t) * total


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("num_rounds", [1, 2, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_are_the_bias_corrected_average(dtype, num_rounds, decay, device):
    model = build(nn.Linear(3, 2)).to(device, dtype)
    average, history = averaged_model(model, decay=decay), []
    generator = seeded(0)
    for _ in range(num_rounds):
        with torch.no_grad():
            model[0].weight.copy_(torch.randn(2, 3, generator=generator))
        history.append(model[0].weight.detach().clone())
        average.update_parameters(model)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    found = average.module[0].weight.double()
    torch.testing.assert_close(found, closed_form(history, decay), rtol=tolerance, atol=tolerance)


def test_normalisation_statistics_are_averaged_too():
    model = build(nn.BatchNorm1d(3))
    average, history = averaged_model(model, decay=0.9), []
    for round in range(5):
        model(torch.randn(8, 3, generator=seeded(round)) + round)
        history.append(model[0].running_mean.clone())
        average.update_parameters(model)
    torch.testing.assert_close(average.module[0].running_mean.double(), closed_form(history, 0.9), rtol=1e-5, atol=1e-6)
    assert average.module[0].num_batches_tracked.item() == 5


def test_average_leaves_the_model_alone():
    model = build(nn.Linear(3, 2))
    before = model[0].weight.detach().clone()
    average = averaged_model(model)
    average.update_parameters(model)
    with torch.no_grad():
        average.module[0].weight.zero_()
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_impossible_decay_is_refused(decay):
    with pytest.raises(ValueError, match="decay"):
        averaged_model(nn.Linear(1, 1), decay=decay)
