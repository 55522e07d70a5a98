"""What is known in closed form of a model of fading: distribution of |h|, correlation over time and over frequency.

Every law here has E|h|^2 = 1 and a phase that is uniform, but for `NoFading`. R(tau) = E[h(t + tau) h*(t)] and
R(df) = E[h(f + df) h*(f)]; both are 1 at 0. A function returns None where the model, or its closed form, is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma, j0
from scipy.stats import gamma as gamma_law
from scipy.stats import ncx2

from laser_wireless.benchmarks.theory.own_law import density_of, mean_power_squared, own_survival
from laser_wireless.channels.fading.alpha_mu import AlphaMu, Nakagami, Weibull, as_alpha_mu
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.correlated import GaussMarkov, Jakes
from laser_wireless.channels.fading.correlated_law import CorrelatedLaw
from laser_wireless.channels.fading.draws import as_fading
from laser_wireless.channels.fading.laws import NoFading, Rayleigh, Rician
from laser_wireless.channels.propagation.delay_profiles import DelayProfile, from_table
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.sionna_paths import SionnaTdl
from laser_wireless.channels.propagation.tapped_delay import TappedDelayLine, doppler_of_speed
from laser_wireless.channels.segments import Grid

Array = NDArray[np.float64]
_LINE_OF_SIGHT_DOPPLER = 0.7  # of a tapped delay line, over its largest Doppler shift


@dataclass(frozen=True)
class Envelope:
    """Distribution of a gain.

    density: of |h|, at r >= 0.
    survival: P(|h|^2 > x).
    power_variance: Var |h|^2.
    k_factor: power of the line of sight over that of the scattered part; None where the law has no such parameter.
    """

    density: Callable[[Array], Array]
    survival: Callable[[Array], Array]
    power_variance: float
    k_factor: float | None


def envelope(fading: FadingModel) -> Envelope | None:
    """The law of |h|; of a sum of sinusoids its limit for many of them, of a law of one's own what it brings."""
    if (own := own_survival(fading)) is not None:
        return Envelope(density_of(own), own, mean_power_squared(own) - 1, None)
    fading = as_fading(fading)
    if isinstance(fading, CorrelatedLaw):
        return envelope(fading.law)
    k_factor = k_factor_of(fading)
    if k_factor is not None:
        return _rice(k_factor)
    law = as_alpha_mu(fading)
    return None if law is None else _alpha_mu(law)


def k_factor_of(fading: FadingModel) -> float | None:
    """Rice's K of a law that has one, 0 of Rayleigh fading."""
    if isinstance(fading, Rayleigh):
        return 0.0
    if isinstance(fading, Rician | GaussMarkov | Jakes):
        return fading.k_factor
    profile = delay_profile(fading)
    return None if profile is None else profile.line_of_sight / (1 - profile.line_of_sight)


def delay_profile(fading: FadingModel) -> DelayProfile | None:
    """Delays in seconds and mean powers of the paths, where the model has fixed ones."""
    fading = as_fading(fading)
    if not isinstance(fading, Multipath):
        return None
    if isinstance(fading.paths, TappedDelayLine):
        return fading.paths.delay_profile
    if isinstance(fading.paths, SionnaTdl) and fading.paths.profile in ("A", "B", "C", "D", "E"):
        return from_table(fading.paths.profile).scaled(fading.paths.delay_spread_s)
    return None


def time_correlation(fading: FadingModel, grid: Grid, rounds: Array, slots: Array) -> NDArray[np.complex128] | None:
    """R over so many rounds and slots; lags are whole numbers >= 0, one of the two arrays is 0."""
    fading, same_round = as_fading(fading), rounds == 0
    if isinstance(fading, NoFading):
        return np.ones(len(rounds), dtype=complex)
    if isinstance(fading, Rician):  # the line of sight keeps its phase within the round
        line = fading.k_factor / (fading.k_factor + 1)
        return np.where(same_round, np.where(slots == 0, 1, line), 0).astype(np.complex128)
    if isinstance(fading, Rayleigh | AlphaMu | Nakagami | Weibull):
        return (same_round & (slots == 0)).astype(np.complex128)
    if isinstance(fading, Jakes):
        elapsed = rounds * fading.round_interval_s + slots * (grid.slot_s or 0.0)
        return _mean_over_devices(fading.doppler_hz, lambda doppler: j0(2 * math.pi * doppler * elapsed))
    if isinstance(fading, GaussMarkov):
        return _gauss_markov(fading, grid, rounds, slots)
    profile = delay_profile(fading)
    if profile is not None and isinstance(fading, Multipath):
        return _tapped(fading.paths, profile, grid, rounds, slots)
    return None


def frequency_correlation(fading: FadingModel, lags: Array, block_hz: float) -> NDArray[np.complex128] | None:
    """R over so many frequency blocks of block_hz each; lags are whole numbers >= 0."""
    fading = as_fading(fading)
    profile = delay_profile(fading)
    if isinstance(fading, NoFading) or (isinstance(fading, Multipath) and fading.frequency == "flat"):
        return np.ones(len(lags), dtype=complex)
    if profile is not None:
        return response_of(profile, lags * block_hz)
    k_factor = k_factor_of(fading)
    if k_factor is None and not isinstance(fading, AlphaMu | Nakagami | Weibull):
        return None
    line = 0.0 if k_factor is None else k_factor / (k_factor + 1)  # scattered parts are drawn for each block
    return np.where(lags == 0, 1, line).astype(np.complex128)


def response_of(profile: DelayProfile, offsets_hz: Array) -> NDArray[np.complex128]:
    """Fourier transform of a power delay profile: sum_p p_p e^{-j 2 pi df tau_p}."""
    powers, delays = mean_powers(profile)
    return np.exp(-2j * math.pi * np.outer(offsets_hz, delays)) @ powers


def mean_powers(profile: DelayProfile) -> tuple[Array, Array]:
    """Mean powers, the line of sight within the first path, and delays in seconds."""
    powers = np.array(profile.powers)
    powers[0] += profile.line_of_sight
    return powers, np.array(profile.delays)


def interval_of_rounds(fading: FadingModel) -> float | None:
    """Seconds from the start of one round to the start of the next, None where the model knows no time between rounds."""
    for part in (fading, getattr(fading, "paths", None), getattr(fading, "process", None)):
        interval = getattr(part, "round_interval_s", None)
        if interval is not None and math.isfinite(interval):
            return float(interval)
    return None


def _rice(k: float) -> Envelope:
    """|h|^2 with 2 (k + 1) |h|^2 ~ noncentral chi-square of two degrees of freedom and noncentrality 2 k."""

    def density(r: Array) -> Array:
        if k == 0:
            return 2 * r * np.exp(-(r**2))
        return 4 * (k + 1) * r * ncx2.pdf(2 * (k + 1) * r**2, 2, 2 * k)

    def survival(x: Array) -> Array:
        return np.exp(-x) if k == 0 else ncx2.sf(2 * (k + 1) * x, 2, 2 * k)

    return Envelope(density, survival, 1 - (k / (k + 1)) ** 2, k)


def _alpha_mu(law: AlphaMu) -> Envelope:
    """|h|^alpha is Gamma distributed with shape mu."""
    c = law.scale ** (-law.alpha / 2)  # c r^alpha ~ Gamma(mu, 1)

    def density(r: Array) -> Array:
        return gamma_law.pdf(c * r**law.alpha, law.mu) * c * law.alpha * r ** (law.alpha - 1)

    def survival(x: Array) -> Array:
        return gamma_law.sf(c * x ** (law.alpha / 2), law.mu)

    fourth = gamma(law.mu + 4 / law.alpha) * gamma(law.mu) / gamma(law.mu + 2 / law.alpha) ** 2
    return Envelope(density, survival, float(fourth) - 1, None)


def _gauss_markov(fading: GaussMarkov, grid: Grid, rounds: Array, slots: Array) -> NDArray[np.complex128]:
    line = fading.k_factor / (fading.k_factor + 1)

    def scattered(between: float, within: float) -> Array:
        return (between * within ** (grid.num_slots - 1)) ** rounds * within**slots

    if fading.doppler_hz is None:
        within = 1.0 if fading.slot_correlation is None else fading.slot_correlation
        return line + (1 - line) * scattered(fading.correlation or 0.0, within).astype(np.complex128)
    slot_s = grid.slot_s or 0.0
    gap_s = (fading.round_interval_s or 0.0) - (grid.num_slots - 1) * slot_s

    def of_doppler(doppler: float) -> Array:
        return scattered(float(j0(2 * math.pi * doppler * gap_s)), float(j0(2 * math.pi * doppler * slot_s)))

    return line + (1 - line) * _mean_over_devices(fading.doppler_hz, of_doppler)


def _tapped(paths: object, profile: DelayProfile, grid: Grid, rounds: Array, slots: Array) -> NDArray[np.complex128] | None:
    in_round = slots * (grid.slot_s or 0.0)
    afresh = rounds > 0  # drawn anew in each round
    if isinstance(paths, TappedDelayLine):
        interval = paths.round_interval_s or 0.0
        afresh &= math.isinf(interval)
        elapsed = in_round + (0 if math.isinf(interval) else rounds * interval)
        doppler_hz: float | list[float] = paths.doppler_hz
    elif isinstance(paths, SionnaTdl) and not profile.line_of_sight and paths.max_speed_m_s in (None, paths.min_speed_m_s):
        elapsed, doppler_hz = in_round, doppler_of_speed(speed_m_s=paths.min_speed_m_s, carrier_hz=paths.carrier_hz)
    else:
        return None

    def of_doppler(doppler: float) -> NDArray[np.complex128]:
        direct = np.exp(2j * math.pi * _LINE_OF_SIGHT_DOPPLER * doppler * elapsed)
        return (1 - profile.line_of_sight) * j0(2 * math.pi * doppler * elapsed) + profile.line_of_sight * direct

    return np.where(afresh, 0, _mean_over_devices(doppler_hz, of_doppler))


def _mean_over_devices(
    doppler_hz: float | list[float], rule: Callable[[float], Array | NDArray[np.complex128]]
) -> NDArray[np.complex128]:
    values = doppler_hz if isinstance(doppler_hz, list | tuple) else [doppler_hz]
    return np.mean([rule(doppler) for doppler in values], axis=0).astype(np.complex128)
