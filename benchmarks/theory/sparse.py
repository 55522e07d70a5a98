"""Influence factors of the largest entries, sent as they are or projected. See `one_block` for the model."""

from __future__ import annotations

import math
from statistics import NormalDist

from laser_wireless.benchmarks.theory.one_block import PARALLEL, Influence, OneBlock, check_share
from laser_wireless.benchmarks.theory.recovery import recovery_error
from laser_wireless.benchmarks.theory.signs import vote_error
from laser_wireless.compression.shared_draws import portion


def gaussian_top_share(share: float) -> float:
    """Fraction of the squared norm in the largest `share` of many independent Gaussian entries: 2 (t phi(t) + Phi(-t))."""
    if share >= 1:
        return 1.0
    t = -NormalDist().inv_cdf(share / 2)
    return 2 * (t * NormalDist().pdf(t) + NormalDist().cdf(-t))


def top_k(block: OneBlock, fraction: float, *, captured: float | None = None) -> Influence:
    """Top-k values at places that a leader announced over the same channel, bit by bit, with half of the energy.

    An index of L bits arrives right with probability q = (1 - p)^L, p from `index_error`; a wrong one names any of the d
    entries. An entry is thus named by Poisson(l) wrong indices, l = (1 - q) k / d, one of the k largest by its own as well
    with probability q, and is sent as often, averaged. Compression is 1 - captured. What the channel adds is the noise on
    the values, captured 2 k / d of Z-SGD's where all indices arrive, and the part of `captured` that wrong places lose: at
    a low power all of top-k's gain over random-k.

    An approximation for many entries whose places have nothing to do with their sizes; the gradient is the one that the
    leader saw.

    Args:
        block: what is sent.
        fraction: k = max(1, floor(fraction d)).
        captured: fraction of the squared norm in the k largest entries; if None that of Gaussian entries for large d.
    """
    share = portion(fraction, block.d) / block.d
    if captured is None:
        captured = gaussian_top_share(share)
    check_share("captured", captured)
    length = (block.d - 1).bit_length()
    right = (1 - index_error(block, fraction)) ** length
    rate = (1 - right) * share
    named = -math.expm1(-rate)  # by a wrong index
    kept = captured * (right + (1 - right) * named) + (1 - captured) * named
    sent = captured * right + (1 - right) * share  # squared norm of the values, repeated ones counted each time
    alone = _inverse_count(rate, 0)
    noisy = share * (right * _inverse_count(rate, 1) + (1 - right) * alone) + (1 - share) * alone
    noise = sent * noisy * block.norm_ratio * block.noise / (0.5 if length else 1.0)
    assumes = f"{PARALLEL}; many Gaussian entries; wrong indices are random"
    return Influence(1 - captured, captured - kept + noise, False, assumes)


def _inverse_count(rate: float, more: int) -> float:
    """E[1{m > 0} / m] for m = more + Poisson(rate), rate <= 1."""
    terms = [math.exp(-rate) * rate**n / math.factorial(n) for n in range(30)]
    return sum(term / (n + more) for n, term in enumerate(terms) if n + more)


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
        captured: fraction of the squared norm in the k largest entries; if None that of Gaussian entries for large d.
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
