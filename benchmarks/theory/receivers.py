"""Mean-square error of receivers with N_r antennas under Rayleigh fading, devices knowing nothing of the channel.

K devices send uncorrelated messages of one norm at full power, y = a H u + n, H of N_r x K independent CN(0, 1) entries,
SNR = a^2 / sigma^2 per real symbol of unit variance. Errors are those of the estimate of the mean of all K, per symbol,
relative to the variance of a message's symbols.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy.integrate import quad
from scipy.special import eval_genlaguerre, gammaln

from laser_wireless.benchmarks.theory.power_control import expected_mse, is_rayleigh, scaled_exponential_integral
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.power_control.contract import PowerControl
from laser_wireless.channels.power_control.full_power import FullPower, OpenLoop
from laser_wireless.channels.receivers.contract import Receiver
from laser_wireless.channels.receivers.least_error import Lmmse, ZeroForcing
from laser_wireless.channels.receivers.maximum_ratio import MaximumRatio
from laser_wireless.channels.receivers.single_antenna import SingleAntenna


def receiver_mse(
    receiver: Receiver,
    fading: FadingModel,
    power_control: PowerControl,
    num_devices: int,
    num_rx_antennas: int,
    snr: float,
) -> float:
    """Mean-square error over noise, fading and messages.

    Args:
        receiver: what combines the antennas.
        fading: law of the gains, independent over devices and antennas.
        power_control: the devices' rule.
        num_devices: K.
        num_rx_antennas: N_r.
        snr: linear, at each antenna.

    Returns:
        the error; inf where it diverges, NaN where no closed form is known.
    """
    if isinstance(receiver, SingleAntenna):
        return expected_mse(fading, power_control, num_devices, snr) if num_rx_antennas == 1 else math.nan
    if isinstance(power_control, OpenLoop):
        snr = min(snr, power_control.p0, power_control.max_power or math.inf)
        power_control = FullPower(phase=power_control.phase, scale=power_control.scale)
    if not (is_rayleigh(fading) and isinstance(power_control, FullPower) and not power_control.phase):
        return math.nan
    if isinstance(receiver, Lmmse):
        return lmmse_mse(num_devices, num_rx_antennas, snr)
    if isinstance(receiver, ZeroForcing):
        return zero_forcing_mse(num_devices, num_rx_antennas, snr)
    if isinstance(receiver, MaximumRatio) and receiver.direction == "sum":
        rule = maximum_ratio_mse if power_control.scale == "least_error" else maximum_ratio_unit_sum_mse
        return rule(num_devices, num_rx_antennas, snr)
    return math.nan


def maximum_ratio_mse(num_devices: int, num_rx_antennas: int, snr: float) -> float:
    """Beam along sum_k h_k, scale of least error: (1/K) (1 - N_r e^c E_{N_r+K}(c)), c = 1/SNR.

    With z = sum_k h_k / sqrt(K), X = ||z||^2 ~ Gamma(N_r) and the cross terms G ~ Gamma(K - 1) are independent, and the
    error given the gains is (1/K) (G + c) / (X + G + c). Without noise (K - 1) / (K (N_r + K - 1)): the interference of
    K - 1 devices over N_r antennas.
    """
    c = 1 / snr
    return (1 - num_rx_antennas * scaled_exponential_integral(num_rx_antennas + num_devices, c)) / num_devices


def maximum_ratio_unit_sum_mse(num_devices: int, num_rx_antennas: int, snr: float) -> float:
    """Beam along sum_k h_k, weights that sum to one: (K - 1 + 1/SNR) / (K (N_r - 1)); infinite for one antenna."""
    if num_rx_antennas == 1:
        return math.inf
    return (num_devices - 1 + 1 / snr) / (num_devices * (num_rx_antennas - 1))


def zero_forcing_mse(num_devices: int, num_rx_antennas: int, snr: float) -> float:
    """1 / (K SNR (N_r - K)) for N_r > K, from E[(H^H H)^-1] = I / (N_r - K); infinite at N_r = K, NaN below."""
    spare = num_rx_antennas - num_devices
    if spare <= 0:
        return math.inf if spare == 0 else math.nan
    return 1 / (num_devices * snr * spare)


def lmmse_mse(num_devices: int, num_rx_antennas: int, snr: float) -> float:
    """(1/K^2) E[tr (I + SNR H^H H)^-1], an integral over the density of the Wishart eigenvalues.

    The m = min(K, N_r) positive eigenvalues have density sum over j < m of j! / (j + d)! L_j^d(x)^2 x^d e^-x, d = |N_r - K|
    (Telatar, European Transactions on Telecommunications 10(6), 1999); the K - m others are 0 and count in full.
    """
    m, d = min(num_devices, num_rx_antennas), abs(num_devices - num_rx_antennas)

    def density(x: float) -> float:
        j = np.arange(m)
        log_weight = gammaln(j + 1) - gammaln(j + d + 1) + d * math.log(x) - x
        return float((np.exp(log_weight) * eval_genlaguerre(j, d, x) ** 2).sum())

    def integrand(x: float) -> float:
        return density(x) / (1 + snr * x) if x > 0 else 0.0

    edge = (math.sqrt(num_devices) + math.sqrt(num_rx_antennas)) ** 2  # where the spectrum ends for many antennas
    near = min(1 / snr, edge)
    cuts = [0.0, near, edge, 2 * edge + 60]
    total = sum(quad(integrand, low, high, limit=400)[0] for low, high in pairwise(cuts) if high > low)
    return (num_devices - m + total) / num_devices**2
