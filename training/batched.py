"""Gradients of all devices at once: one torch.func.vmap over the device axis instead of K backward passes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd


def can_batch(model: nn.Module) -> bool:
    """Whether one pass over all devices gives each the gradient that it would get alone.

    Not so for layers that update statistics or draw random numbers in training, and for recurrent layers, whose kernels
    vmap does not know.
    """
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            return False
        if isinstance(module, _NormBase) and module.training and module.track_running_stats:
            return False
        if isinstance(module, _DropoutNd) and module.training and module.p > 0:
            return False
        if isinstance(module, nn.MultiheadAttention) and module.training and module.dropout > 0:
            return False
    return True


class _Loss(nn.Module):
    """The loss as a module around the model, so that functional_call can put parameters into it."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, *batch: Tensor) -> Tensor:
        return self.loss(self.model, *batch)


def batched_gradients(
    model: nn.Module,
    names: Sequence[str],
    loss: Callable[..., Tensor],
    batches: Sequence[Tensor],
    copies: Sequence[Tensor] | None = None,
) -> tuple[list[Tensor], Tensor]:
    """Gradients of loss(model, *batch) for each device's batch.

    Args:
        model: its parameters are shared by the devices, unless `copies` says otherwise.
        names: of the parameters wanted.
        loss: loss(model, *batch) -> scalar.
        batches: tensors [K, ...], stacked over the devices.
        copies: what the devices hold in place of the parameters `names`, [K, *shape] each, or [1, *shape] if all hold
            the same.

    Returns:
        gradients: one tensor [K, *shape] per name. losses: [K].

    Raises:
        RuntimeError: an operation of the model has no batching rule, or draws random numbers.
    """
    shared = copies is None or len(copies[0]) == 1
    if copies is None:
        parameters = dict(model.named_parameters())
        values = [parameters[name].detach() for name in names]
    else:
        values = [copy.squeeze(0) for copy in copies] if shared else list(copies)
    wanted = {f"model.{name}": value for name, value in zip(names, values, strict=True)}
    shell = _Loss(model, loss)

    def of_one_device(values: dict[str, Tensor], *batch: Tensor) -> Any:
        return functional_call(shell, values, batch)

    in_dims = (None if shared else 0, *([0] * len(batches)))
    with warnings.catch_warnings():  # vmap itself only warns where it has no batching rule and is slow
        warnings.filterwarnings("error", message="There is a performance drop", category=UserWarning)
        try:
            gradients, losses = vmap(grad_and_value(of_one_device), in_dims=in_dims, randomness="error")(wanted, *batches)
        except UserWarning as warning:
            raise RuntimeError(str(warning)) from warning
    return [gradients[name] for name in wanted], torch.as_tensor(losses).detach()
