"""Power amplifiers: memoryless distortion of the envelope, x' = A(|x|) e^{j (arg x + Phi(|x|))}.

All have gain 1 for small signals and never more, so no stage raises energy. The saturation is fixed by the hardware, given
relative to the device's allowed mean power (`Radio.mean_power`), never to the signal at hand: `saturation_db` is the input
back-off of a device that spends its whole budget evenly. r = |x| / A_sat with A_sat^2 = mean_power 10^(saturation_db / 10).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.hardware.impairments import Generators, Radio, check_samples
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.signals import root


@dataclass(frozen=True, kw_only=True)
@checked
class Rapp:
    """Solid-state amplifier: A(r) = A_sat r / (1 + r^(2p))^(1 / (2p)), no phase distortion.

    |x'| stays below A_sat; p -> inf is `Clipping`. Reference: Rapp, Effects of HPA-nonlinearity on a 4-DPSK/OFDM signal,
    ESA SP-332 (1991). Differentiable with respect to x; at x = 0 the gain is 1.

    Args:
        saturation_db: saturated output power over the allowed mean power, in dB.
        smoothness: p >= 0.5; 2 to 3 for common amplifiers. Smaller p has no finite slope at 0.
    """

    saturation_db: float
    smoothness: float = 2.0

    def __post_init__(self) -> None:
        _check_saturation(self.saturation_db)
        if not 0.5 <= self.smoothness < math.inf:
            raise ValueError(f"smoothness must be finite and >= 0.5, got {self.smoothness}; for infinity use Clipping")

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the amplified samples; see `Impairment`."""
        r = _drive(x, radio, self.saturation_db)
        over = r.clamp(min=1)  # powers of numbers <= 1 do not overflow
        exponent = 2 * self.smoothness
        return x * ((1 / over) ** exponent + (r / over) ** exponent) ** (-1 / exponent) / over


@dataclass(frozen=True, kw_only=True)
@checked
class Saleh:
    """Travelling-wave tube: A(r) = A_sat r / (1 + beta_a r^2), Phi(r) = alpha_p r^2 / (1 + beta_p r^2) rad.

    The published A has the factor alpha_a, the gain for small signals; it is 1 here. r = 1 near saturation: the output is
    largest, A_sat / (2 sqrt(beta_a)), at r = 1 / sqrt(beta_a), and falls beyond. Defaults are the published fit. Reference:
    Saleh, Frequency-independent and frequency-dependent nonlinear models of TWT amplifiers, IEEE Trans. Commun. (1981),
    doi:10.1109/TCOM.1981.1094911. Differentiable with respect to x.

    Args:
        saturation_db: power of r = 1 over the allowed mean power, in dB.
        beta_a: of the amplitude, >= 0.
        alpha_p: of the phase, rad.
        beta_p: of the phase, >= 0.
    """

    saturation_db: float
    beta_a: float = 1.1517
    alpha_p: float = 4.0033
    beta_p: float = 9.1040

    def __post_init__(self) -> None:
        _check_saturation(self.saturation_db)
        for name in ("beta_a", "beta_p"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and >= 0, got {getattr(self, name)}")
        if not math.isfinite(self.alpha_p):
            raise ValueError(f"alpha_p must be finite (rad), got {self.alpha_p}")

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the amplified samples; see `Impairment`."""
        squared = _drive(x, radio, self.saturation_db).square()
        phase = self.alpha_p * squared / (1 + self.beta_p * squared)
        return x * torch.polar(1 / (1 + self.beta_a * squared), phase)


@dataclass(frozen=True, kw_only=True)
@checked
class Clipping:
    """Envelope limiter: A(r) = A_sat min(r, 1), phase kept; against peaks, or the ideal amplifier.

    For x ~ CN(0, P) the output is a x + d with d uncorrelated to x (Bussgang): see `gaussian_gain` and
    `gaussian_distortion`. Reference: Ochiai, Imai, Performance analysis of deliberately clipped OFDM signals, IEEE Trans.
    Commun. (2002), doi:10.1109/26.974262. Differentiable with respect to x except at r = 1.

    Args:
        saturation_db: largest |x'|^2 over the allowed mean power, in dB.
    """

    saturation_db: float

    def __post_init__(self) -> None:
        _check_saturation(self.saturation_db)

    @property
    def gaussian_gain(self) -> float:
        """a = 1 - e^(-c^2) + (sqrt(pi) / 2) c erfc(c), c = A_sat / sqrt(P), for a signal that spends its whole budget."""
        c = math.sqrt(_ratio(self.saturation_db))
        return 1 - math.exp(-c * c) + math.sqrt(math.pi) / 2 * c * math.erfc(c)

    @property
    def gaussian_distortion(self) -> float:
        """E|d|^2 / P = 1 - e^(-c^2) - a^2."""
        return 1 - math.exp(-_ratio(self.saturation_db)) - self.gaussian_gain**2

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the limited samples; see `Impairment`."""
        return x / _drive(x, radio, self.saturation_db).clamp(min=1)


def _ratio(decibels: float) -> float:
    return 10 ** (decibels / 10)


def _check_saturation(saturation_db: float) -> None:
    if not math.isfinite(saturation_db):
        raise ValueError(f"saturation_db must be finite (dB over the mean power), got {saturation_db}")


def _drive(x: Tensor, radio: Radio, saturation_db: float) -> Tensor:
    """r = |x| / A_sat, real [..., K, n]; a device without power stays at 0. The gradient at x = 0 is 0."""
    check_samples(x)
    magnitude = x.abs()
    saturation = root(radio.mean_power.double() * _ratio(saturation_db)).to(magnitude.dtype)
    silent = saturation == 0
    return (magnitude / (saturation + silent)).masked_fill(silent, 0).clamp(max=1e15)  # r^2 stays finite in float32
