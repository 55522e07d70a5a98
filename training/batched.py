"""Gradients of all devices at once: one torch.func.vmap over the device axis instead of K backward passes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
    copies: Mapping[str, Tensor] | None = None,
) -> tuple[list[Tensor], Tensor]:
    """Gradients of loss(model, *batch) for each device's batch.

    Args:
        model: its parameters are shared by the devices, unless `copies` says otherwise.
        names: of the parameters wanted, one at least.
        loss: loss(model, *batch) -> scalar.
        batches: tensors [K, ...], stacked over the devices.
        copies: what the devices hold in place of parameters, by name, the wanted ones among them: [K, *shape] each, or
            [1, *shape] if all hold the same.

    Returns:
        gradients: one tensor [K, *shape] per name. losses: [K].

    Raises:
        RuntimeError: an operation of the model has no batching rule, or draws random numbers.
    """
    shared = copies is None or len(copies[names[0]]) == 1
    if copies is None:
        parameters = dict(model.named_parameters())
        values = {name: parameters[name].detach() for name in names}
    else:
        values = {name: copy.squeeze(0) if shared else copy for name, copy in copies.items()}
    wanted = {f"model.{name}": values.pop(name) for name in names}
    others = {f"model.{name}": value for name, value in values.items()}
    shell = _Loss(model, loss)

    def of_one_device(wanted: dict[str, Tensor], others: dict[str, Tensor], *batch: Tensor) -> Any:
        return functional_call(shell, {**wanted, **others}, batch)

    in_dims = (None if shared else 0, None if shared or not others else 0, *([0] * len(batches)))
    with warnings.catch_warnings():  # vmap itself only warns where it has no batching rule and is slow
        warnings.filterwarnings("error", message="There is a performance drop", category=UserWarning)
        try:
            differentiated = grad_and_value(of_one_device)
            gradients, losses = vmap(differentiated, in_dims=in_dims, randomness="error")(wanted, others, *batches)
        except UserWarning as warning:
            raise RuntimeError(str(warning)) from warning
    return [gradients[name] for name in wanted], losses.detach()
