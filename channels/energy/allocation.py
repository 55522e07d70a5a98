"""Allocation: how a device splits the energy of a round over the blocks of its message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.round import Air


class Allocation(Protocol):
    """Splits the devices' energy over the blocks; a plain function will do."""

    def __call__(self, norms: Tensor, block_sizes: tuple[int, ...], air: Air, /) -> Tensor:
        """Return weights [..., 1, B] or [..., K, B] >= 0; a block's share of the energy is its weight over their sum.

        Negative weights count as 0.

        Args:
            norms: float64 [..., K, B], block norms of the message (for a factor, the norm of the matrix it belongs to).
            block_sizes: real symbols of each block.
            air: reduces over all devices.
        """
        ...


def shares_of(allocation: Allocation, norms: Tensor, block_sizes: tuple[int, ...], air: Air) -> Tensor:
    """Each block's part of the energy by an allocation: float64 [..., 1 | K, B], adding up to 1; see `Allocation`."""
    shares = allocation(norms, block_sizes, air).clamp(min=0)
    shares = shares + (shares.sum(-1, keepdim=True) == 0)  # nothing to send: equal parts
    return shares / shares.sum(-1, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class NormAllocation:
    """As published: share_b = mean over devices of ||u_kb|| / sum_b' ||u_kb'||.

    Minimises sum_b c_b^2 / P_b if the norms are alike. Devices without any message do not count. A message that is zero
    everywhere gets equal shares.
    """

    def __call__(self, norms: Tensor, block_sizes: tuple[int, ...], air: Air) -> Tensor:
        """Return weights: float64 [..., 1, B]."""
        total = norms.sum(-1, keepdim=True)
        return air.sum(norms / (total + (total == 0)), dim=-2)


@dataclass(frozen=True, kw_only=True)
class LeastNoiseAllocation:
    """Least total noise energy on the decoded message, sum_b N_b c_b^2 / P_b: share_b proportional to c_b sqrt(N_b).

    c_b = max_k ||u_kb|| and N_b the block's symbols. Optimal for devices with equal gains and equal budgets.
    """

    def __call__(self, norms: Tensor, block_sizes: tuple[int, ...], air: Air) -> Tensor:
        """Return weights: float64 [..., 1, B]."""
        lengths = torch.tensor(block_sizes, dtype=norms.dtype, device=norms.device)
        return air.max(norms, dim=-2) * lengths.sqrt()


@dataclass(frozen=True, kw_only=True)
@checked
class UniformAllocation:
    """Weights that ignore the message: the same energy for each block, or for each symbol.

    Args:
        per_symbol: share N_b / S instead of 1 / B.
    """

    per_symbol: bool = False

    def __call__(self, norms: Tensor, block_sizes: tuple[int, ...], air: Air) -> Tensor:
        """Return weights: float64 [1, B]."""
        weights = block_sizes if self.per_symbol else [1] * len(block_sizes)
        return torch.tensor([weights], dtype=norms.dtype, device=norms.device)
