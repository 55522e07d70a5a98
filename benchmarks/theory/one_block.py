"""What is sent, and how an answer is given: one gradient of K devices as one block, its influence factor in two parts.

lambda = E||g_hat - g_mean||^2 / ||g_mean||^2, over the receiver's noise and the scheme's own draws, of one m x n gradient
(d = m n numbers) that K devices send as one block, each within energy P, at noise variance sigma^2 per real symbol.
SNR = P / (d sigma^2). Under the transmission rule of Makkuva et al. (arXiv:2310.13033) the estimate of the mean of messages
u_k carries noise of variance tau^2 = max_k ||u_k||^2 sigma^2 / (K^2 P) on each symbol. The parts for compression and channel
add up, since the noise has mean zero. With error memory, "the gradient" is memory plus gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

PARALLEL = "gradients of the devices are positive multiples of one another"


class Influence(NamedTuple):
    """A channel influence factor in its two parts.

    compression: error without noise. channel: what the noise adds. exact: whether both are equalities under `assumes`.
    """

    compression: float
    channel: float
    exact: bool
    assumes: str

    @property
    def total(self) -> float:
        """lambda."""
        return self.compression + self.channel


@dataclass(frozen=True, kw_only=True)
class OneBlock:
    """One m x n gradient of K devices over a noisy uplink without fading, the whole budget in one message.

    Args:
        m: rows, >= 1.
        n: columns, >= 1.
        energy_budget: P, energy per device and round over all symbols.
        num_devices: K.
        noise_variance: sigma^2 per real symbol.
        norm_ratio: max_k ||g_k||^2 / ||g_mean||^2, >= 1; 1 if all devices have the same gradient.
    """

    m: int
    n: int
    energy_budget: float
    num_devices: int = 1
    noise_variance: float = 1.0
    norm_ratio: float = 1.0

    def __post_init__(self) -> None:
        for name in ("m", "n", "num_devices"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not 0 < self.energy_budget < math.inf:
            raise ValueError(f"energy_budget must be finite and > 0, got {self.energy_budget}")
        if not 0 <= self.noise_variance < math.inf:
            raise ValueError(f"noise_variance must be finite and >= 0 (per real symbol), got {self.noise_variance}")
        if not 1 <= self.norm_ratio < math.inf:
            raise ValueError(f"norm_ratio must be finite and >= 1 (1 for equal gradients), got {self.norm_ratio}")

    @property
    def d(self) -> int:
        """Numbers in the gradient."""
        return self.m * self.n

    @property
    def snr(self) -> float:
        """P / (d sigma^2), linear: one device, per entry of the uncompressed gradient; inf without noise."""
        return self.energy_budget / (self.d * self.noise_variance) if self.noise_variance else math.inf

    @property
    def noise(self) -> float:
        """1 / (K^2 SNR): noise energy of the uncompressed gradient over its own, for devices with equal gradients."""
        return self.d * self.noise_variance / (self.num_devices**2 * self.energy_budget)


def check_share(name: str, value: float) -> None:
    """Refuse a share outside [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
