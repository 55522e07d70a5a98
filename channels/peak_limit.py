"""A peak limit around any power control: no real symbol is sent with more than a given power.

|b_k u_k[s]|^2 <= peak_power for every device and real symbol s; a complex channel use, with two real symbols, then has a
power of at most 2 peak_power.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from laser_wireless.channels.power_control import Agreement, AlignedInversion, PowerControl, Transceiver
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PeakLimited:
    """Lower the amplitude of all devices together, block by block, until no symbol exceeds the peak.

    Devices stay as aligned as they were: precoders times f, the receiver's scale over f, f <= 1 one factor for a block.
    Nothing is clipped; bias and `delivered` are the inner rule's, its noise energy grows by 1/f^2. After an inner rule that
    weighs bias against noise, the error is no longer the least possible. The factor is one more number that devices must
    share in each block.

    Args:
        power_control: the rule to limit.
        peak_power: largest energy of a real symbol, > 0.
    """

    power_control: PowerControl = field(default_factory=AlignedInversion)
    peak_power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.peak_power < math.inf:
            raise ValueError(f"peak_power must be finite and > 0 (energy of a real symbol), got {self.peak_power}")
        if not callable(self.power_control):
            raise TypeError(f"power_control must be callable, got {self.power_control!r}")

    def __call__(
        self, h: Tensor, norms: Tensor, energy: Tensor, noise_variance: Tensor, *, agreement: Agreement
    ) -> Transceiver:
        """Return the transceiver of a round; see `PowerControl`. Differentiable, except with respect to the peaks.

        Raises:
            ValueError: the agreement holds no peaks.
        """
        peaks, segments = agreement.peaks, agreement.segments
        if peaks is None:
            raise ValueError(
                "PeakLimited needs agreement.peaks, [..., K, G], got None; segments.measure(symbols) returns them"
            )
        inner = self.power_control(h, norms, energy, noise_variance, agreement=agreement)
        margin = 1 - 16 * torch.finfo(peaks.dtype).eps  # rounding of the symbols must not break the limit
        size = inner.precoder.abs().double()
        loudest = agreement.air.max((size * peaks).expand(norms.shape), dim=-2)  # [..., 1, G]
        blocks = torch.arange(len(segments.block_sizes), device=norms.device)
        block = segments.from_blocks(blocks).expand(loudest.shape)
        top = loudest.new_zeros(*loudest.shape[:-1], len(segments.block_sizes)).scatter_reduce(-1, block, loudest, "amax")
        limit = margin * math.sqrt(self.peak_power)
        factor = segments.from_blocks(limit / top.clamp(min=limit))
        return inner._replace(precoder=inner.precoder * factor, scale=inner.scale / factor)
