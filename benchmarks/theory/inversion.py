"""Mean-square error and silence of channel inversion over fading, in closed form or as a one-dimensional integral."""

from __future__ import annotations

import math
from collections.abc import Callable

from laser_wireless.channels import AlignedInversion, Fading, NoFading, PowerControl, Rayleigh, Rician, TruncatedInversion
from scipy.integrate import quad
from scipy.stats import binom, ncx2


def survival(fading: Fading) -> Callable[[float], float] | None:
    """P(|h|^2 > x) of a known law, None of an unknown one."""
    if isinstance(fading, NoFading):
        return lambda x: float(x < 1)
    if isinstance(fading, Rayleigh):
        return lambda x: math.exp(-x)
    if isinstance(fading, Rician):
        k = fading.k_factor
        return lambda x: float(ncx2.sf(2 * (k + 1) * x, 2, 2 * k)) if k else math.exp(-x)
    return None


def silence(fading: Fading, power_control: PowerControl) -> float:
    """Probability that a device is silent; NaN where the law is not known."""
    beyond, threshold = survival(fading), inversion_threshold(power_control)
    return math.nan if beyond is None or threshold is None else 1 - beyond(threshold) if threshold else 0.0


def inversion_threshold(power_control: PowerControl) -> float | None:
    """Threshold on |h|^2 of an inverting policy, None of another one."""
    if isinstance(power_control, TruncatedInversion):
        return power_control.threshold
    return 0.0 if isinstance(power_control, AlignedInversion) else None


def inversion_mse(fading: Fading, power_control: PowerControl, num_devices: int, snr: float) -> float:
    """Mean-square error per symbol of the estimated mean, over noise, fading and messages; in units of sigma^2 = 1.

    K devices send independent messages of unit variance per symbol and equal norm, with one gain per device and round.
    Given m active devices (binomial), the noise contributes 1/SNR E[1 / min |h|^2] / m^2, the minimum over the active, and
    taking the mean of m for that of K contributes 1/m - 1/K; with no active device the estimate is 0 and the error 1/K.

    Returns:
        the error, relative to the variance of one message's symbols; inf where E[1 / min |h|^2] diverges (Rayleigh
        without threshold), NaN where the law or the policy is not known.
    """
    beyond, threshold = survival(fading), inversion_threshold(power_control)
    if beyond is None or threshold is None:
        return math.nan
    active = beyond(threshold) if threshold else 1.0
    total = 0.0
    for m in range(num_devices + 1):
        weight = float(binom.pmf(m, num_devices, active))
        if weight and m:
            total += weight * (_inverse_of_minimum(beyond, threshold, active, m) / (snr * m**2) + 1 / m - 1 / num_devices)
        elif weight:
            total += weight / num_devices
    return total


def _inverse_of_minimum(beyond: Callable[[float], float], threshold: float, active: float, m: int) -> float:
    """E[1 / min of m] of |h|^2 given |h|^2 >= threshold; from E[1/X] = 1/t - integral over x > t of P(X > x) / x^2."""
    if beyond(0.5) == 1.0 and beyond(1.5) == 0.0:
        return 1.0  # no fading
    if threshold == 0:
        return math.inf  # the density of |h|^2 at 0 is positive under Rayleigh and Rician fading
    tail, _ = quad(lambda x: (beyond(x) / active) ** m / x**2, threshold, math.inf, limit=200)
    return 1 / threshold - tail
