"""A beam from the gains alone, scaled by the power control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.power_control.contract import Transceiver
from laser_wireless.channels.receivers.beams import dominant, scaled, sum_over_devices, unit_vector
from laser_wireless.channels.receivers.contract import Mean
from laser_wireless.channels.round import Air


@dataclass(frozen=True, kw_only=True)
@checked
class MaximumRatio:
    """A beam from the gains alone, scaled by the power control: w = g v.

    Args:
        direction: "sum", v along sum_k h_k: the matched filter of what devices send that know nothing of the channel
            (`FullPower(phase=False)`), whose cross terms vanish as antennas grow (channel hardening: Amiri, Duman, Gunduz,
            Kulkarni, Poor, arXiv:2010.10030). "dominant", v maximises sum_k |v^H h_k|^2: for devices that undo the phase of
            v^H h_k.
    """

    direction: Literal["sum", "dominant"] = "sum"

    def __post_init__(self) -> None:
        if self.direction not in ("sum", "dominant"):
            raise ValueError(f'direction must be "sum" or "dominant", got {self.direction!r}')

    @property
    def alternations(self) -> int:
        """0."""
        return 0

    @property
    def mean_of(self) -> Mean:
        """The power control's."""
        return "policy"

    def beam(self, h: Tensor, air: Air) -> Tensor:
        """Return v; the first antenna where the gains vanish or cancel. Differentiable."""
        if self.direction == "dominant":
            return dominant(h, air)
        return unit_vector(sum_over_devices(scaled(h, air), -3, air).squeeze(-3))

    def combine(
        self, arriving: Tensor, beam: Tensor, transceiver: Transceiver, power: Tensor, noise_variance: Tensor, air: Air
    ) -> Tensor:
        """Return g v; see `Receiver`."""
        return beam * transceiver.scale
