"""Spread: how a property of the hardware differs between the devices.

A property (a frequency offset, a gain mismatch) is one number for all devices, a tuple with one number for each, or a
law from which each device draws its own: `NormalSpread`, `UniformSpread` or any function of their signature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.hardware.impairments import Generators
from laser_wireless.channels.parameters import checked

Scope = Literal["run", "round"]
"""For how long a draw holds."""


class Spread(Protocol):
    """Draws a property of each device; a plain function will do."""

    def __call__(self, shape: tuple[int, ...], *, generator: torch.Generator) -> Tensor:
        """Return independent values: float64 of this shape, on the generator's device."""
        ...


@dataclass(frozen=True, kw_only=True)
@checked
class NormalSpread:
    """N(mean, std^2), in the unit of the property; std >= 0."""

    std: float
    mean: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.std < math.inf:
            raise ValueError(f"std must be finite and >= 0, got {self.std}")
        if not math.isfinite(self.mean):
            raise ValueError(f"mean must be finite, got {self.mean}")

    def __call__(self, shape: tuple[int, ...], *, generator: torch.Generator) -> Tensor:
        """Return independent values: float64 of this shape."""
        draw = torch.randn(shape, dtype=torch.float64, device=generator.device, generator=generator)
        return self.mean + self.std * draw


@dataclass(frozen=True, kw_only=True)
@checked
class UniformSpread:
    """Uniform on [low, high), in the unit of the property."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"low and high must be finite with low <= high, got low = {self.low}, high = {self.high}")

    def __call__(self, shape: tuple[int, ...], *, generator: torch.Generator) -> Tensor:
        """Return independent values: float64 of this shape."""
        draw = torch.rand(shape, dtype=torch.float64, device=generator.device, generator=generator)
        return self.low + (self.high - self.low) * draw


def check_property(name: str, value: float | tuple[float, ...] | list[float] | Spread) -> None:
    """Raise a ValueError for a property that is not finite, or a list that holds none."""
    if callable(value):
        return
    numbers = value if isinstance(value, (tuple, list)) else (value,)
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{name} must be finite, one number or one for each device, got {value!r}")


def property_of_rows(
    name: str,
    value: float | tuple[float, ...] | list[float] | Spread,
    scope: Scope,
    x: Tensor,
    generators: Generators,
) -> Tensor:
    """The property of each row of x [..., K, n].

    Returns:
        float64 [1, 1] for one number, [K, 1] for one each or a law that holds for a run, [..., K, 1] for a law drawn in
        each round.

    Raises:
        ValueError: as many numbers as there are rows were expected.
    """
    if not callable(value):
        numbers = constant(value, dtype=torch.float64, device=x.device).reshape(-1, 1)
        if len(numbers) not in (1, x.shape[-2]):
            raise ValueError(
                f"{name} must hold one number or one for each of the {x.shape[-2]} rows (devices or receive antennas), "
                f"got {len(numbers)}"
            )
        return numbers
    if scope == "run":
        return value((x.shape[-2], 1), generator=generators.run)
    return value((*x.shape[:-1], 1), generator=generators.round)
