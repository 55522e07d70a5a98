"""A peak limit around any power control: no real symbol is sent with more than a given power.

|b_k u_k[s]|^2 <= peak_power for every device and real symbol s; a complex channel use, with two real symbols, then has a
power of at most 2 peak_power.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.power_control.contract import Agreement, PowerControl, Transceiver
from laser_wireless.channels.power_control.inversion import AlignedInversion
from laser_wireless.channels.segments import Segments
from laser_wireless.channels.signals import root


@dataclass(frozen=True, kw_only=True)
@checked
class PeakLimited:
    """Keep a rule's peaks below a limit, without clipping and without breaking alignment.

    The rule is given no more energy than a device may spend at the peak, peak_power ||u_kb||^2 / max |u_kb[s]|^2: inversion
    then lowers the common amplitude of all, full power that of the device in question, and `MseOptimal` stays optimal. That
    is enough where a rule has one amplitude in a block. Where the gain changes within a block and the precoder with it, a
    louder segment lowers the whole block for all devices, precoders times f <= 1 and the receiver's scale over f: bias and
    `delivered` stay, noise energy grows by 1/f^2, and f is one more number that the devices must share.

    Args:
        power_control: the rule to limit.
        peak_power: largest energy of a real symbol, > 0.
    """

    power_control: PowerControl = field(default_factory=AlignedInversion)
    peak_power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.peak_power < math.inf:
            raise ValueError(f"peak_power must be finite and > 0 (energy of a real symbol), got {self.peak_power}")

    def __call__(
        self, h: Tensor, norms: Tensor, energy: Tensor, noise_variance: Tensor, *, agreement: Agreement
    ) -> Transceiver:
        """Return the transceiver of a round; see `PowerControl`. Differentiable, except with respect to the peaks.

        Raises:
            ValueError: the agreement holds no peaks.
        """
        peaks, segments = agreement.peaks, agreement.segments
        if peaks is None:
            raise ValueError("PeakLimited needs agreement.peaks, [..., K, G], got None; an uplink gives them")
        margin = 1 - 16 * torch.finfo(peaks.dtype).eps  # rounding of the symbols must not break the limit
        limit = margin * math.sqrt(self.peak_power)
        peaks = peaks.double()
        highest = _largest_in_blocks(peaks, segments)
        silent = highest == 0
        size = root(segments.sum_in_blocks(norms.square())) / highest.masked_fill(silent, 1)
        most = (limit * size).square().masked_fill(silent, torch.inf)
        inner = self.power_control(h, norms, torch.minimum(energy, most), noise_variance, agreement=agreement)

        loudest = agreement.air.max(inner.precoder.abs() * peaks, dim=-2)  # [..., 1, G]
        top = _largest_in_blocks(loudest, segments)
        factor = segments.from_blocks(limit / top.clamp(min=limit))
        return inner._replace(precoder=inner.precoder * factor, scale=inner.scale / factor)


def _largest_in_blocks(values: Tensor, segments: Segments) -> Tensor:
    """Largest of values >= 0 [..., G] of the segments within each block: [..., B]."""
    if segments.are_blocks:
        return values
    num_blocks = len(segments.block_sizes)
    block = segments.from_blocks(torch.arange(num_blocks, device=values.device)).expand(values.shape)
    return values.new_zeros(*values.shape[:-1], num_blocks).scatter_reduce(-1, block, values, "amax")
