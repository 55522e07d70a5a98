"""What a device's own link carries: bits in n complex channel uses at a given SNR, and the chance that they arrive.

snr = |h|^2 P / (2 sigma^2 n), energy per complex channel use over noise per complex channel use, linear. By capacity
n log2(1 + snr) bits arrive without error; a code of finite length carries less and fails sometimes. Rates are in bits per
complex channel use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked


class Link(Protocol):
    """A code for one device's link: how much it carries and which packets arrive."""

    def bits(self, snr: Tensor, num_channel_uses: Tensor) -> Tensor:
        """Most bits that a device which knows its SNR may send.

        Args:
            snr: float64 [..., K], per complex channel use, linear; infinite without noise.
            num_channel_uses: float64, broadcastable to [..., K], whole numbers.

        Returns:
            float64 [..., K], whole numbers or infinite, never above n log2(1 + snr).
        """
        ...

    def arrivals(self, snr: Tensor, bits: Tensor, num_channel_uses: Tensor, *, generator: torch.Generator) -> Tensor:
        """Tell which of a device's C packets the receiver decodes; equal pieces of its bits, in order.

        Args:
            snr: as in `bits`.
            bits: float64 [..., K], what each device sends; 0 for a silent one, whose packets do not count.
            num_channel_uses: as in `bits`.
            generator: draws the errors.

        Returns:
            bool [..., K, C].
        """
        ...


def capacity(snr: Tensor) -> Tensor:
    """C = log2(1 + snr), bits per complex channel use."""
    return torch.log1p(snr) / math.log(2)


def dispersion(snr: Tensor) -> Tensor:
    """V = snr (snr + 2) / (snr + 1)^2 (log2 e)^2, bits^2 per complex channel use of the Gaussian channel.

    Twice the dispersion of a real use: theorem 54 of Polyanskiy, Poor, Verdu, "Channel coding rate in the finite
    blocklength regime", IEEE Trans. Inf. Theory 56(5), 2010.
    """
    return (1 - (1 + snr).square().reciprocal()) / math.log(2) ** 2


def finite_blocklength_bits(snr: Tensor, num_channel_uses: Tensor, error_probability: float) -> Tensor:
    """Normal approximation of the bits in one packet: n C - sqrt(n V) Q^-1(error) + log2(n) / 2, not rounded.

    Polyanskiy, Poor, Verdu (2010), theorem 54 with their term log2(n) / 2. May exceed n C where n snr is of order 1.
    """
    n = num_channel_uses
    back_off = NormalDist().inv_cdf(1 - error_probability)
    return n * capacity(snr) - (n * dispersion(snr)).sqrt() * back_off + n.clamp(min=1).log2() / 2


def packet_error_probability(snr: Tensor, bits: Tensor, num_channel_uses: Tensor) -> Tensor:
    """Chance that a packet of so many bits fails, by the normal approximation: Q((n C - bits + log2(n) / 2) / sqrt(n V)).

    1 at snr = 0; 0 for a packet without bits.
    """
    n = num_channel_uses
    margin = n * capacity(snr) - bits + n.clamp(min=1).log2() / 2
    spread = (n * dispersion(snr)).sqrt()
    silent = spread == 0
    error = torch.special.ndtr(-margin / spread.masked_fill(silent, 1))
    return error.masked_fill(silent, 1).masked_fill(bits == 0, 0)


@dataclass(frozen=True, kw_only=True)
@checked
class Capacity:
    """An ideal code: everything up to n log2(1 + snr / gap) bits arrives, nothing above it.

    Args:
        gap_db: >= 0, SNR that a practical code needs beyond Shannon's; 0 is capacity itself.
    """

    gap_db: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.gap_db < math.inf:
            raise ValueError(f"gap_db must be finite and >= 0 (SNR beyond capacity's, in dB), got {self.gap_db}")

    def bits(self, snr: Tensor, num_channel_uses: Tensor) -> Tensor:
        """Return floor(n log2(1 + snr / gap)); see `Link`."""
        return (num_channel_uses * capacity(snr / 10 ** (self.gap_db / 10))).floor()

    def arrivals(self, snr: Tensor, bits: Tensor, num_channel_uses: Tensor, *, generator: torch.Generator) -> Tensor:
        """One packet, lost if it holds more bits than the link carries: an outage; see `Link`."""
        return (bits <= self.bits(snr, num_channel_uses)).unsqueeze(-1)


@dataclass(frozen=True, kw_only=True)
@checked
class FiniteBlocklength:
    """The best code of n channel uses, by the normal approximation; one packet per device and round.

    The approximation is cut at capacity, which it exceeds for a handful of channel uses at low SNR.

    Args:
        error_probability: 0 < e < 1/2, chance that a packet is lost when its sender knows the SNR; a packet of fixed rate
            is lost with the chance that its SNR gives.
    """

    error_probability: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.error_probability < 0.5:
            raise ValueError(f"error_probability must lie in (0, 0.5), got {self.error_probability}")

    def bits(self, snr: Tensor, num_channel_uses: Tensor) -> Tensor:
        """Return the normal approximation, rounded down, between 0 and capacity; see `Link`."""
        most = num_channel_uses * capacity(snr)
        approximation = finite_blocklength_bits(snr, num_channel_uses, self.error_probability)
        return torch.minimum(approximation, most).clamp(min=0).floor()

    def arrivals(self, snr: Tensor, bits: Tensor, num_channel_uses: Tensor, *, generator: torch.Generator) -> Tensor:
        """One packet, lost with `packet_error_probability`; see `Link`."""
        error = packet_error_probability(snr, bits, num_channel_uses)
        drawn = torch.rand(error.shape, dtype=error.dtype, device=error.device, generator=generator)
        return (drawn >= error).unsqueeze(-1)
