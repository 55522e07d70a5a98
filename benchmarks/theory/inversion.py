"""Mean-square error and silence of channel inversion over fading, in closed form or as a one-dimensional integral."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from scipy.integrate import quad
from scipy.special import gammaincc, gammaincinv, gammaln
from scipy.stats import binom, ncx2

from laser_wireless.benchmarks.theory.own_law import HasSurvival, inverse_of_least, own_survival
from laser_wireless.channels import AlignedInversion, NoFading, PowerControl, Rician, TruncatedInversion
from laser_wireless.channels.fading.alpha_mu import AlphaMu, as_alpha_mu
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.correlated import GaussMarkov, Jakes
from laser_wireless.channels.fading.correlated_law import CorrelatedLaw

_Law: TypeAlias = NoFading | AlphaMu | Rician


def survival(fading: FadingModel) -> Callable[[float], float] | None:
    """P(|h|^2 > x) of a known law, of any one round's gains, or of one that brings its own; None of an unknown one.

    `Jakes` counts as its limit of many sinusoids.
    """
    if (own := own_survival(fading)) is not None:
        return lambda x: float(own(np.array(x)))
    law = _law(fading)
    if isinstance(law, NoFading):
        return lambda x: float(x < 1)
    if isinstance(law, AlphaMu):
        if law == AlphaMu():
            return lambda x: math.exp(-x)
        alpha, mu, scale = law.alpha, law.mu, law.scale
        return lambda x: float(gammaincc(mu, (x / scale) ** (alpha / 2)))
    if isinstance(law, Rician):
        k = law.k_factor
        return lambda x: float(ncx2.sf(2 * (k + 1) * x, 2, 2 * k))
    return None


def _law(fading: FadingModel) -> _Law | None:
    """The law of one gain, where the library knows it; None of one that brings its own survival function."""
    if isinstance(fading, HasSurvival):
        return None
    if isinstance(fading, CorrelatedLaw):
        return as_alpha_mu(fading.law)
    if isinstance(fading, GaussMarkov | Jakes):
        return _law(Rician(k_factor=fading.k_factor))
    if isinstance(fading, Rician):
        return fading if fading.k_factor else AlphaMu()
    return fading if isinstance(fading, NoFading) else as_alpha_mu(fading)


def silence(fading: FadingModel, power_control: PowerControl) -> float:
    """Probability that a device is silent; NaN where the law is not known."""
    beyond, threshold = survival(fading), inversion_threshold(power_control)
    return math.nan if beyond is None or threshold is None else 1 - beyond(threshold) if threshold else 0.0


def inversion_threshold(power_control: PowerControl) -> float | None:
    """Threshold on |h|^2 of an inverting policy, None of another one."""
    if isinstance(power_control, TruncatedInversion):
        return power_control.threshold
    return 0.0 if isinstance(power_control, AlignedInversion) else None


def inversion_mse(fading: FadingModel, power_control: PowerControl, num_devices: int, snr: float) -> float:
    """Mean-square error per symbol of the estimated mean, over noise, fading and messages; in units of sigma^2 = 1.

    K devices send independent messages of unit variance per symbol and equal norm, with one gain per device and round.
    Given m active devices (binomial), the noise contributes 1/SNR E[1 / min |h|^2] / m^2, the minimum over the active, and
    taking the mean of m for that of K contributes 1/m - 1/K; with no active device the estimate is 0 and the error 1/K.

    Returns:
        the error, relative to the variance of one message's symbols; inf where E[1 / min |h|^2] diverges (Rayleigh
        and Rice without threshold; Nakagami with m <= 1), NaN where the law or the policy is not known.
    """
    beyond, threshold = survival(fading), inversion_threshold(power_control)
    if beyond is None or threshold is None:
        return math.nan
    law, active = _law(fading), beyond(threshold) if threshold else 1.0
    total = 0.0
    for m in range(num_devices + 1):
        weight = float(binom.pmf(m, num_devices, active))
        if weight and m:
            total += weight * (_inverse_of_minimum(law, beyond, threshold, m) / (snr * m**2) + 1 / m - 1 / num_devices)
        elif weight:
            total += weight / num_devices
    return total


def _inverse_of_minimum(law: _Law | None, beyond: Callable[[float], float], threshold: float, m: int) -> float:
    """E[1 / min of m] of |h|^2 given |h|^2 >= threshold; from E[1/X] = 1/t - integral over x > t of P(X > x) / x^2."""
    if isinstance(law, NoFading):
        return 1.0
    if threshold == 0 and law is None:
        return inverse_of_least(beyond, m)
    if threshold == 0:
        return _inverse_of_least(law, m) if isinstance(law, AlphaMu) else math.inf  # Rice: a density > 0 at 0
    active = beyond(threshold)
    pieces = [threshold, *(x for x in (0.25, 1.0, 4.0, 16.0) if x > threshold), math.inf]
    tail = sum(quad(lambda x: (beyond(x) / active) ** m / x**2, start, end, limit=200)[0] for start, end in pairwise(pieces))
    return 1 / threshold - tail


def _inverse_of_least(law: AlphaMu, m: int) -> float:
    """E[1 / min of m] of |h|^2 = s G^(2/alpha), G ~ Gamma(mu, 1): finite if and only if alpha mu / 2 > 1, for any m.

    With Q = P(G > g), the least G has density m Q^(m-1) times that of G, and g^(-2/alpha) times the density of Gamma(mu) is
    that of Gamma(nu), nu = mu - 2/alpha, up to a factor: E[1 / min] = Gamma(nu) / (s Gamma(mu)) E[m Q(G')^(m-1)] with
    G' ~ Gamma(nu, 1). For m = 1 and Nakagami this is m / (m - 1), m being Nakagami's.
    """
    nu = law.mu - 2 / law.alpha
    if nu <= 0:
        return math.inf
    factor = math.exp(gammaln(nu) - gammaln(law.mu)) / law.scale
    if m == 1:
        return factor

    def integrand(v: float) -> float:  # v^2 = P(G' <= g'), which spreads out the least values
        return float(2 * v * m * gammaincc(law.mu, gammaincinv(nu, v * v)) ** (m - 1))

    return factor * quad(integrand, 0, 1, limit=400)[0]
