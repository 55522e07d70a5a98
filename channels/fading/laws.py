"""Fading without memory: none at all, Rayleigh and Rician."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.segments import Grid


@dataclass(frozen=True, kw_only=True)
class NoFading:
    """h = 1: the Gaussian multiple-access channel."""

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return ones: float32 [1, 1, 1, 1]."""
        return torch.ones(1, 1, 1, 1, device=generator.device)


@dataclass(frozen=True, kw_only=True)
class Rayleigh:
    """Independent h ~ CN(0, 1) for each device, antenna and cell: no line of sight, rich scattering.

    |h|^2 is exponential with mean 1, the phase uniform.
    """

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return h: complex64 [num_devices, num_rx_antennas, T, F]."""
        shape = (num_devices, num_rx_antennas, grid.num_slots, grid.num_frequency_blocks)
        return torch.randn(shape, dtype=torch.complex64, device=generator.device, generator=generator)


@dataclass(frozen=True, kw_only=True)
@checked
class Rician:
    """h = sqrt(k/(k+1)) e^{j phi} + sqrt(1/(k+1)) CN(0, 1): a line of sight and scattering.

    Args:
        k_factor: k >= 0, power of the line of sight over that of the scattered part, linear; 0 is Rayleigh.

    phi is uniform, one for each device and round: the phase of a distant transmitter is unknown beforehand.
    """

    k_factor: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.k_factor < math.inf:
            raise ValueError(f"k_factor must be finite and >= 0 (linear, not dB), got {self.k_factor}")

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return h: complex64 [num_devices, num_rx_antennas, T, F]."""
        phase = torch.rand(num_devices, 1, 1, 1, device=generator.device, generator=generator) * (2 * math.pi)
        line_of_sight = torch.polar(torch.full_like(phase, math.sqrt(self.k_factor / (self.k_factor + 1))), phase)
        scattered = Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)
        return line_of_sight + math.sqrt(1 / (self.k_factor + 1)) * scattered
