"""What a task's methods must return, checked where a run receives it; nothing is read from an accelerator."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from torch import Tensor, is_tensor, nn
from torch.optim import Optimizer

from laser_wireless.benchmarks.optimizers import ServerOptimizer
from laser_wireless.benchmarks.tasks.task import Sharded, Split, Streamed, Task
from laser_wireless.channels import Streams
from laser_wireless.channels.contracts import shown


class CheckedTask:
    """A task that answers for what it returns: a value of another kind is refused with the name of the method."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.averaging = task.averaging
        if not (_is_number(self.averaging) and 0 <= self.averaging < 1):
            raise ValueError(f"{self._name}.averaging must be a number in [0, 1), got {self.averaging!r}")

    @property
    def _name(self) -> str:
        return type(self._task).__name__

    def model(self, seed: int) -> nn.Module:
        """Return a fresh model; see `Task`."""
        model = self._task.model(seed)
        if not isinstance(model, nn.Module):
            raise self._misfit("model(seed)", "a torch.nn.Module", model)
        return model

    def batches(self, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, ...]:
        """Return the round's mini-batches; see `Task`."""
        batches = self._task.batches(round, num_devices, streams)
        return self._checked(batches, num_devices, "batches(round, num_devices, streams)")

    def _checked(self, batches: Any, num_rows: int, call: str) -> tuple[Tensor, ...]:
        wanted = f"a tuple of tensors [{num_rows}, batch, ...], one row for each device"
        if not isinstance(batches, tuple | list) or not batches or not all(map(is_tensor, batches)):
            raise self._misfit(call, wanted, batches)
        if any(batch.ndim < 1 or len(batch) != num_rows for batch in batches):
            shapes = ", ".join(str(list(batch.shape)) for batch in batches)
            raise ValueError(f"{self._name}.{call} must return {wanted}, got {shapes}")
        return tuple(batches)

    def batches_of(self, devices: range, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, ...]:
        """Return the round's mini-batches of some devices; if the task does not stream them those of all are made first."""
        if not isinstance(self._task, Streamed):
            return tuple(batch[devices.start : devices.stop] for batch in self.batches(round, num_devices, streams))
        batches = self._task.batches_of(devices, round, num_devices, streams)
        return self._checked(batches, len(devices), "batches_of(devices, round, num_devices, streams)")

    def shard_sizes(self, num_devices: int, streams: Streams) -> list[float]:
        """Return how many training samples each device holds.

        Raises:
            ValueError: the task does not say.
        """
        if not isinstance(self._task, Sharded):
            raise ValueError(
                "weights samples need a task that says how many samples each device holds, by a method "
                f"shard_sizes(num_devices, streams), got {self._name}; use weights equal"
            )
        sizes = self._task.shard_sizes(num_devices, streams)
        if not is_tensor(sizes) or sizes.shape != (num_devices,):
            raise self._misfit("shard_sizes(num_devices, streams)", f"a tensor [{num_devices}]", sizes)
        return [float(size) for size in sizes.tolist()]

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        """Return the mean training loss of one device's batch; see `Task`."""
        loss = self._task.loss(model, *batch)
        if not is_tensor(loss) or loss.ndim or not loss.is_floating_point():
            raise self._misfit("loss(model, *batch)", "a tensor of one real number, shape [], with a gradient", loss)
        return loss

    def evaluate(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Return the metrics of a model on a part of the data; see `Task`."""
        metrics = self._task.evaluate(model, split)
        wanted = 'a dict of numbers with the key "loss"'
        if not isinstance(metrics, dict) or "loss" not in metrics:
            raise self._misfit("evaluate(model, split)", wanted, metrics)
        for name, value in metrics.items():
            if not isinstance(name, str) or not _is_number(value):
                raise self._misfit("evaluate(model, split)", wanted, {name: value})
        return metrics

    def optimizer(self, model: nn.Module, learning_rate: float, instead: ServerOptimizer | None = None) -> Optimizer:
        """Return the optimiser that steps with the decoded gradients, the task's or another in its place; see `Task`."""
        if instead is None:
            optimizer, call = self._task.optimizer(model, learning_rate), f"{self._name}.optimizer(model, learning_rate)"
        else:
            optimizer = instead(model.parameters(), lr=learning_rate)
            call = f"optimizer {getattr(instead, '__name__', type(instead).__name__)}(parameters, lr=...)"
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{call} must return a torch.optim.Optimizer, got {_in_words(optimizer)}")
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if left_out := [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]:
            shown = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")
            raise ValueError(
                f"{call} must hold all parameters of the model that require a gradient, {len(left_out)} are left out "
                f"({shown}); give it model.parameters(), or freeze those"
            )
        return optimizer

    def learning_rate_factor(self, round: int, num_rounds: int) -> float:
        """Return the factor on the learning rate in a round; see `Task`."""
        factor = self._task.learning_rate_factor(round, num_rounds)
        if not _is_number(factor) or not 0 <= factor < math.inf:
            raise self._misfit("learning_rate_factor(round, num_rounds)", "a finite number >= 0", factor)
        return factor

    def _misfit(self, method: str, wanted: str, found: Any) -> TypeError:
        return TypeError(f"{self._name}.{method} must return {wanted}, got {_in_words(found)}")


def _in_words(found: Any) -> str:
    return f"a tensor {found.dtype} {list(found.shape)}" if is_tensor(found) else shown(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
