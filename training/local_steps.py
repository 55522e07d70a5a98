"""Local steps: what a device does between two broadcasts, and which part of it is its message.

A device starts at the model that it received, theta_0 = theta, and takes tau steps of SGD on mini-batches of its own,

    v_s = m v_{s-1} + grad f_k(theta_{s-1}) + mu (theta_{s-1} - theta),    theta_s = theta_{s-1} - eta v_s.

Its message is the model difference in units of its rate, u = (theta - theta_tau) / eta = v_1 + ... + v_tau: with one step
the gradient itself, to the bit. The base station steps with what it decodes of the mean of u by any torch optimiser; with
SGD of rate eta that is the mean of the devices' models, federated averaging (McMahan et al. 2017, arXiv:1602.05629).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from laser_wireless.channels.parameters import checked


@dataclass(frozen=True, kw_only=True)
@checked
class LocalSteps:
    """SGD steps of a device before it sends.

    Args:
        num_steps: tau >= 1; one for all devices or one for each.
        learning_rate: eta; None for the base station's rate in the round, which makes SGD there federated averaging.
        momentum: m in [0, 1), of the local steps; it begins anew in every round.
        proximal: mu >= 0, pull towards the model received: FedProx (Li et al. 2020, arXiv:1812.06127, eq. 2), gradient of
            mu/2 ||theta_k - theta||^2.
        batch_sizes: samples of each device in a step, of those that the data give it (the first so many of its batch);
            None for all of them.
        normalised: divide u by what tau equal gradients would make of it, and multiply by the weighted mean of that over
            the devices: a device that takes more steps has no more say (FedNova, Wang et al. 2020, arXiv:2007.07481, eq. 6).
    """

    num_steps: int | tuple[int, ...] = 1
    learning_rate: float | None = None
    momentum: float = 0.0
    proximal: float = 0.0
    batch_sizes: tuple[int, ...] | None = None
    normalised: bool = False

    def __post_init__(self) -> None:
        _check_counts("num_steps", self.num_steps if isinstance(self.num_steps, Sequence) else (self.num_steps,))
        _check_counts("batch_sizes", (1,) if self.batch_sizes is None else self.batch_sizes)
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"learning_rate must be finite and > 0, or None for the base station's, got {self.learning_rate}"
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        if not 0 <= self.proximal < math.inf:
            raise ValueError(f"proximal must be finite and >= 0, got {self.proximal}")

    @property
    def longest(self) -> int:
        """Most steps that any device takes."""
        return max(self.num_steps) if isinstance(self.num_steps, Sequence) else self.num_steps

    def steps_of(self, num_devices: int) -> tuple[int, ...]:
        """Steps of each of the K devices.

        Raises:
            ValueError: another number of devices.
        """
        if isinstance(self.num_steps, Sequence):
            return _for_each("num_steps", self.num_steps, num_devices)
        return (self.num_steps,) * num_devices

    def sizes_of(self, num_devices: int) -> tuple[int, ...] | None:
        """Samples of each of the K devices in a step; None for all that they are given.

        Raises:
            ValueError: another number of devices.
        """
        return None if self.batch_sizes is None else _for_each("batch_sizes", self.batch_sizes, num_devices)

    def factors(self, weights: Sequence[float], learning_rate: float) -> tuple[float, ...]:
        """By what each device multiplies u: its weight, and with `normalised` the mean way over its own.

        Args:
            weights: of the devices in the mean, with mean 1.
            learning_rate: eta.
        """
        if not self.normalised:
            return tuple(weights)
        num_steps = self.steps_of(len(weights))
        lengths = {steps: self._of_equal_gradients(steps, learning_rate) for steps in set(num_steps)}
        own = [lengths[steps] for steps in num_steps]
        mean = math.fsum(weight * length for weight, length in zip(weights, own, strict=True)) / len(weights)
        return tuple(weight * (mean / length) for weight, length in zip(weights, own, strict=True))

    def _of_equal_gradients(self, steps: int, learning_rate: float) -> float:
        """u after so many steps with gradient 1 at every place."""
        u = v = 0.0
        for _ in range(steps):
            v = self.momentum * v + 1 - self.proximal * learning_rate * u
            u += v
        if not u > 0:
            raise ValueError(
                f"normalised needs steps that lead forward, but learning_rate {learning_rate:g} times proximal "
                f"{self.proximal:g} overshoots; lower one of them"
            )
        return u


def _for_each(name: str, values: Sequence[int], num_devices: int) -> tuple[int, ...]:
    if len(values) != num_devices:
        raise ValueError(f"{name} must hold one number for each of the {num_devices} devices, got {len(values)}")
    return tuple(values)


def _check_counts(name: str, counts: Sequence[int]) -> None:
    if not counts or min(counts) < 1:
        raise ValueError(f"{name} must be integers >= 1, got {list(counts)}")


GRADIENT = LocalSteps()
"""One step: the gradient of a mini-batch."""
