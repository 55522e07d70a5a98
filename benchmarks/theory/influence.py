"""Influence factors of linear schemes: uncompressed, low rank, random entries, sketches. See `one_block` for the model."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binom

from laser_wireless.benchmarks.theory.one_block import PARALLEL, Influence, OneBlock, check_share
from laser_wireless.compression.shared_draws import portion


def uncompressed(block: OneBlock) -> Influence:
    """Z-SGD: norm_ratio / (K^2 SNR). Exact for any gradients."""
    return Influence(0.0, block.norm_ratio * block.noise, True, "none")


def one_factor(block: OneBlock, rank: int, *, sends: str = "columns", captured: float = 1.0) -> Influence:
    """LASER, one factor a round: (r / m) of Z-SGD's noise when the column side (r x n) is sent, r / n for the row side.

    Args:
        block: what is sent.
        rank: r, at most min(m, n).
        sends: "columns" (even rounds) or "rows".
        captured: fraction of the gradient's squared norm in the span of the known basis; the rest is compression error.
    """
    r = _rank(block, rank)
    other = {"columns": block.m, "rows": block.n}[sends]
    check_share("captured", captured)
    return Influence(1 - captured, captured * r / other * block.norm_ratio * block.noise, True, PARALLEL)


def both_factors(block: OneBlock, rank: int, *, captured: float = 1.0) -> Influence:
    """LASER, both factors in one message, energy P / 2 each.

    With one device (or K equal gradients, SNR times K^2): 2 r (m + n) / (m n SNR) + 4 r^2 / (m n SNR^2). The orthonormal
    factor has the same norm at all devices, so norm_ratio applies to the other one and to the product of the noises.

    Args:
        block: what is sent.
        rank: r, at most min(m, n).
        captured: fraction of the squared norm in the rank-r approximation.
    """
    r, noise, ratio = _rank(block, rank), block.noise, block.norm_ratio
    check_share("captured", captured)
    linear = 2 * r * (block.m + block.n * ratio) / block.d * noise
    return Influence(1 - captured, captured * (linear + 4 * r**2 / block.d * ratio * noise**2), True, PARALLEL)


def jacobi_factors(block: OneBlock, rank: int, *, regulariser: float = 0.0, captured: float = 1.0) -> Influence:
    """Ota-LC, both factors in one message, energy P / 2 each, the known factors spanning what they capture.

    r equal singular values: compression 1 - captured + captured (rho / (1 + rho))^2 for the regulariser rho, channel
    captured r (m + n) / (2 m n (1 + rho)^2) of Z-SGD's. Unequal ones s have (sum s)^2 / sum s^2 <= r in place of r.

    Args:
        block: what is sent.
        rank: r, at most min(m, n).
        regulariser: rho >= 0, a fraction of the factors' mean square singular value.
        captured: fraction of the squared norm in the rank-r approximation.
    """
    r, kept = _rank(block, rank), 1 / (1 + regulariser)
    check_share("captured", captured)
    channel = captured * kept**2 * r * (block.m + block.n) / (2 * block.d) * block.norm_ratio * block.noise
    return Influence(1 - captured + captured * (1 - kept) ** 2, channel, True, f"{PARALLEL}; equal singular values")


def precoded(block: OneBlock, rank: int, *, precoding: float = 0.5, captured: float = 1.0) -> Influence:
    """Spectral precoding: (sum_i n_i s_i^(2 p)) (sum_i n_i s_i^(2 - 2 p)) for symbols of rms s_i, over that of equal s_i.

    The shorter side (a of a x b) has r known directions of equal energy, and all others together the rest: rms
    s^2 = captured / (b r) and s_0^2 = (1 - captured) / (b (a - r)). Least for p = 1/2, (sum_i n_i s_i)^2. Unbiased.

    Args:
        block: what is sent.
        rank: r, at most min(m, n); 0 for one amplitude.
        precoding: p in [0, 1], amplitudes are rms^-p.
        captured: fraction of the squared norm along the r directions.
    """
    a, b = sorted((block.m, block.n))
    r = min(rank, a)
    if r in (0, a):
        return Influence(0.0, block.norm_ratio * block.noise, True, "none")
    check_share("captured", captured)
    counts, energies = np.array([b * r, b * (a - r)]), np.array([captured, 1 - captured])
    rms = np.sqrt(energies / counts)
    noise = counts @ rms ** (2 * precoding) * (counts @ rms ** (2 - 2 * precoding)) / block.d
    return Influence(
        0.0, float(noise) * block.norm_ratio * block.noise, True, "known directions of equal energy, equal norms"
    )


def bound_of_the_paper(block: OneBlock, rank: int) -> float:
    """LASER's (4 r / (m SNR)) (1 + r / (n SNR)), m the smaller side; an upper bound on the channel part of `both_factors`.

    The paper states rank 1 and one device; here SNR is times K^2 and divided by norm_ratio, and r components share P.
    """
    r, noise = _rank(block, rank), block.noise * block.norm_ratio
    m, n = sorted((block.m, block.n))
    return 4 * r / m * noise * (1 + r / n * noise)


def random_k(block: OneBlock, fraction: float, *, rescale: bool = False) -> Influence:
    """Random-K, k = max(1, floor(fraction d)) places drawn anew: compression 1 - k/d, channel (k/d)^2 of Z-SGD's.

    The k values hold k/d of the energy on average, and k of d places are noisy. With the factor d/k (rescale) the estimate
    is unbiased over the places, compression d/k - 1, and the channel part is Z-SGD's.
    """
    share = portion(fraction, block.d) / block.d
    if rescale:
        return Influence(1 / share - 1, block.norm_ratio * block.noise, True, PARALLEL)
    return Influence(1 - share, share**2 * block.norm_ratio * block.noise, True, PARALLEL)


def count_sketch(block: OneBlock, num_buckets: int, *, rows: int = 1, divide_by_count: bool = False) -> Influence:
    """Count sketch, hashes and signs drawn anew, rows averaged.

    Plain: collisions (d - 1) / (rows s), s buckets in each row; the channel part is Z-SGD's, for any s and rows: the message
    has rows times the gradient's energy on average, and averaging rows divides the noise by as much. Divided by the bucket's
    count (one row): decoding is an orthogonal projection, compression 1 - (s/d) (1 - (1 - 1/s)^d), and the channel part is
    s E[1{n > 0} / n] / d of Z-SGD's, with n ~ Binomial(d, 1/s).

    Args:
        block: what is sent.
        num_buckets: s of each row.
        rows: independent sketches in the message.
        divide_by_count: whether a bucket's value is divided by the number of entries in it.
    """
    d, s = block.d, num_buckets
    if s < 1 or rows < 1:
        raise ValueError(f"num_buckets and rows must be >= 1, got {s} and {rows}")
    noise = block.norm_ratio * block.noise
    if not divide_by_count:
        return Influence((d - 1) / (rows * s), noise, True, PARALLEL)
    if rows > 1:
        return Influence(math.nan, math.nan, False, "no closed form for several rows with division by counts")
    delta = s / d * -math.expm1(d * math.log1p(-1 / s)) if s > 1 else 1 / d
    return Influence(1 - delta, s / d * inverse_count(d, s) * noise, True, PARALLEL)


def inverse_count(d: int, num_buckets: int) -> float:
    """E[1{n > 0} / n] for the number n ~ Binomial(d, 1/s) of entries in a bucket; = sum_i (q^(d-i) - q^d) / i, q = 1 - 1/s.

    Summed over n, which needs no more terms than a bucket can plausibly hold: the rest is below rounding.
    """
    mean = d / num_buckets
    n = np.arange(1, min(d, math.ceil(mean + 40 * math.sqrt(mean) + 80)) + 1)
    return float((binom.pmf(n, d, 1 / num_buckets) / n).sum())


def _rank(block: OneBlock, rank: int) -> int:
    if not 1 <= rank <= min(block.m, block.n):
        raise ValueError(f"rank must lie between 1 and min(m, n) = {min(block.m, block.n)}, got {rank}")
    return rank
