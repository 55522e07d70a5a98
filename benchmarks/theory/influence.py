"""Channel influence factors: how far the decoded gradient lies from the one that was meant, scheme by scheme.

lambda = E||g_hat - g_mean||^2 / ||g_mean||^2, over the receiver's noise and the scheme's own draws, of one m x n gradient
(d = m n numbers) that K devices send as one block, each within energy P, at noise variance sigma^2 per real symbol.
SNR = P / (d sigma^2). Under the transmission rule of Makkuva et al. (arXiv:2310.13033) the estimate of the mean of messages
u_k carries noise of variance tau^2 = max_k ||u_k||^2 sigma^2 / (K^2 P) on each symbol. The parts for compression and channel
add up, since the noise has mean zero. With error memory, "the gradient" is memory plus gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

_NORMAL = NormalDist()
_PARALLEL = "gradients of the devices are positive multiples of one another"
_SIGNS = "equal signs at all devices; scaled by the mean magnitude; the flatness given"
GAUSSIAN_FLATNESS = 2 / math.pi
"""||g||_1^2 / (d ||g||_2^2) of a long vector of independent Gaussian entries."""


class Influence(NamedTuple):
    """A channel influence factor in its two parts.

    compression: error without noise. channel: what the noise adds. exact: whether both are equalities under `assumes`.
    """

    compression: float
    channel: float
    exact: bool
    assumes: str

    @property
    def total(self) -> float:
        """lambda."""
        return self.compression + self.channel


@dataclass(frozen=True, kw_only=True)
class OneBlock:
    """One m x n gradient of K devices over a noisy uplink without fading, the whole budget in one message.

    Args:
        m: rows, >= 1.
        n: columns, >= 1.
        energy_budget: P, energy per device and round over all symbols.
        num_devices: K.
        noise_variance: sigma^2 per real symbol.
        norm_ratio: max_k ||g_k||^2 / ||g_mean||^2, >= 1; 1 if all devices have the same gradient.
    """

    m: int
    n: int
    energy_budget: float
    num_devices: int = 1
    noise_variance: float = 1.0
    norm_ratio: float = 1.0

    def __post_init__(self) -> None:
        for name in ("m", "n", "num_devices"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not 0 < self.energy_budget < math.inf:
            raise ValueError(f"energy_budget must be finite and > 0, got {self.energy_budget}")
        if not 0 <= self.noise_variance < math.inf:
            raise ValueError(f"noise_variance must be finite and >= 0 (per real symbol), got {self.noise_variance}")
        if not 1 <= self.norm_ratio < math.inf:
            raise ValueError(f"norm_ratio must be finite and >= 1 (1 for equal gradients), got {self.norm_ratio}")

    @property
    def d(self) -> int:
        """Numbers in the gradient."""
        return self.m * self.n

    @property
    def snr(self) -> float:
        """P / (d sigma^2), linear: one device, per entry of the uncompressed gradient; inf without noise."""
        return self.energy_budget / (self.d * self.noise_variance) if self.noise_variance else math.inf

    @property
    def noise(self) -> float:
        """1 / (K^2 SNR): noise energy of the uncompressed gradient over its own, for devices with equal gradients."""
        return self.d * self.noise_variance / (self.num_devices**2 * self.energy_budget)

    def kept(self, fraction: float) -> int:
        """Symbols that a scheme sends for a fraction of the entries: max(1, floor(fraction d))."""
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
        return max(1, math.floor(fraction * self.d))


def uncompressed(block: OneBlock) -> Influence:
    """Z-SGD: norm_ratio / (K^2 SNR). Exact for any gradients."""
    return Influence(0.0, block.norm_ratio * block.noise, True, "none")


def one_factor(block: OneBlock, rank: int, *, sends: str = "columns", captured: float = 1.0) -> Influence:
    """LASER, one factor a round: (r / m) of Z-SGD's noise when the column side (r x n) is sent, r / n for the row side.

    Args:
        block: what is sent.
        rank: r, at most min(m, n).
        sends: "columns" (even rounds) or "rows".
        captured: share of the gradient's squared norm in the span of the known basis; the rest is the compression's error.
    """
    r = _rank(block, rank)
    other = {"columns": block.m, "rows": block.n}[sends]
    _check_share("captured", captured)
    return Influence(1 - captured, captured * r / other * block.norm_ratio * block.noise, True, _PARALLEL)


def both_factors(block: OneBlock, rank: int, *, captured: float = 1.0) -> Influence:
    """LASER, both factors in one message, energy P / 2 each.

    With one device (or K equal gradients, SNR times K^2): 2 r (m + n) / (m n SNR) + 4 r^2 / (m n SNR^2). The orthonormal
    factor has the same norm at all devices, so norm_ratio applies to the other one and to the product of the noises.

    Args:
        block: what is sent.
        rank: r, at most min(m, n).
        captured: share of the squared norm in the rank-r approximation.
    """
    r, noise, ratio = _rank(block, rank), block.noise, block.norm_ratio
    _check_share("captured", captured)
    linear = 2 * r * (block.m + block.n * ratio) / block.d * noise
    return Influence(1 - captured, captured * (linear + 4 * r**2 / block.d * ratio * noise**2), True, _PARALLEL)


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
    share = block.kept(fraction) / block.d
    if rescale:
        return Influence(1 / share - 1, block.norm_ratio * block.noise, True, _PARALLEL)
    return Influence(1 - share, share**2 * block.norm_ratio * block.noise, True, _PARALLEL)


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
        return Influence((d - 1) / (rows * s), noise, True, _PARALLEL)
    if rows > 1:
        return Influence(math.nan, math.nan, False, "no closed form for several rows with division by counts")
    delta = s / d * -math.expm1(d * math.log1p(-1 / s)) if s > 1 else 1 / d
    return Influence(1 - delta, s / d * inverse_count(d, s) * noise, True, _PARALLEL)


def inverse_count(d: int, num_buckets: int) -> float:
    """E[1{n > 0} / n] for the number n ~ Binomial(d, 1/s) of entries in a bucket; = sum_i (q^(d-i) - q^d) / i, q = 1 - 1/s.

    Summed over n, which needs no more terms than a bucket can plausibly hold: the rest is below rounding.
    """
    mean = d / num_buckets
    n = np.arange(1, min(d, math.ceil(mean + 40 * math.sqrt(mean) + 80)) + 1)
    return float((binom.pmf(n, d, 1 / num_buckets) / n).sum())


def vote_error(mean_sign: float, noise_std: float) -> float:
    """Probability Phi(-|s| / tau) that the sign of s + tau z is not that of s, for the mean s of the devices' signs.

    The vote itself has mean 2 Phi(s / tau) - 1 and variance 1 minus its square.
    """
    if noise_std == 0:
        return 0.0 if mean_sign else 0.5
    return _NORMAL.cdf(-abs(mean_sign) / noise_std)


def vote_mean(mean_sign: float, noise_std: float) -> float:
    """Mean 2 Phi(s / tau) - 1 of the sign of s + tau z."""
    return math.copysign(1 - 2 * vote_error(mean_sign, noise_std), mean_sign)


def sign_vote(block: OneBlock, *, flatness: float = GAUSSIAN_FLATNESS) -> Influence:
    """Signum with majority vote, every device sending the same signs: tau = 1 / (K sqrt(SNR)), bit error p = Phi(-1/tau).

    A sign has no length: the decoded +-1 are compared with the gradient at their best noiseless scale ||g||_1 / d. Then
    compression is 1 - flatness and the channel adds 4 p flatness. Against the signs themselves lambda is 4 p.

    Args:
        block: what is sent; norm_ratio plays no part, since signs have one norm.
        flatness: ||g||_1^2 / (d ||g||_2^2), 2/pi for Gaussian entries.
    """
    _check_share("flatness", flatness)
    p = vote_error(1.0, math.sqrt(block.noise))
    return Influence(1 - flatness, 4 * p * flatness, True, _SIGNS)


def sign_mean(block: OneBlock, *, flatness: float = GAUSSIAN_FLATNESS) -> Influence:
    """Mean of signs without a vote, otherwise as `sign_vote`: the channel adds flatness / (K^2 SNR)."""
    _check_share("flatness", flatness)
    return Influence(
        1 - flatness, flatness * block.noise, True, "equal signs at all devices, best noiseless scale, flatness"
    )


def top_k(block: OneBlock, fraction: float, *, captured: float | None = None) -> Influence:
    """Top-k values at places known to the receiver: compression 1 - captured, channel captured k/d of Z-SGD's.

    Args:
        block: what is sent.
        fraction: k = max(1, floor(fraction d)).
        captured: share of the squared norm in the k largest entries; if None that of Gaussian entries for large d,
            2 (t phi(t) + Phi(-t)) with 2 Phi(-t) = k/d.
    """
    share = block.kept(fraction) / block.d
    exact = captured is not None
    if captured is None:
        captured = gaussian_top_share(share)
    _check_share("captured", captured)
    assumes = _PARALLEL if exact else f"{_PARALLEL}; many Gaussian entries"
    return Influence(1 - captured, captured * share * block.norm_ratio * block.noise, exact, assumes)


def gaussian_top_share(share: float) -> float:
    """Share of the squared norm in the largest `share` of many independent Gaussian entries."""
    if share >= 1:
        return 1.0
    t = -_NORMAL.inv_cdf(share / 2)
    return 2 * (t * _NORMAL.pdf(t) + _NORMAL.cdf(-t))


def _rank(block: OneBlock, rank: int) -> int:
    if not 1 <= rank <= min(block.m, block.n):
        raise ValueError(f"rank must lie between 1 and min(m, n) = {min(block.m, block.n)}, got {rank}")
    return rank


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
