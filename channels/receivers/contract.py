"""Receivers of N_r antennas: estimate = w^H y, y = sum_k a_k u_k + n with a_k = h_k b_k, one w for each segment.

With p_k = ||u_k||^2 / N, the mean square of a real symbol, and uncorrelated messages, the error per real symbol is

    sum_k |w^H a_k - 1/K|^2 p_k + ||w||^2 sigma^2

Two real symbols share a channel use, so signal powers 2 p_k meet noise of variance 2 sigma^2, and the factors cancel. All w
are found in float64. A receiver takes turns with the power control: `beam` is its first guess, from the channel alone; the
power control sees the gains w^H h_k / ||w||; `combine` sets w for what arrives; `alternations` more rounds may follow.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.power_control.contract import Transceiver
from laser_wireless.channels.power_control.estimation_error import delivered_share
from laser_wireless.channels.round import Air

Mean = Literal["policy", "active", "all"]


class Receiver(Protocol):
    """Chooses the combiner; state of the channel comes in by its arguments only.

    alternations: rounds of joint design with the power control after the first; 0 designs once.
    mean_of: whose mean is wanted, for `delivered_by`: as the power control says, of the active devices, or of all K.
    """

    @property
    def alternations(self) -> int:
        """Rounds of joint design after the first."""
        ...

    @property
    def mean_of(self) -> Mean:
        """Whose mean the estimate aims at."""
        ...

    def beam(self, h: Tensor, air: Air) -> Tensor:
        """Return the first combiner [..., N_r, G], of unit norm.

        Args:
            h: real or complex [..., K, N_r, G], gains as the receiver knows them.
            air: adds up over the devices.
        """
        ...

    def combine(
        self, arriving: Tensor, beam: Tensor, transceiver: Transceiver, power: Tensor, noise_variance: Tensor, air: Air
    ) -> Tensor:
        """Return w [..., N_r, G], scale included; 0 where nothing arrives.

        Args:
            arriving: real or complex [..., K, N_r, G], a_k.
            beam: [..., N_r, G], the unit-norm combiner that the power control knew.
            transceiver: what the power control chose for it.
            power: float64, broadcastable to [..., K, G], p_k.
            noise_variance: float64 [...], sigma^2 per real symbol.
            air: adds up over the devices.
        """
        ...


def delivered_by(receiver: Receiver, combiner: Tensor, arriving: Tensor, transceiver: Transceiver, *, air: Air) -> Tensor:
    """Part of each device's amplitude that the estimate counts, float64 [..., K, G]; see `delivered_share`.

    Args:
        receiver: whose `combine` returned the combiner.
        combiner: w [..., N_r, G].
        arriving: a_k [..., K, N_r, G].
        transceiver: of the round.
        air: counts the devices.
    """
    if receiver.mean_of == "policy":
        return transceiver.delivered
    if receiver.mean_of == "all":
        counted = count_devices_of(arriving, air).unsqueeze(-2)
    else:
        active = transceiver.active.double().expand(*arriving.shape[:-3], arriving.shape[-3], arriving.shape[-1])
        counted = air.sum(active, dim=-2)
    return delivered_share(coefficients_of(combiner, arriving), counted) * transceiver.active


def coefficients_of(combiner: Tensor, arriving: Tensor) -> Tensor:
    """c_k = w^H a_k: [..., K, G], for w [..., N_r, G] and a [..., K, N_r, G]."""
    return (combiner.conj().unsqueeze(-3) * arriving).sum(-2)


def count_devices_of(arriving: Tensor, air: Air) -> Tensor:
    """K over all processes: float64 [1]."""
    ones = torch.ones(arriving.shape[-3], 1, dtype=torch.float64, device=arriving.device)
    return air.sum(ones, dim=-2).squeeze(-2)
