"""The averaged model that the paper evaluates: an exponential moving average of the weights over rounds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from laser_wireless.training.batched import tensors_of


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

    return AveragedModel(model, avg_fn=partial(_lean, decay), use_buffers=True)


def _lean(decay: float, average: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
    if not average.is_floating_point():
        return current  # a count, such as num_batches_tracked
    rounds = torch.as_tensor(num_averaged, dtype=torch.float64, device=average.device) + 1
    return average.lerp(current, ((1 - decay) / (1 - decay**rounds)).to(average.dtype))


class AveragesSideBySide:
    """Averages of several runs updated together; each stays the average of its run.

    Args:
        averages: made by `averaged_model` with one decay, after equally many updates.
        current: what is averaged, parameters and buffers by name, [R, ...] each; see `training.side_by_side`.
        decay: per round.
    """

    def __init__(self, averages: Sequence[AveragedModel], current: dict[str, Tensor], *, decay: float) -> None:
        self._averages, self._current, self._decay = averages, current, decay
        self._stacks = stack_models([average.module for average in averages])

    @torch.no_grad()
    def update(self) -> None:
        """Take the models as they are now into the averages."""
        num_averaged = self._averages[0].n_averaged
        for name, average in self._stacks.items():
            current = self._current[name]
            average.copy_(_lean(self._decay, average, current, num_averaged) if num_averaged > 0 else current)
        for one in self._averages:
            one.n_averaged += 1


def stack_models(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Parameters and buffers of models by name, [R, ...]; each model's own become views of them.

    What is done to a model in place, by an optimiser say, is done to the stack.
    """
    named = [tensors_of(model) for model in models]
    stacks = {name: _stacked([tensors[name].detach() for tensors in named]) for name in named[0]}
    for number, tensors in enumerate(named):
        for name, tensor in tensors.items():
            tensor.data = stacks[name][number]
    return stacks


def _stacked(tensors: list[Tensor]) -> Tensor:
    rows = aligned_rows(len(tensors), tensors[0].flatten()).view(-1, *tensors[0].shape)
    for row, tensor in zip(rows, tensors, strict=True):
        row.copy_(tensor)
    return rows


def aligned_rows(count: int, row: Tensor) -> Tensor:
    """Memory for rows like this one, [count, d], each as if it were allocated alone: some kernels round by alignment."""
    return row.new_empty(count, -(-len(row) // 64) * 64)[:, : len(row)]  # of bytes, if need be
