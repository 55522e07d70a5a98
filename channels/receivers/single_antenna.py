"""One antenna: the receiver rescales what it receives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.power_control.contract import Transceiver
from laser_wireless.channels.receivers.contract import Mean
from laser_wireless.channels.round import Air
from laser_wireless.channels.signals import wide


@dataclass(frozen=True, kw_only=True)
class SingleAntenna:
    """One antenna: w = g, the scale of the power control."""

    @property
    def alternations(self) -> int:
        """0."""
        return 0

    @property
    def mean_of(self) -> Mean:
        """The power control's."""
        return "policy"

    def beam(self, h: Tensor, air: Air) -> Tensor:
        """Return ones: [..., 1, G].

        Raises:
            ValueError: the gains are of several antennas.
        """
        if h.shape[-2] != 1:
            raise ValueError(
                f"SingleAntenna needs gains of one antenna, [..., num_devices, 1, G], got {list(h.shape)}; "
                "use num_rx_antennas=1 or a receiver that combines, such as Lmmse()"
            )
        return torch.ones_like(wide(h)[..., 0, :, :])

    def combine(
        self, arriving: Tensor, beam: Tensor, transceiver: Transceiver, power: Tensor, noise_variance: Tensor, air: Air
    ) -> Tensor:
        """Return g; see `Receiver`."""
        return beam * transceiver.scale
