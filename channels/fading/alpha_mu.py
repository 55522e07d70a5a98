"""Laws of fading beyond Rayleigh and Rice: the alpha-mu law and its special cases.

R = |h| is alpha-mu when R^alpha is Gamma distributed with shape mu: mu clusters of scattered waves, whose powers a
non-linear medium adds up with the exponent alpha. Nakagami-m is alpha = 2, mu = m; Weibull is mu = 1; Rayleigh is both.
Source: Yacoub, "The alpha-mu distribution", IEEE Trans. Veh. Technol. 56(1), 2007, eq. (1). E|h|^2 = 1 throughout, and
the phase is uniform and independent of the envelope, which is a convention: the law itself says nothing of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.fading.laws import Rayleigh
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.segments import Grid


@dataclass(frozen=True, kw_only=True)
@checked
class AlphaMu:
    """Independent |h|^2 = G^(2/alpha) Gamma(mu) / Gamma(mu + 2/alpha) with G ~ Gamma(mu, 1); uniform phase.

    Near zero P(|h|^2 <= x) goes as x^(alpha mu / 2): the diversity order is alpha mu / 2.

    Args:
        alpha: exponent of the medium, > 0; 2 for fields that simply add.
        mu: clusters, real and > 0.
    """

    alpha: float = 2.0
    mu: float = 1.0

    def __post_init__(self) -> None:
        for name in ("alpha", "mu"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and > 0, got {getattr(self, name)}")

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return h: complex64 [num_devices, num_rx_antennas, T, F].

        Exact up to rounding: the Gamma draw is that of torch.distributions.Gamma, in float64, with a generator.
        """
        shape = (num_devices, num_rx_antennas, grid.num_slots, grid.num_frequency_blocks)
        mu = torch.full(shape, self.mu, dtype=torch.float64, device=generator.device)
        phase = torch.rand(shape, device=generator.device, generator=generator) * (2 * math.pi)
        return torch.polar(self.envelope(torch._standard_gamma(mu, generator)).float(), phase)

    def envelope(self, gamma: Tensor) -> Tensor:
        """|h| from G ~ Gamma(mu, 1): float64, any shape."""
        return torch.exp(gamma.log() / self.alpha + math.log(self.scale) / 2)

    @property
    def scale(self) -> float:
        """|h|^2 where G = 1: Gamma(mu) / Gamma(mu + 2/alpha)."""
        return math.exp(math.lgamma(self.mu) - math.lgamma(self.mu + 2 / self.alpha))


@dataclass(frozen=True, kw_only=True)
@checked
class Nakagami:
    """Nakagami-m fading: |h|^2 ~ Gamma(m, 1/m), with a uniform phase; `AlphaMu` with alpha = 2, mu = m.

    Args:
        m: >= 0.5; 0.5 is one real Gaussian wave, 1 Rayleigh, and Var |h|^2 = 1/m.
    """

    m: float = 2.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.m < math.inf:
            raise ValueError(f"m must be finite and >= 0.5, got {self.m}; deeper fading is AlphaMu(alpha=2, mu=...)")

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return h: complex64 [num_devices, num_rx_antennas, T, F]."""
        return AlphaMu(mu=self.m)(num_devices, num_rx_antennas, grid, round=round, generator=generator)


@dataclass(frozen=True, kw_only=True)
@checked
class Weibull:
    """Weibull fading: P(|h| > r) = exp(-(r/r0)^shape), with a uniform phase; `AlphaMu` with alpha = shape, mu = 1.

    Args:
        shape: of the envelope |h|, not of its square, > 0; 2 is Rayleigh, smaller fades deeper.
    """

    shape: float = 1.5

    def __post_init__(self) -> None:
        if not 0 < self.shape < math.inf:
            raise ValueError(f"shape must be finite and > 0 (of the envelope), got {self.shape}")

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return h: complex64 [num_devices, num_rx_antennas, T, F]."""
        return AlphaMu(alpha=self.shape)(num_devices, num_rx_antennas, grid, round=round, generator=generator)


def as_alpha_mu(fading: object) -> AlphaMu | None:
    """The alpha-mu law that a fading model is, None if it is none."""
    if isinstance(fading, AlphaMu):
        return fading
    if isinstance(fading, Nakagami):
        return AlphaMu(mu=fading.m)
    if isinstance(fading, Weibull):
        return AlphaMu(alpha=fading.shape)
    return AlphaMu() if isinstance(fading, Rayleigh) else None
