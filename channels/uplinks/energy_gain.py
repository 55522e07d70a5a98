"""The gain of a message whose entries are sent as energies: which energy an entry of size 1 gets, alike for all devices.

Device k makes an entry u arrive with mean energy a^2 |u|, so that it sends a^2 |u| / l_k over a link of mean power gain l_k
and spends a^2 sum |u| / l_k: linear in the magnitudes, where an amplitude's energy goes with their squares. a is common to
all devices, one for each block of the message.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from laser_wireless.channels.round import Air
from laser_wireless.channels.segments import Segments
from laser_wireless.channels.signals import root

_NO_LINK = 1e-200  # mean power gain whose inverse would not leave room for other factors in float64


class Magnitudes(NamedTuple):
    """What counts of a message [..., K, S]: sums and largest of |u| in each block, float64 [..., K, B] each."""

    sums: Tensor
    peaks: Tensor


class EnergyGain(NamedTuple):
    """Energies of a round.

    amplitude: float64 [..., K, B], a of each device: the common one, or less where it cannot afford that; 0 if it is silent.
    scale: float64 [..., 1, B], from the sum of energies to the estimate of the mean, 1 / (a^2 K_a); 0 where nobody sends.
    delivered: float64 [..., K, B], part of each device's message that the estimate counts.
    active: bool [..., K, B], whether the device sends.
    spent: float64 [..., K], energy. peak: float64 [..., K], largest energy of an entry.
    """

    amplitude: Tensor
    scale: Tensor
    delivered: Tensor
    active: Tensor
    spent: Tensor
    peak: Tensor


def magnitudes(symbols: Tensor, segments: Segments) -> Magnitudes:
    """Measure a message; not finite where a symbol is not."""
    pieces = [piece.abs() for piece in torch.split_with_sizes(symbols, list(segments.block_sizes), -1)]
    sums = torch.stack([piece.sum(-1, dtype=torch.float64) for piece in pieces], -1)
    return Magnitudes(sums, torch.stack([piece.amax(-1) for piece in pieces], -1).double())


def largest_amplitudes(message: Magnitudes, energy: Tensor, link_gain: Tensor) -> Tensor:
    """What each device can afford: float64 [..., K, B], infinite where it has nothing to send or never sends.

    Args:
        message: of the K devices.
        energy: float64 [..., K, B], that a device may spend on each block.
        link_gain: float64 [K], l.
    """
    silent = (message.sums == 0) | ~_sends(energy, link_gain)
    return (root(energy) * root(link_gain)[:, None] / root(message.sums + silent)).masked_fill(silent, torch.inf)


def energy_gain(
    message: Magnitudes, energy: Tensor, link_gain: Tensor, common: Tensor, limits: Tensor, air: Air
) -> EnergyGain:
    """Energies at an amplitude that is agreed on.

    Args:
        message, energy, link_gain: as for `largest_amplitudes`.
        common: float64 [..., 1, B], a; a block where it is 0 or infinite is silent.
        limits: float64 [..., K, B], what each device can afford.
        air: counts the devices.
    """
    unusable = (common <= 0) | common.isinf()
    common = common.masked_fill(unusable, 1)
    sends = _sends(energy, link_gain).expand(limits.shape)
    own = torch.minimum(common, limits).masked_fill(unusable | ~sends, 0)
    speakers = air.sum(sends.double(), dim=-2)
    scale = (common.reciprocal().square() / speakers).masked_fill(unusable | (speakers == 0), 0)
    per_entry = own / root(link_gain.masked_fill(link_gain < _NO_LINK, 1))[:, None]  # what is sent for an entry of size 1
    return EnergyGain(
        amplitude=own,
        scale=scale,
        delivered=(own / common).square(),
        active=sends & ~(unusable & (message.sums > 0)),
        spent=(per_entry * root(message.sums)).square().sum(-1),
        peak=(per_entry * root(message.peaks)).square().amax(-1),
    )


def _sends(energy: Tensor, link_gain: Tensor) -> Tensor:
    """Which devices have energy and a link: bool [..., K, 1]; a block without energy is silent, its device is not."""
    return (energy.amax(-1, keepdim=True) > 0) & (link_gain >= _NO_LINK)[:, None]
