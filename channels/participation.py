"""Participation: which devices take part in a round, and how long the server waits for them.

A rule is any function of this signature:

    def my_participation(num_devices, *, round, generator):
        return Attendance(present=mask)    # bool [num_devices]

An absent device sends nothing and is known to be absent: power control does not count it, and its message is yet to be sent.
A rule that also says who was `asked` (see `Sampling`) spares the others their training: they do nothing in the round, where
a device that was asked and is late has trained for a later one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.round import Round

__all__ = ["EveryDevice", "RandomDropout", "SampledDevices", "Stragglers"]


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


@runtime_checkable
class Sampling(Protocol):
    """A rule by which the base station asks some of the devices before they train."""

    def asked(self, num_devices: int, /, *, round: int, generator: torch.Generator) -> Tensor | None:
        """Return who is asked: int64 [m], ascending, m the same in every round; None for everybody.

        The generator is that of the call that draws who is present, as fresh as there.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class EveryDevice:
    """All devices in every round."""

    def __call__(self, num_devices: int, *, round: int, generator: torch.Generator) -> Attendance:
        """Return everybody; see `Participation`."""
        return Attendance(torch.ones(num_devices, dtype=torch.bool, device=generator.device))


@dataclass(frozen=True, kw_only=True)
@checked
class SampledDevices:
    """The base station asks so many devices, drawn uniformly without replacement anew in every round; all of them answer.

    The mean over those that were asked is an unbiased estimate of the mean over all: scheme of McMahan et al. (2017),
    arXiv:1602.05629, with equal weights.

    Args:
        num_sampled: m of the K devices, >= 1.
    """

    num_sampled: int

    def __post_init__(self) -> None:
        _check_sample(self.num_sampled)

    def asked(self, num_devices: int, *, round: int, generator: torch.Generator) -> Tensor:
        """Return who is asked; see `Sampling`."""
        return _sample(self.num_sampled, num_devices, generator)

    def __call__(self, num_devices: int, *, round: int, generator: torch.Generator) -> Attendance:
        """Return who was asked; see `Participation`."""
        return Attendance(_mask(_sample(self.num_sampled, num_devices, generator), num_devices))


@dataclass(frozen=True, kw_only=True)
@checked
class RandomDropout:
    """Each device misses a round with some probability, independently over devices and rounds.

    Args:
        drop_probability: in [0, 1], one for all devices or one for each.
        num_sampled: of the devices, asked as by `SampledDevices`, of which then some drop out; None asks everybody.
    """

    drop_probability: float | tuple[float, ...]
    num_sampled: int | None = None

    def __post_init__(self) -> None:
        _check_sample(self.num_sampled)
        for probability in _each(self.drop_probability):
            if not 0 <= probability <= 1:
                raise ValueError(f"drop_probability must be in [0, 1], got {self.drop_probability}")

    def __call__(self, num_devices: int, *, round: int, generator: torch.Generator) -> Attendance:
        """Return who is present; see `Participation`."""
        asked = self.asked(num_devices, round=round, generator=generator)
        probability = _of_devices("drop_probability", self.drop_probability, num_devices, generator.device)
        draw = torch.rand(num_devices, dtype=torch.float64, device=generator.device, generator=generator)
        present = draw >= probability
        return Attendance(present if asked is None else present & _mask(asked, num_devices))

    def asked(self, num_devices: int, *, round: int, generator: torch.Generator) -> Tensor | None:
        """Return who is asked; see `Sampling`."""
        return None if self.num_sampled is None else _sample(self.num_sampled, num_devices, generator)


@dataclass(frozen=True, kw_only=True)
@checked
class Stragglers:
    """Devices are ready after a random time and miss the round if that is later than the deadline.

    Times are shifted exponential, T_k = least_s + Exp(mean extra_s), independent: the standard model of computing times.
    A device is present with probability 1 - exp(-(deadline_s - least_s) / extra_s). The server waits for the last device
    that it asked but not beyond the deadline: seconds = min(max_k T_k, deadline_s). Reference: Lee et al., Speeding up
    distributed machine learning using codes, IEEE Trans. Inf. Theory (2018), arXiv:1512.02673, Section III.

    Args:
        least_s: shortest time, >= 0, one for all devices or one for each.
        extra_s: mean of the random part, > 0, likewise.
        deadline_s: > 0; infinite waits for everybody.
        num_sampled: of the devices, asked as by `SampledDevices`; None asks everybody.
    """

    extra_s: float | tuple[float, ...]
    least_s: float | tuple[float, ...] = 0.0
    deadline_s: float = math.inf
    num_sampled: int | None = None

    def __post_init__(self) -> None:
        _check_sample(self.num_sampled)
        if not all(0 < extra < math.inf for extra in _each(self.extra_s)):
            raise ValueError(f"extra_s must be finite and > 0, got {self.extra_s}")
        if not all(0 <= least < math.inf for least in _each(self.least_s)):
            raise ValueError(f"least_s must be finite and >= 0, got {self.least_s}")
        if not self.deadline_s > 0:
            raise ValueError(f"deadline_s must be > 0, got {self.deadline_s}")

    def __call__(self, num_devices: int, *, round: int, generator: torch.Generator) -> Attendance:
        """Return who is in time and how long the server waited; see `Participation`."""
        asked = self.asked(num_devices, round=round, generator=generator)
        least = _of_devices("least_s", self.least_s, num_devices, generator.device)
        extra = _of_devices("extra_s", self.extra_s, num_devices, generator.device)
        draw = torch.rand(num_devices, dtype=torch.float64, device=generator.device, generator=generator)  # in [0, 1)
        times = least - extra * torch.log1p(-draw)
        present = times <= self.deadline_s
        if asked is not None:
            present, times = present & _mask(asked, num_devices), times.gather(0, asked)
        return Attendance(present, times.amax().clamp(max=self.deadline_s))

    def asked(self, num_devices: int, *, round: int, generator: torch.Generator) -> Tensor | None:
        """Return who is asked; see `Sampling`."""
        return None if self.num_sampled is None else _sample(self.num_sampled, num_devices, generator)


def attendance_of(rule: Participation | None, num_devices: int, now: Round, device: torch.device | str) -> Attendance:
    """Draw who takes part in a round, from its stream "participation"; everybody without a rule."""
    rule = EveryDevice() if rule is None else rule
    return rule(num_devices, round=now.index, generator=now.generator("participation", device))


def asked_by(rule: object, num_devices: int, now: Round, device: torch.device | str) -> Tensor | None:
    """Who is asked in the round for which `attendance_of` draws who takes part; None for everybody, or a rule without it."""
    if not isinstance(rule, Sampling):
        return None
    return rule.asked(num_devices, round=now.index, generator=now.generator("participation", device))


def _check_sample(num_sampled: int | None) -> None:
    if num_sampled is not None and num_sampled < 1:
        raise ValueError(f"num_sampled must be >= 1, got {num_sampled}")


def _sample(num_sampled: int, num_devices: int, generator: torch.Generator) -> Tensor:
    """So many of the devices, int64 [num_sampled], ascending."""
    if num_sampled > num_devices:
        raise ValueError(f"num_sampled must be at most the {num_devices} devices that there are, got {num_sampled}")
    keys = torch.rand(num_devices, dtype=torch.float64, device=generator.device, generator=generator)
    return keys.argsort()[:num_sampled].sort().values


def _mask(asked: Tensor, num_devices: int) -> Tensor:
    return torch.zeros(num_devices, dtype=torch.bool, device=asked.device).index_fill(0, asked, True)


def _each(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _of_devices(name: str, value: float | tuple[float, ...], num_devices: int, device: torch.device) -> Tensor:
    """One value for each device or one for all: float64 [K] or [1]."""
    values = constant(_each(value), dtype=torch.float64, device=device)
    if len(values) not in (1, num_devices):
        raise ValueError(f"{name} must hold one value or one for each of the {num_devices} devices, got {len(values)}")
    return values
