"""Closed forms under Rayleigh fading: votes by FSK, outage and mean rate of a digital link.

snr is the mean SNR of a complex channel use, P / (2 sigma^2 n) for energy P over n complex channel uses.
"""

from __future__ import annotations

import math


def vote_probability(plus: int, minus: int, symbol_energy: float, noise_variance: float) -> float:
    """Chance that an FSK vote is decided as 1 under Rayleigh fading: (K+ E + 2 sigma^2) / ((K+ + K-) E + 4 sigma^2).

    The energy of a tone for which n devices vote is exponential with mean n E + 2 sigma^2, and of two exponential variables
    with means a and b the first is the larger with probability a / (a + b). Sahin, Everette, Hoque, arXiv:2111.01850.

    Args:
        plus: K+, devices that vote 1.
        minus: K-, devices that vote -1.
        symbol_energy: E, energy of a vote.
        noise_variance: sigma^2 per real symbol.
    """
    for_plus = plus * symbol_energy + 2 * noise_variance
    for_minus = minus * symbol_energy + 2 * noise_variance
    return for_plus / (for_plus + for_minus)


def outage_probability(rate: float, snr: float) -> float:
    """Chance that a Rayleigh link does not carry `rate` bits per complex channel use: 1 - exp(-(2^rate - 1) / snr)."""
    return -math.expm1(-math.expm1(rate * math.log(2)) / snr)


def ergodic_capacity(snr: float) -> float:
    """Mean of log2(1 + |h|^2 snr), |h|^2 exponential with mean 1: e^(1/snr) E_1(1/snr) / ln 2, bits per channel use."""
    from scipy.special import exp1

    inverse = 1 / snr
    if inverse > 600:  # exp overflows; e^x E_1(x) = 1/x - 1/x^2 + 2/x^3 - ...
        return snr * (1 - snr + 2 * snr**2) / math.log(2)
    return math.exp(inverse) * float(exp1(inverse)) / math.log(2)
