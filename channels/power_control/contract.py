"""Power control: from what is known of the gains to the devices' precoders b and the receiver's scale g.

With y = sum_k h_k b_k u_k + n and estimate g y, the error in estimating the mean message of the K devices is

    E||g y - mean u||^2 = sum_k |g h_k b_k - 1/K|^2 ||u_k||^2 + g^2 sigma^2 N      (uncorrelated messages, N real symbols)

A policy is a pure function; every one meets each device's energy limit in each block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from laser_wireless.channels.round import Air
from laser_wireless.channels.segments import Segments


@dataclass(frozen=True)
class Agreement:
    """What a policy may use to agree with the other devices.

    Args:
        segments: the message's pieces; gains and norms have one entry for each.
        air: reduces over all devices.
        amplitude: limits [..., K, B], what each device can afford -> amplitude in use [..., 1, B].
        peaks: [..., K, G], largest absolute value of a real symbol, where a policy may ask for it.
        link_gain: float64 [K], large-scale power gain of each link (1 / path loss), None where all links are alike.
    """

    segments: Segments
    air: Air
    amplitude: Callable[[Tensor], Tensor]
    peaks: Tensor | None = None
    link_gain: Tensor | None = None


class Transceiver(NamedTuple):
    """Settings of a round: transmitters and receiver. Tensors broadcast to the shapes given.

    precoder: b, real or complex [..., K, G], transmitted is b u.
    scale: g, float64 [..., 1, G], estimate is g y; 0 where nothing arrives.
    delivered: float64 [..., K, G] in [0, 1], part of the device's amplitude that the estimate counts in full.
    active: bool [..., K, G], whether the device sends.
    limits: [..., K, B], what was given to `Agreement.amplitude`, from which `PreviousScale` learns for the next round; None
        for a policy that agrees on no amplitude.
    """

    precoder: Tensor
    scale: Tensor
    delivered: Tensor
    active: Tensor
    limits: Tensor | None = None


class PowerControl(Protocol):
    """Chooses precoders and the receiver's scale; a plain function will do."""

    def __call__(
        self, h: Tensor, norms: Tensor, energy: Tensor, noise_variance: Tensor, /, *, agreement: Agreement
    ) -> Transceiver:
        """Return the transceiver of a round.

        Args:
            h: real or complex, broadcastable to [..., K, G], gains as known to the transmitters.
            norms: float64 [..., K, G], norms of the message's segments.
            energy: float64, broadcastable to [..., K, B], energy each device may spend on each block.
            noise_variance: float64 [...], sigma^2 per real symbol.
            agreement: what the devices share.
        """
        ...
