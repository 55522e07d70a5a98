"""Combiners of least error: zero forcing, without bias, and LMMSE, which trades bias for noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.power_control.contract import Transceiver
from laser_wireless.channels.receivers.beams import dominant, total_over_devices
from laser_wireless.channels.receivers.contract import Mean, count_devices_of
from laser_wireless.channels.round import Air
from laser_wireless.channels.signals import root, wide

_SINGULAR = 1e-13  # eigenvalues below this part of the largest are no signal


@dataclass(frozen=True, kw_only=True)
class ZeroForcing:
    """w^H a_k = 1/m for the m active devices, with the least norm: no bias in their mean, whatever noise that costs.

    Possible if N_r >= m and the a_k are independent; otherwise the least sum of |w^H a_k - 1/m|^2 p_k, then the least norm.
    Directions in which next to nothing arrives (1e-13 of the largest eigenvalue) are left out, so w is always finite.
    Error: ||w||^2 sigma^2 and that of taking the mean of m devices for that of K. Differentiable where the rank is constant.
    """

    @property
    def alternations(self) -> int:
        """0."""
        return 0

    @property
    def mean_of(self) -> Mean:
        """The active devices'."""
        return "active"

    def beam(self, h: Tensor, air: Air) -> Tensor:
        """Return the direction that maximises sum_k |v^H h_k|^2."""
        return dominant(h, air)

    def combine(
        self, arriving: Tensor, beam: Tensor, transceiver: Transceiver, power: Tensor, noise_variance: Tensor, air: Air
    ) -> Tensor:
        """Return the zero-forcing w; see `Receiver`."""
        active = transceiver.active.double().expand(*arriving.shape[:-3], arriving.shape[-3], arriving.shape[-1])
        num_active = air.sum(active, dim=-2).squeeze(-2)
        return _least_error(arriving, power, torch.zeros_like(noise_variance), num_active, air)


@dataclass(frozen=True, kw_only=True)
@checked
class Lmmse:
    """The w of least error in the mean of all K devices: w = (sum_k p_k a_k a_k^H + sigma^2 I)^-1 sum_k p_k a_k / K.

    Biased: it shrinks what is noisy, and what a silent device does not send is missing. Never worse than any other w for the
    same precoders. With `MseOptimal` and alternations it is a joint design of transmitters and receiver, in which each step
    lowers the error or keeps it (block coordinate descent, to a local optimum). Differentiable where the rank is constant.

    Args:
        alternations: rounds after the first, >= 0.
    """

    alternations: int = 0

    def __post_init__(self) -> None:
        if not (isinstance(self.alternations, int) and self.alternations >= 0):
            raise ValueError(f"alternations must be an integer >= 0, got {self.alternations!r}")

    @property
    def mean_of(self) -> Mean:
        """All devices'."""
        return "all"

    def beam(self, h: Tensor, air: Air) -> Tensor:
        """Return the direction that maximises sum_k |v^H h_k|^2."""
        return dominant(h, air)

    def combine(
        self, arriving: Tensor, beam: Tensor, transceiver: Transceiver, power: Tensor, noise_variance: Tensor, air: Air
    ) -> Tensor:
        """Return the LMMSE w; see `Receiver`."""
        return _least_error(arriving, power, noise_variance, count_devices_of(arriving, air), air)


def _least_error(arriving: Tensor, power: Tensor, noise_variance: Tensor, num_counted: Tensor, air: Air) -> Tensor:
    """(sum_k p a a^H + sigma^2 I)^+ sum_k p a / m, for m = num_counted [..., G]; the least-norm solution where singular."""
    a = wide(arriving).movedim(-1, -3).mT  # [..., G, N_r, K]
    p = power.expand(*power.shape[:-2], arriving.shape[-3], arriving.shape[-1]).mT  # [..., G, K]
    size = root(p)
    largest = a.detach().abs().amax(-2) * size.detach()  # [..., G, K]
    unit = air.max(largest, dim=-1).unsqueeze(-1)  # [..., G, 1, 1]
    unit = torch.maximum(unit, noise_variance.detach().sqrt()[..., None, None, None])
    unit = unit.masked_fill(unit == 0, 1)
    scaled = (a * size.unsqueeze(-2)) / unit
    covariance = total_over_devices(scaled @ scaled.mH, air)
    identity = torch.eye(a.shape[-2], dtype=torch.float64, device=a.device)
    covariance = covariance + noise_variance[..., None, None, None] / unit / unit * identity
    wanted = total_over_devices(scaled @ (size / unit.squeeze(-1)).unsqueeze(-1).to(scaled.dtype), air)
    share = 1 / num_counted.masked_fill(num_counted == 0, torch.inf)
    w = _pseudo_inverse(covariance) @ wanted
    return w.squeeze(-1).mT * share.unsqueeze(-2)


def _pseudo_inverse(covariance: Tensor) -> Tensor:
    """Of Hermitian matrices [..., n, n]; NaN if the eigenvalues are not found, so that the round is invalid and says so.

    Whether they are found torch asks a GPU on the host: the one place of a round that waits for it.
    """
    try:
        return torch.linalg.pinv(covariance, rtol=_SINGULAR, hermitian=True)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return torch.full_like(covariance, torch.nan)
