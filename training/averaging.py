"""The averaged model that the paper evaluates: an exponential moving average of the weights over rounds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged_model(model: nn.Module, *, decay: float = 0.99) -> AveragedModel:
    """Bias-corrected moving average: after t updates (1 - decay) / (1 - decay^t) sum_s decay^(t-s) theta_s.

    Call `update_parameters(model)` after each optimiser step. Buffers (normalisation statistics) are averaged as well,
    integer ones copied.
    torch's own EMA starts from the first weights with weight decay^(t-1), which is 0.1 after 240 rounds.

    Args:
        model: whose weights to average.
        decay: per round, 0 <= decay < 1.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must lie in [0, 1), got {decay}")

    def lean(average: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
        if not average.is_floating_point():
            return current  # a count, such as num_batches_tracked
        rounds = torch.as_tensor(num_averaged, dtype=torch.float64, device=average.device) + 1
        return average.lerp(current, ((1 - decay) / (1 - decay**rounds)).to(average.dtype))

    return AveragedModel(model, avg_fn=lean, use_buffers=True)
