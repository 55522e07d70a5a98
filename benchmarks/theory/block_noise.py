"""Noise on a message of several blocks: what each allocation of the energy leaves on the estimate of the mean.

Block b of N_b symbols gets energy P_b and the common scale sqrt(P_b) / c_b, c_b = max_k ||u_kb||; the estimate carries noise
of variance tau_b^2 = c_b^2 sigma^2 / (K^2 P_b) on each symbol, N_b tau_b^2 on the block. Exact, without fading. In total,
for devices with equal norms c_b: (sum_b c_b) (sum_b N_b c_b) sigma^2 / (K^2 P) when energy goes by norm, as published, and
at the least (sum_b c_b sqrt(N_b))^2 sigma^2 / (K^2 P).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from laser_wireless.channels import Allocation
from laser_wireless.channels.round import LocalAir


class BlockNoise(NamedTuple):
    """Per block, float64 [B].

    share: of the energy budget. variance: tau_b^2, of the noise on each symbol of the estimate. energy: N_b tau_b^2.
    """

    share: Tensor
    variance: Tensor
    energy: Tensor


def block_noise(
    norms: Tensor,
    block_sizes: Sequence[int],
    allocation: Allocation,
    *,
    energy_budget: float,
    noise_variance: float = 1.0,
    share_as: Sequence[int] | None = None,
) -> BlockNoise:
    """Noise on each block of the estimated mean.

    Args:
        norms: [num_devices, B], ||u_kb||.
        block_sizes: N_b, real symbols of each block.
        allocation: splits the energy; gives the same shares to all devices.
        energy_budget: P, of each device.
        noise_variance: sigma^2 per real symbol.
        share_as: for each block, the block whose norm stands for it in the allocation.
    """
    norms = norms.double()
    if norms.ndim != 2 or norms.shape[1] != len(block_sizes):
        raise ValueError(f"norms must be [num_devices, {len(block_sizes)}], got shape {list(norms.shape)}")
    standing = norms if share_as is None else norms[:, list(share_as)]
    weights = allocation(standing, tuple(block_sizes), LocalAir()).clamp(min=0)
    if weights.shape[0] != 1:
        raise ValueError("allocation must give all devices the same shares, [1, B], for this closed form")
    weights = weights[0] + (weights.sum() == 0)
    share = weights / weights.sum()
    largest = norms.amax(0)
    variance = largest.square() * noise_variance / (norms.shape[0] ** 2 * energy_budget * share)
    variance = variance.masked_fill(largest == 0, 0)  # nothing is sent, and the receiver's scale is zero
    return BlockNoise(share, variance, variance * torch.tensor(block_sizes, dtype=torch.float64))
