"""Influence factors of signs, and the error of a majority vote after noise. See `one_block` for the model."""

from __future__ import annotations

import math
from statistics import NormalDist

from laser_wireless.benchmarks.theory.one_block import PARALLEL, Influence, OneBlock, check_share

GAUSSIAN_FLATNESS = 2 / math.pi
"""||g||_1^2 / (d ||g||_2^2) of a long vector of independent Gaussian entries."""


def vote_error(mean_sign: float, noise_std: float) -> float:
    """Probability Phi(-|s| / tau) that the sign of s + tau z is not that of s, for the mean s of the devices' signs.

    The vote itself has mean 2 Phi(s / tau) - 1 and variance 1 minus its square.
    """
    if noise_std == 0:
        return 0.0 if mean_sign else 0.5
    return NormalDist().cdf(-abs(mean_sign) / noise_std)


def sign_vote(block: OneBlock, *, flatness: float = GAUSSIAN_FLATNESS) -> Influence:
    """Signum with majority vote, every device sending the same signs: tau = 1 / (K sqrt(SNR)), bit error p = Phi(-1/tau).

    A sign has no length: the decoded +-1 are compared with the gradient at their best noiseless scale ||g||_1 / d. Then
    compression is 1 - flatness and the channel adds 4 p flatness. Against the signs themselves lambda is 4 p.

    Args:
        block: what is sent; norm_ratio plays no part, since signs have one norm.
        flatness: ||g||_1^2 / (d ||g||_2^2), 2/pi for Gaussian entries.
    """
    check_share("flatness", flatness)
    p = vote_error(1.0, math.sqrt(block.noise))
    return Influence(
        1 - flatness,
        4 * p * flatness,
        True,
        "equal signs at all devices; decoded signs times ||g||_1 / d; the flatness given",
    )


def sign_mean(block: OneBlock, *, flatness: float = GAUSSIAN_FLATNESS) -> Influence:
    """Mean of signs times ||g_k||_1 / d, without a vote: compression 1 - flatness, channel flatness of Z-SGD's.

    Args:
        block: what is sent.
        flatness: as in `sign_vote`.
    """
    check_share("flatness", flatness)
    channel = flatness * block.norm_ratio * block.noise
    return Influence(1 - flatness, channel, True, f"{PARALLEL}; the flatness given")
