"""Closed forms of one round or one link, written apart from the code that they check, in NumPy and SciPy.

snr of a digital link is the mean SNR of a complex channel use, P / (2 sigma^2 n) for energy P over n complex channel uses.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import exp1

from laser_wireless.benchmarks.theory.inversion import inversion_threshold
from laser_wireless.benchmarks.theory.signs import vote_error
from laser_wireless.channels.power_control.contract import PowerControl
from laser_wireless.channels.power_control.full_power import FullPower
from laser_wireless.channels.power_control.inversion import TimeVaryingPrecoding
from laser_wireless.channels.power_control.optimal import MseOptimal, RegularisedInversion

Array = NDArray[np.float64]


def conditional_mse(
    power_control: PowerControl, gains: ArrayLike, norms: ArrayLike, energy: ArrayLike, noise_energy: float
) -> float:
    """Expected squared error given the gains, of one block in one coherence block, one receive antenna.

    Args:
        power_control: the rule; devices have path gain 1 and the oracle's common amplitude.
        gains: complex [K], h_k.
        norms: [K], ||u_k|| > 0.
        energy: [K], P_k > 0.
        noise_energy: sigma^2 N > 0.

    Returns:
        E||estimate - mean||^2, summed over the symbols; NaN for a rule that is not known.
    """
    h = np.asarray(gains)
    nu = np.asarray(norms, dtype=float) ** 2
    most = np.abs(h) * np.sqrt(np.asarray(energy) / nu)  # amplitude with which a device can arrive
    if isinstance(power_control, MseOptimal):
        return _threshold_mse(most, nu, noise_energy)
    if isinstance(power_control, FullPower) and power_control.scale == "least_error":
        arriving = most if power_control.phase else most * np.exp(1j * np.angle(h))
        return _least_error(arriving, nu, noise_energy)
    if isinstance(power_control, RegularisedInversion):
        soft = np.abs(h) ** 2 / (np.abs(h) ** 2 + power_control.regulariser)
        return _least_error(soft * np.min(most / soft), nu, noise_energy)
    threshold = (
        power_control.threshold if isinstance(power_control, TimeVaryingPrecoding) else inversion_threshold(power_control)
    )
    if threshold is None:
        return math.nan
    active = np.abs(h) ** 2 >= threshold
    if not active.any():
        return float(nu.sum() / len(nu) ** 2)
    if isinstance(power_control, TimeVaryingPrecoding):
        amplitude = float(np.min(np.sqrt(threshold * np.asarray(energy) / nu)))
    else:
        amplitude = float(np.min(most[active]))
    m, k = active.sum(), len(nu)
    bias = nu[active].sum() * (1 / m - 1 / k) ** 2 + nu[~active].sum() / k**2
    return float(bias + noise_energy / (amplitude * m) ** 2)


def _least_error(arriving: NDArray[np.generic], nu: Array, noise_energy: float) -> float:
    """Error at the best real scale >= 0: what was wanted less what is explained."""
    k = len(nu)
    wanted = max(float((np.real(arriving) * nu).sum()) / k, 0.0)
    return float(nu.sum() / k**2 - wanted**2 / ((np.abs(arriving) ** 2 * nu).sum() + noise_energy))


def _threshold_mse(most: Array, nu: Array, noise_energy: float) -> float:
    """Least error over all splits of the sorted devices into those at full power and those that invert."""
    order = np.argsort(most)
    most, nu, k = most[order], nu[order], len(nu)
    level = np.min((noise_energy + np.cumsum(nu * most**2)) / np.cumsum(nu * most))
    return float((nu * np.maximum(0, 1 - most / level) ** 2).sum() / k**2 + noise_energy / (k * level) ** 2)


def conditional_lmmse_mse(arriving: ArrayLike, power: ArrayLike, noise_variance: float) -> float:
    """Error per symbol of `Lmmse` given what arrives: sum_k p_k / K^2 - r^H C^-1 r, of one segment.

    C = sum_k p_k a_k a_k^H + sigma^2 I and r = sum_k p_k a_k / K.

    Args:
        arriving: complex [K, N_r], a_k = h_k b_k.
        power: [K], p_k, mean square of a real symbol.
        noise_variance: sigma^2 > 0 per real symbol.
    """
    a, p = np.asarray(arriving), np.asarray(power, dtype=float)
    k = len(p)
    covariance = np.einsum("k,km,kn->mn", p, a, a.conj()) + noise_variance * np.eye(a.shape[1])
    r = (p[:, None] * a).sum(0) / k
    return float(p.sum() / k**2 - np.real(r.conj() @ np.linalg.solve(covariance, r)))


def vote_mean(mean_sign: float, noise_std: float) -> float:
    """Mean 2 Phi(s / tau) - 1 of the sign of s + tau z."""
    return math.copysign(1 - 2 * vote_error(mean_sign, noise_std), mean_sign)


def image_rejection_ratio(amplitude_db: float, phase_rad: float) -> float:
    """|mu|^2 / |nu|^2 = (1 + 2 g cos phi + g^2) / (1 - 2 g cos phi + g^2), linear; infinite for a perfect mixer."""
    g = 10 ** (amplitude_db / 20)
    image = 1 - 2 * g * math.cos(phase_rad) + g * g
    return (1 + 2 * g * math.cos(phase_rad) + g * g) / image if image > 0 else math.inf


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


def energy_difference_moments(
    arriving: ArrayLike, noise_variance: float, *, num_chips: int = 1, kurtosis: float = 2.0, same_gain: bool = False
) -> tuple[float, float]:
    """Mean and variance of sum_l |y+_l|^2 - |y-_l|^2 over L chips, of one entry.

    y is a sum of K waves at independent phases and of noise CN(0, 2 sigma^2). Given powers g_k and G = sum_k g_k on a
    channel use, |y|^2 has mean G + 2 sigma^2 and variance (G + 2 sigma^2)^2 - sum_k g_k^2; E g_k^2 = kurtosis a_k^2 / L^2.
    Under Rayleigh fading (kurtosis 2) with gains of their own for each chip: (A+^2 + A-^2) / L + 4 sigma^2 A + 8 L sigma^4,
    as in Chen, Bozorgasl, arXiv:2605.07263.

    Args:
        arriving: [K], mean energy a_k with which each device's entry arrives over all chips, with the entry's sign.
        noise_variance: sigma^2 per real symbol.
        num_chips: L.
        kurtosis: E|h|^4 for E|h|^2 = 1.
        same_gain: whether a device's gain is the same on all chips.
    """
    a = np.asarray(arriving, dtype=float)
    noise = 2 * noise_variance
    variance = 0.0
    for part in (a[a > 0], -a[a < 0]):
        total, squares = part.sum(), (part**2).sum()
        of_phases = total**2 / num_chips + 2 * total * noise + num_chips * noise**2
        of_gains = kurtosis - 1 - 1 / num_chips if same_gain else (kurtosis - 2) / num_chips
        variance += float(of_phases + of_gains * squares)
    return float(a.sum()), variance


def energy_difference_cumulants(
    arriving: ArrayLike, noise_variance: float, *, num_chips: int = 1, power_moments: ArrayLike = (1, 1, 2, 6, 24)
) -> tuple[float, float]:
    """Second and fourth cumulant of the same sum, each chip with gains of its own, from the moments of |y|^2.

    For independent circular z, w: E|z + w|^(2n) = sum_j C(n, j)^2 E|z|^(2j) E|w|^(2n - 2j).

    Args:
        arriving, noise_variance, num_chips: as for `energy_difference_moments`.
        power_moments: E|h|^(2n) for n = 0 to 4; of Rayleigh fading n!.
    """
    a, second, fourth = np.asarray(arriving, dtype=float) / num_chips, 0.0, 0.0
    orders = np.arange(5)
    factorials = np.array([1.0, 1.0, 2.0, 6.0, 24.0])
    for part in (a[a > 0], -a[a < 0]):
        m = factorials * (2 * noise_variance) ** orders  # E|n|^(2n)
        for power in part:
            z = np.asarray(power_moments) * power**orders
            m = np.array([sum(math.comb(n, j) ** 2 * m[j] * z[n - j] for j in range(n + 1)) for n in orders])
        central = m[2] - m[1] ** 2
        second += num_chips * central
        fourth += num_chips * (m[4] - 4 * m[3] * m[1] + 6 * m[2] * m[1] ** 2 - 3 * m[1] ** 4 - 3 * central**2)
    return second, fourth


def outage_probability(rate: float, snr: float) -> float:
    """Chance that a Rayleigh link does not carry `rate` bits per complex channel use: 1 - exp(-(2^rate - 1) / snr)."""
    return -math.expm1(-math.expm1(rate * math.log(2)) / snr)


def ergodic_capacity(snr: float) -> float:
    """Mean of log2(1 + |h|^2 snr), |h|^2 exponential with mean 1: e^(1/snr) E_1(1/snr) / ln 2, bits per channel use."""
    inverse = 1 / snr
    if inverse > 600:  # exp overflows; e^x E_1(x) = 1/x - 1/x^2 + 2/x^3 - ...
        return snr * (1 - snr + 2 * snr**2) / math.log(2)
    return math.exp(inverse) * float(exp1(inverse)) / math.log(2)


def cost_of_noise(curvature, noise, rate, rounds):
    """Mean loss that noise of this variance in every step of SGD leaves on a quadratic, per direction."""
    kept = (1 - rate * curvature) ** 2
    return 0.5 * rate**2 * curvature * noise * (1 - kept**rounds) / (1 - kept)
