"""Mean-square error of power controls on average over fading laws, where a closed form exists.

K devices send uncorrelated messages of one norm with one energy, SNR = P / (N sigma^2) for N real symbols in one block;
errors are those of the estimate of the mean of all K, per symbol, relative to the variance of a message's symbols.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import exp1
from scipy.stats import binom

from laser_wireless.benchmarks.theory.inversion import inversion_mse, survival
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.power_control.contract import PowerControl
from laser_wireless.channels.power_control.full_power import FullPower, OpenLoop
from laser_wireless.channels.power_control.inversion import TimeVaryingPrecoding
from laser_wireless.channels.power_control.optimal import MseOptimal, RegularisedInversion

Array = NDArray[np.float64]


def expected_mse(fading: FadingModel, power_control: PowerControl, num_devices: int, snr: float) -> float:
    """Mean-square error over noise, fading and messages, one receive antenna, one independent gain per device and round.

    Args:
        fading: law of the gains; phases are uniform, but for `NoFading`.
        power_control: the rule. Of `OpenLoop` without path loss, p0 and max_power are in units of the noise variance.
        num_devices: K.
        snr: linear.

    Returns:
        the error per symbol; inf where it diverges, NaN where no closed form is known.
    """
    if isinstance(power_control, OpenLoop):
        snr = min(snr, power_control.p0, power_control.max_power or math.inf)
        power_control = FullPower(phase=power_control.phase, scale=power_control.scale)
    if isinstance(power_control, FullPower):
        return _full_power(fading, power_control, num_devices, snr)
    if isinstance(power_control, MseOptimal) and isinstance(fading, NoFading):
        return _full_power(fading, FullPower(), num_devices, snr)
    if isinstance(power_control, RegularisedInversion) and isinstance(fading, NoFading):
        return _full_power(fading, FullPower(), num_devices, snr)
    if isinstance(power_control, TimeVaryingPrecoding):
        return _time_varying(fading, power_control.threshold, num_devices, snr)
    return inversion_mse(fading, power_control, num_devices, snr)


def _full_power(fading: FadingModel, power_control: FullPower, num_devices: int, snr: float) -> float:
    """(1/K) (1 - E[S^2 / (Q + 1/SNR)] / K) with S = sum |h_k|, Q = sum |h_k|^2.

    `_explained` integrates for any law. Under Rayleigh fading E[S^2 e^(-tQ)] = K (1 + (K - 1) pi/4) (1 + t)^-(K+1), and its
    Laplace transform over t gives K (1 + (K - 1) pi/4) e^c E_{K+1}(c), c = 1/SNR. Where nobody undoes the phases, S is
    max(0, Re sum h_k), and by symmetry E[S^2 e^(-tQ)] = (K/4) (1 + t)^-(K+1).
    """
    k, c = num_devices, 1 / snr
    if isinstance(fading, NoFading):
        return 1 / (k**2 * snr) if power_control.scale == "unit_sum" else c / (k * (k + c))
    beyond = survival(fading)
    if beyond is None or power_control.scale == "unit_sum":
        return math.nan
    if not is_rayleigh(fading):
        return (1 - _explained(beyond, k, c, power_control.phase) / k) / k
    coherent = 1 + (k - 1) * math.pi / 4 if power_control.phase else 1 / 4
    return (1 - coherent * scaled_exponential_integral(k + 1, c)) / k


def is_rayleigh(fading: FadingModel) -> bool:
    """Whether |h|^2 of one round is exponential with mean 1."""
    beyond = survival(fading)
    return beyond is not None and all(abs(beyond(x) - math.exp(-x)) < 1e-12 for x in (0.01, 0.5, 2.0, 5.0))


def _explained(beyond: Callable[[float], float], num_devices: int, c: float, phase: bool) -> float:
    """E[S^2 / (Q + c)] = integral over t > 0 of e^(-ct) E[S^2 e^(-tQ)], for any law of one gain r = |h|.

    The moments E[r^n e^(-t r^2)], n = 0, 1, 2, come from P(r^2 > x) by parts. Trapezoidal sums over log r and log t, where
    the integrands are smooth and vanish at both ends.
    """
    largest = 2.0
    while beyond(largest**2) > 1e-18 and largest < 1e6:
        largest *= 2
    log_r = np.linspace(math.log(1e-8), math.log(largest), 1500)
    r, t = np.exp(log_r), np.exp(np.linspace(-30, 20, 600))
    weights = np.array([beyond(x) for x in r**2]) * r * (log_r[1] - log_r[0])
    tx = np.outer(t, r**2)
    decay = np.exp(-tx)
    none = 1 - 2 * t * (decay @ (weights * r))
    one = ((1 - 2 * tx) * decay) @ weights
    two = 2 * ((1 - tx) * decay) @ (weights * r)
    k = num_devices
    square = k * two * none ** (k - 1)
    total = square + k * (k - 1) * one**2 * none ** max(k - 2, 0) if phase else square / 4
    return float((total * np.exp(-c * t) * t).sum() * math.log(t[1] / t[0]))


def _time_varying(fading: FadingModel, threshold: float, num_devices: int, snr: float) -> float:
    """m active devices, binomial: 1 / (m^2 SNR threshold) of noise and 1/m - 1/K of bias; 1/K with none."""
    beyond = survival(fading)
    if beyond is None:
        return math.nan
    active = beyond(math.nextafter(threshold, 0.0))
    m = np.arange(1, num_devices + 1)
    weights = binom.pmf(m, num_devices, active)
    of_active = (weights * (1 / (snr * threshold * m**2) + 1 / m - 1 / num_devices)).sum()
    return float(of_active + binom.pmf(0, num_devices, active) / num_devices)


def scaled_exponential_integral(order: int, x: float) -> float:
    """e^x E_n(x) = integral over t > 0 of (1 + t)^-n e^(-x t), for n >= 1, x >= 0 (n >= 2 at x = 0); safe for large x."""
    if x == 0:
        return 1 / (order - 1)
    if x < 1:  # upwards: n E_{n+1} = e^-x - x E_n, which loses no digits here
        value = math.exp(x) * float(exp1(x))
        for n in range(1, order):
            value = (1 - x * value) / n
        return value
    return _continued_fraction(order, x)


def _continued_fraction(order: int, x: float) -> float:
    """e^x E_n(x) by Lentz's method on 1/(x+n - n/(x+n+2 - 2(n+1)/(x+n+4 - ...))), Abramowitz and Stegun 5.1.22."""
    b = x + order
    c, d = math.inf, 1 / b
    value = d
    for i in range(1, 500):
        a = -i * (order - 1 + i)
        b += 2
        d = 1 / (a * d + b)
        c = b + a / c
        value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return value
