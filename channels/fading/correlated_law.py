"""A fading law made correlated over time, by mapping the envelope of a complex Gaussian process to the law.

With z ~ CN(0, 1), |z|^2 is exponential; |h|^2 is the value that the law exceeds with the same probability exp(-|z|^2),
and h keeps the phase of z (a Gaussian copula).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.fading.alpha_mu import AlphaMu, Nakagami, Weibull, as_alpha_mu
from laser_wireless.channels.fading.contract import FadingProcess
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.segments import Grid


@dataclass(frozen=True, kw_only=True)
@checked
class CorrelatedLaw:
    """Gains of the given law at every time, correlated as a process makes them.

    |h|^2 is that of the law up to a relative error of 1e-5 (a table; Weibull needs none), as far as the process is CN(0, 1):
    `GaussMarkov` is, `Jakes` as its sinusoids grow in number. The autocorrelation of h is near that of the process, but
    not equal to it.

    Args:
        law: `AlphaMu`, `Nakagami` or `Weibull`.
        process: `GaussMarkov` or `Jakes`, or another process of CN(0, 1) gains; without a line of sight.
    """

    law: AlphaMu | Nakagami | Weibull
    process: FadingProcess

    def __post_init__(self) -> None:
        if getattr(self.process, "k_factor", 0):
            raise ValueError(f"process must have k_factor = 0, the law replaces its envelope, got {self.process!r}")

    def advance(
        self,
        num_devices: int,
        num_rx_antennas: int,
        grid: Grid,
        *,
        round: int,
        generator: torch.Generator,
        state: dict[str, Tensor] | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return h: complex64 [num_devices, num_rx_antennas, T, F], and the state of the process."""
        z, state = self.process.advance(num_devices, num_rx_antennas, grid, round=round, generator=generator, state=state)
        law = as_alpha_mu(self.law)
        assert law is not None  # checked in construction
        gamma = _gamma_of_exponential(z.abs().double().square(), law.mu)
        return torch.polar(law.envelope(gamma).float(), z.angle()), state


@lru_cache(maxsize=8)
def _quantiles(mu: float) -> tuple[float, float, tuple[float, ...]]:
    """ln G at even steps of ln E, where Gamma(mu, 1) exceeds G as often as an exponential exceeds E: start, step, values."""
    import numpy as np
    from scipy.special import gammainccinv, gammaincinv

    log_e = np.linspace(math.log(1e-14), math.log(200.0), 1 << 13)
    e = np.exp(log_e)
    gamma = np.where(e < 0.7, gammaincinv(mu, -np.expm1(-e)), gammainccinv(mu, np.exp(-e)))
    return float(log_e[0]), float(log_e[1] - log_e[0]), tuple(np.log(gamma).tolist())


def _gamma_of_exponential(e: Tensor, mu: float) -> Tensor:
    """Map float64 Exp(1) to Gamma(mu, 1) monotonically, by the table."""
    if mu == 1:
        return e
    start, step, table = _quantiles(mu)
    values = constant(table, dtype=torch.float64, device=e.device)
    place = ((e.log() - start) / step).clamp(0, len(table) - 1.001)
    below = place.floor().long()
    return torch.lerp(values[below], values[below + 1], place - below).exp()
