"""Beams from the gains alone: the strongest direction and the sum, and sums over devices wherever they live."""

from __future__ import annotations

import torch
from torch import Tensor

from laser_wireless.channels.round import Air
from laser_wireless.channels.signals import wide

_SQUARINGS = 12  # of a covariance matrix: 4096 steps of the power method


def dominant(h: Tensor, air: Air) -> Tensor:
    """Unit vector v [..., N_r, G] that maximises sum_k |v^H h_k|^2: repeated squaring of sum_k h_k h_k^H, differentiable."""
    a = scaled(h, air).movedim(-1, -3).mT  # [..., G, N_r, K]
    matrix = total_over_devices(a @ a.mH, air)
    for _ in range(_SQUARINGS):
        trace = matrix.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None]
        matrix = matrix / (trace + (trace == 0))
        matrix = matrix @ matrix
    strongest = matrix.diagonal(dim1=-2, dim2=-1).real.argmax(-1)[..., None, None]
    column = matrix.gather(-1, strongest.expand(*matrix.shape[:-1], 1)).squeeze(-1)
    return unit_vector(column.mT)


def scaled(h: Tensor, air: Air) -> Tensor:
    """h in double precision over its largest value of each segment, so that squares neither overflow nor vanish."""
    values = wide(h)
    largest = air.max(values.detach().abs().amax(-2, keepdim=True), dim=-3)
    return values / largest.masked_fill(largest == 0, 1)


def unit_vector(v: Tensor) -> Tensor:
    """v [..., N_r, G] over its norm; the first antenna where it is zero."""
    largest = v.detach().abs().amax(-2, keepdim=True)
    zero = largest == 0
    scaled = v / largest.masked_fill(zero, 1)
    first = torch.zeros_like(v)
    first[..., 0, :].fill_(1)
    scaled = torch.where(zero, first, scaled)
    return scaled / torch.linalg.vector_norm(scaled, dim=-2, keepdim=True)


def total_over_devices(local: Tensor, air: Air) -> Tensor:
    """Add up what the processes' devices [..., m, n] have summed."""
    return sum_over_devices(local.unsqueeze(-3), -3, air).squeeze(-3)


def sum_over_devices(values: Tensor, dim: int, air: Air) -> Tensor:
    """air.sum for complex values too, as pairs of real numbers, which is what processes can reduce."""
    if not values.is_complex():
        return air.sum(values, dim=dim)
    return torch.view_as_complex(air.sum(torch.view_as_real(values), dim=dim - 1).contiguous())
