"""Participation: which devices take part in a round, and how long the server waits for them.

A rule is any function of this signature:

    def my_participation(num_devices, *, round, generator):
        return Attendance(present=mask)    # bool [num_devices]

An absent device sends nothing and is known to be absent: power control does not count it, and its message is yet to be sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.parameters import checked

__all__ = ["EveryDevice", "RandomDropout", "Stragglers"]


class Attendance(NamedTuple):
    """Who takes part in a round.

    present: bool [K].
    seconds: float64 [], from the start of the round until the server has waited long enough; None where no time is known.
    """

    present: Tensor
    seconds: Tensor | None = None


class Participation(Protocol):
    """Draws who takes part in a round; a plain function will do."""

    def __call__(self, num_devices: int, /, *, round: int, generator: torch.Generator) -> Attendance:
        """Return who is present; tensors on the generator's device."""
        ...


@dataclass(frozen=True, kw_only=True)
class EveryDevice:
    """All devices in every round."""

    def __call__(self, num_devices: int, *, round: int, generator: torch.Generator) -> Attendance:
        """Return everybody; see `Participation`."""
        return Attendance(torch.ones(num_devices, dtype=torch.bool, device=generator.device))


@dataclass(frozen=True, kw_only=True)
@checked
class RandomDropout:
    """Each device misses a round with some probability, independently over devices and rounds.

    Args:
        drop_probability: in [0, 1], one for all devices or one for each.
    """

    drop_probability: float | tuple[float, ...]

    def __post_init__(self) -> None:
        for probability in _each(self.drop_probability):
            if not 0 <= probability <= 1:
                raise ValueError(f"drop_probability must be in [0, 1], got {self.drop_probability}")

    def __call__(self, num_devices: int, *, round: int, generator: torch.Generator) -> Attendance:
        """Return who is present; see `Participation`."""
        probability = _of_devices("drop_probability", self.drop_probability, num_devices, generator.device)
        draw = torch.rand(num_devices, dtype=torch.float64, device=generator.device, generator=generator)
        return Attendance(draw >= probability)


@dataclass(frozen=True, kw_only=True)
@checked
class Stragglers:
    """Devices are ready after a random time and miss the round if that is later than the deadline.

    Times are shifted exponential, T_k = least_s + Exp(mean extra_s), independent: the standard model of computing times.
    A device is present with probability 1 - exp(-(deadline_s - least_s) / extra_s). The server waits for the last device but
    not beyond the deadline: seconds = min(max_k T_k, deadline_s). Reference: Lee et al., Speeding up distributed machine
    learning using codes, IEEE Trans. Inf. Theory (2018), arXiv:1512.02673, Section III.

    Args:
        least_s: shortest time, >= 0, one for all devices or one for each.
        extra_s: mean of the random part, > 0, likewise.
        deadline_s: > 0; infinite waits for everybody.
    """

    extra_s: float | tuple[float, ...]
    least_s: float | tuple[float, ...] = 0.0
    deadline_s: float = math.inf

    def __post_init__(self) -> None:
        if not all(0 < extra < math.inf for extra in _each(self.extra_s)):
            raise ValueError(f"extra_s must be finite and > 0, got {self.extra_s}")
        if not all(0 <= least < math.inf for least in _each(self.least_s)):
            raise ValueError(f"least_s must be finite and >= 0, got {self.least_s}")
        if not self.deadline_s > 0:
            raise ValueError(f"deadline_s must be > 0, got {self.deadline_s}")

    def __call__(self, num_devices: int, *, round: int, generator: torch.Generator) -> Attendance:
        """Return who is in time and how long the server waited; see `Participation`."""
        least = _of_devices("least_s", self.least_s, num_devices, generator.device)
        extra = _of_devices("extra_s", self.extra_s, num_devices, generator.device)
        draw = torch.rand(num_devices, dtype=torch.float64, device=generator.device, generator=generator)  # in [0, 1)
        times = least - extra * torch.log1p(-draw)
        return Attendance(times <= self.deadline_s, times.amax().clamp(max=self.deadline_s))


def _each(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _of_devices(name: str, value: float | tuple[float, ...], num_devices: int, device: torch.device) -> Tensor:
    """One value for each device or one for all: float64 [K] or [1]."""
    values = constant(_each(value), dtype=torch.float64, device=device)
    if len(values) not in (1, num_devices):
        raise ValueError(f"{name} must hold one value or one for each of the {num_devices} devices, got {len(values)}")
    return values
