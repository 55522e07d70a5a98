"""Influence factors of the largest entries, sent as they are or projected. See `one_block` for the model."""

from __future__ import annotations

import math
from statistics import NormalDist

from laser_wireless.benchmarks.theory.one_block import PARALLEL, Influence, OneBlock, check_share
from laser_wireless.benchmarks.theory.recovery import recovery_error
from laser_wireless.benchmarks.theory.signs import vote_error
from laser_wireless.compression.shared_draws import portion


def gaussian_top_share(share: float) -> float:
    """Share of the squared norm in the largest `share` of many independent Gaussian entries: 2 (t phi(t) + Phi(-t))."""
    if share >= 1:
        return 1.0
    t = -NormalDist().inv_cdf(share / 2)
    return 2 * (t * NormalDist().pdf(t) + NormalDist().cdf(-t))


def top_k(block: OneBlock, fraction: float, *, captured: float | None = None, energy_share: float = 1.0) -> Influence:
    """Top-k values at places known to the receiver: compression 1 - captured, channel captured k/d of Z-SGD's.

    Args:
        block: what is sent.
        fraction: k = max(1, floor(fraction d)).
        captured: share of the squared norm in the k largest entries; if None that of Gaussian entries for large d.
        energy_share: of the budget that goes to the values; 1/2 where the indices go over the same channel.
    """
    share = portion(fraction, block.d) / block.d
    exact = captured is not None
    if captured is None:
        captured = gaussian_top_share(share)
    check_share("captured", captured)
    assumes = f"{PARALLEL}; places arrive" if exact else f"{PARALLEL}; places arrive; many Gaussian entries"
    channel = captured * share * block.norm_ratio * block.noise / energy_share
    return Influence(1 - captured, channel, exact, assumes)


def index_error(block: OneBlock, fraction: float) -> float:
    """Probability Phi(-sqrt(P / (2 k L sigma^2))) that a bit of an index arrives wrong; L = ceil(log2 d) bits an index.

    One leader sends k L bits as +1 and -1 with half of its energy while the other devices are silent: their number plays no
    part. Exact.
    """
    num_bits = portion(fraction, block.d) * (block.d - 1).bit_length()
    return vote_error(1.0, math.sqrt(2 * num_bits * block.noise_variance / block.energy_budget))


def gaussian_projection(
    block: OneBlock,
    fraction: float,
    sparsity: float,
    *,
    orthogonal: bool = False,
    iterations: int = 20,
    captured: float | None = None,
) -> Influence:
    """A-DSGD: the k largest entries, k/d = fraction sparsity, projected onto fraction d symbols, recovered by AMP or OAMP.

    An approximation by the state evolution of a long Gaussian vector, see `recovery`. Of the recovery's error, the part that
    is there without noise counts as compression. Noise per symbol, over the mean square of a kept entry: (k/d) / (K^2 SNR).

    Args:
        block: what is sent.
        fraction: symbols over entries.
        sparsity: kept entries over symbols; at most all entries are kept.
        orthogonal: rows of the projection are orthogonal (OAMP) rather than i.i.d. (AMP).
        iterations: of the recovery.
        captured: share of the squared norm in the k largest entries; if None that of Gaussian entries for large d.
    """
    share = min(1.0, fraction * sparsity)
    captured = gaussian_top_share(share) if captured is None else captured
    check_share("captured", captured)
    silent, noisy = (
        recovery_error(fraction=fraction, share=share, noise_variance=noise, orthogonal=orthogonal, iterations=iterations)
        for noise in (0.0, share * block.norm_ratio * block.noise)
    )
    assumes = f"{PARALLEL}; many Gaussian entries; state evolution"
    return Influence(1 - captured + captured * silent, captured * (noisy - silent), False, assumes)
