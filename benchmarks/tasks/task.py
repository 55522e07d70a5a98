"""What a task is: data in three fixed parts, a model, a loss, an optimiser.

A task's own parameters fix its data and its splits, whatever the seed of the run; the seed fixes the model's start, the
devices' shards and the order of batches. Learning rates are chosen on the validation part, results are those of the test
part, and no part shares a sample with another.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from laser_wireless.channels import Streams

Split = Literal["validation", "test"]


class Task(Protocol):
    """A learning problem for K devices."""

    @property
    def averaging(self) -> float:
        """Decay of the weight average that is evaluated, per round; 0 evaluates the weights themselves."""
        ...

    def model(self, seed: int) -> nn.Module:
        """Return a fresh model on the CPU; torch's global generator is left as it was."""
        ...

    def batches(self, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, ...]:
        """Return the round's mini-batches on the CPU, tensors [K, batch, ...]."""
        ...

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        """Return the mean training loss of one device's batch."""
        ...

    def evaluate(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Return the metrics of a model on a part of the data: always "loss" (nats), lower is better."""
        ...

    def optimizer(self, model: nn.Module, learning_rate: float) -> Optimizer:
        """Return the optimiser that steps with the decoded gradients."""
        ...

    def learning_rate_factor(self, round: int, num_rounds: int) -> float:
        """Return the factor on the learning rate in a round."""
        ...


@runtime_checkable
class Sharded(Protocol):
    """A task whose devices hold shards of its training data."""

    def shard_sizes(self, num_devices: int, streams: Streams) -> Tensor:
        """Return how many training samples each device holds, int64 [K]."""
        ...


@runtime_checkable
class Streamed(Protocol):
    """A task that gives out the batches of some devices without making those of the others."""

    def batches_of(self, devices: range, round: int, num_devices: int, streams: Streams) -> tuple[Tensor, ...]:
        """Return rows `devices` of `Task.batches`."""
        ...


def check_task(task: Any, *sizes: str) -> None:
    """Check the arguments of a task: sizes, weight decay and averaging by their ranges.

    Args:
        task: a dataclass with weight_decay and averaging.
        sizes: names of its arguments that must be at least 1.

    Raises:
        ValueError: names the argument.
    """
    for name in sizes:
        if getattr(task, name) < 1:
            raise ValueError(f"{name} must be >= 1, got {getattr(task, name)}")
    if not 0 <= task.weight_decay < math.inf:
        raise ValueError(f"weight_decay must be finite and >= 0, got {task.weight_decay}")
    if not 0 <= task.averaging < 1:
        raise ValueError(f"averaging must lie in [0, 1), got {task.averaging}")


def check_momentum(momentum: float) -> None:
    """Check the momentum of a task's SGD.

    Raises:
        ValueError: it is not in [0, 1).
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
