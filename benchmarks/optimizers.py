"""Optimisers of the base station: what it does with the decoded mean of the devices' messages.

An optimiser is any function of this signature; a class of torch's needs a rate alone:

    def my_optimizer(parameters, *, lr): return torch.optim.SGD(parameters, lr=lr, nesterov=True, momentum=0.9)

With local steps these are the server optimisers of federated learning, FedAvgM (Hsu et al. 2019, arXiv:1909.06335) and
FedAdagrad and FedAdam (Reddi et al. 2021, arXiv:2003.00295), on messages in units of a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import nn, optim
from torch.optim import Optimizer

from laser_wireless.channels.parameters import checked

__all__ = ["Adagrad", "Adam", "AdamW", "Sgd"]


class ServerOptimizer(Protocol):
    """Makes the optimiser that steps with the decoded gradients; a plain function will do."""

    def __call__(self, parameters: Iterable[nn.Parameter], /, *, lr: float) -> Optimizer:
        """Return an optimiser of the parameters with rate lr."""
        ...


@dataclass(frozen=True, kw_only=True)
@checked
class Sgd:
    """Stochastic gradient descent; with momentum and local steps FedAvgM.

    Args:
        momentum: in [0, 1).
        nesterov: whether the step looks ahead; only with momentum.
        weight_decay: >= 0, added to the gradient.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_fractions(momentum=self.momentum)
        _check_numbers(weight_decay=self.weight_decay)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum > 0, got 0; give momentum, or leave nesterov out")

    def __call__(self, parameters: Iterable[nn.Parameter], /, *, lr: float) -> Optimizer:
        """Return torch's SGD."""
        return optim.SGD(parameters, lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay)


@dataclass(frozen=True, kw_only=True)
@checked
class Adam:
    """Adam; with local steps FedAdam, for which Reddi et al. take betas (0.9, 0.99) and eps 1e-3.

    Args:
        betas: decay of the means of gradient and square, in [0, 1).
        eps: > 0, added to the root of the square.
        weight_decay: >= 0, added to the gradient.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_adam(self.betas, self.eps, self.weight_decay)

    def __call__(self, parameters: Iterable[nn.Parameter], /, *, lr: float) -> Optimizer:
        """Return torch's Adam."""
        return optim.Adam(parameters, lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay)


@dataclass(frozen=True, kw_only=True)
@checked
class AdamW:
    """Adam whose weight decay acts on the weights, not on the gradient.

    Args:
        betas: decay of the means of gradient and square, in [0, 1).
        eps: > 0, added to the root of the square.
        weight_decay: >= 0, times rate and weights.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        _check_adam(self.betas, self.eps, self.weight_decay)

    def __call__(self, parameters: Iterable[nn.Parameter], /, *, lr: float) -> Optimizer:
        """Return torch's AdamW."""
        return optim.AdamW(parameters, lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay)


@dataclass(frozen=True, kw_only=True)
@checked
class Adagrad:
    """Adagrad; with local steps FedAdagrad.

    Args:
        eps: > 0, added to the root of the sum of squares.
        initial_accumulator_value: >= 0, sum of squares before the first round.
        weight_decay: >= 0, added to the gradient.
    """

    eps: float = 1e-10
    initial_accumulator_value: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(weight_decay=self.weight_decay, initial_accumulator_value=self.initial_accumulator_value)
        _check_eps(self.eps)

    def __call__(self, parameters: Iterable[nn.Parameter], /, *, lr: float) -> Optimizer:
        """Return torch's Adagrad."""
        start = self.initial_accumulator_value
        return optim.Adagrad(parameters, lr, eps=self.eps, initial_accumulator_value=start, weight_decay=self.weight_decay)


def _check_adam(betas: tuple[float, ...], eps: float, weight_decay: float) -> None:
    if len(betas) != 2:
        raise ValueError(f"betas must hold two numbers in [0, 1), got {list(betas)}")
    _check_fractions(betas=max(betas))
    _check_fractions(betas=min(betas))
    _check_eps(eps)
    _check_numbers(weight_decay=weight_decay)


def _check_eps(eps: float) -> None:
    if not 0 < eps < math.inf:
        raise ValueError(f"eps must be finite and > 0, got {eps}")


def _check_fractions(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {value}")


def _check_numbers(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and >= 0, got {value}")
