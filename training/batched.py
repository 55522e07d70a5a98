"""Gradients of all devices at once: one torch.func.vmap over the device axis instead of K backward passes.

Several runs, each with parameters of its own, are a second vmap around it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from laser_wireless.training.compiled import as_it_is

Compile = Callable[[Hashable, Callable[..., Any]], Callable[..., Any]]
"""Makes of a function, known by a name, one that gives the same; see `training.compiled`."""


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
    *,
    compiled: Compile = as_it_is,
) -> tuple[list[Tensor], Tensor]:
    """Gradients of loss(model, *batch) for each device's batch.

    Args:
        model: its parameters are shared by the devices, unless `copies` says otherwise.
        names: of the parameters wanted, one at least.
        loss: loss(model, *batch) -> scalar.
        batches: tensors [K, ...], stacked over the devices.
        copies: what the devices hold in place of parameters, by name, the wanted ones among them: [K, *shape] each, or
            [1, *shape] if all hold the same.
        compiled: makes of a function one that is quicker.

    Returns:
        gradients: one tensor [K, *shape] per name. losses: [K].

    Raises:
        RuntimeError: an operation of the model has no batching rule, or draws random numbers.
    """
    if copies is None:  # as a stack of one run: kernels round by shapes, and a run is to be the same beside others
        stack = {name: tensor.detach().unsqueeze(0) for name, tensor in tensors_of(model).items()}
        own = {name: stack.pop(name) for name in names}
        of_one = [batch.unsqueeze(0) for batch in batches]
        gradients, losses = stacked_gradients(model, own, stack, loss, of_one, compiled=compiled)
        return [gradient.squeeze(0) for gradient in gradients], losses.squeeze(0)
    shared = len(copies[names[0]]) == 1
    values = {name: copy.squeeze(0) if shared else copy for name, copy in copies.items()}
    wanted = {f"model.{name}": values.pop(name) for name in names}
    others = {f"model.{name}": value for name, value in values.items()}
    in_dims = (None if shared else 0, None if shared or not others else 0, *([0] * len(batches)))
    mapped = vmap(_differentiated(model, loss), in_dims=in_dims, randomness="error")
    return _evaluated(compiled((loss, in_dims), mapped), wanted, others, batches)


def stacked_gradients(
    model: nn.Module,
    wanted: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    loss: Callable[..., Tensor],
    batches: Sequence[Tensor],
    *,
    compiled: Compile = as_it_is,
) -> tuple[list[Tensor], Tensor]:
    """Gradients of R runs, K devices each.

    Args:
        model: its structure is that of every run's model; its own parameters are not used.
        wanted: [R, *shape] by name, the parameters whose gradients are wanted.
        others: [R, ...] by name, all other parameters and buffers.
        loss: loss(model, *batch) -> scalar.
        batches: tensors [R, K, ...].
        compiled: makes of a function one that is quicker.

    Returns:
        gradients: one tensor [R, K, *shape] for each of the wanted. losses: [R, K].

    Raises:
        RuntimeError: an operation of the model has no batching rule, or draws random numbers.
    """
    devices = vmap(_differentiated(model, loss), in_dims=(None, None, *([0] * len(batches))), randomness="error")
    runs = vmap(devices, in_dims=(0, 0 if others else None, *([0] * len(batches))), randomness="error")
    named = {f"model.{name}": value for name, value in wanted.items()}
    return _evaluated(
        compiled((loss, bool(others), len(batches)), runs),
        named,
        {f"model.{name}": value for name, value in others.items()},
        batches,
    )


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a model by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _differentiated(model: nn.Module, loss: Callable[..., Tensor]) -> Callable[..., Any]:
    """Gradients and loss of one device's batch as a function of the parameters."""
    shell = _Loss(model, loss)

    def of_one_device(wanted: dict[str, Tensor], others: dict[str, Tensor], *batch: Tensor) -> Any:
        return functional_call(shell, {**wanted, **others}, batch)

    return grad_and_value(of_one_device)


def _evaluated(
    mapped: Callable[..., Any], wanted: dict[str, Tensor], others: dict[str, Tensor], batches: Sequence[Tensor]
) -> tuple[list[Tensor], Tensor]:
    with warnings.catch_warnings():  # vmap itself only warns where it has no batching rule and is slow
        warnings.filterwarnings("error", message="There is a performance drop", category=UserWarning)
        try:
            gradients, losses = mapped(wanted, others, *batches)
        except UserWarning as warning:
            raise RuntimeError(str(warning)) from warning
    return [gradients[name] for name in wanted], losses.detach()
