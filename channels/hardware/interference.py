"""Interference: signals of others at the receiver, y' = y + i, before its front end.

Powers are absolute, per REAL symbol, in the unit of the receiver's noise_variance sigma^2: power = sigma^2 is as strong as
the noise, and E|i|^2 = 2 power on each antenna. Signals do not depend on y. Each comes from one place, so it is correlated
over the antennas: a combiner may suppress it. Differentiable with respect to y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.hardware.impairments import Generators, Radio, check_samples
from laser_wireless.channels.parameters import checked


@dataclass(frozen=True, kw_only=True)
@checked
class OtherCells:
    """Devices of other cells: i = sum_m sqrt(2 p_m) h_m s_m with Gaussian symbols s_m over Rayleigh fading h_m.

    h_m ~ CN(0, 1), independent for each antenna, constant over a round; s_m ~ CN(0, 1), independent for each sample.

    Args:
        powers: p_m, mean received power of each interfering device per real symbol; a number is one device.
    """

    powers: float | tuple[float, ...]

    def __post_init__(self) -> None:
        powers = self.powers if isinstance(self.powers, (tuple, list)) else (self.powers,)
        if not powers or not all(0 <= power < math.inf for power in powers):
            raise ValueError(f"powers must be finite and >= 0 (per real symbol), one for each device, got {self.powers}")

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the samples with the other devices' signals; see `Impairment`."""
        check_samples(x)
        real = torch.float32 if x.dtype == torch.complex64 else torch.float64
        amplitude = (2 * constant(self.powers, dtype=real, device=x.device).reshape(-1)).sqrt()
        h = _gaussian((*x.shape[:-1], len(amplitude)), x, generators.round)  # [..., N_r, M]
        s = _gaussian((*x.shape[:-2], len(amplitude), x.shape[-1]), x, generators.samples)
        return x + (h * amplitude) @ s


@dataclass(frozen=True, kw_only=True)
@checked
class BarrageJammer:
    """A jammer that is white noise over the whole band, at a steady power.

    One source in line of sight: its phase at each antenna is uniform and constant over a round.

    Args:
        power: received, per real symbol, >= 0.
    """

    power: float

    def __post_init__(self) -> None:
        _check_power(self.power)

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the jammed samples; see `Impairment`."""
        check_samples(x)
        signal = _gaussian((*x.shape[:-2], 1, x.shape[-1]), x, generators.samples)
        return x + math.sqrt(2 * self.power) * _line_of_sight(x, generators.round) * signal


@dataclass(frozen=True, kw_only=True)
@checked
class PulsedJammer:
    """White noise in pulses: it saves its power for a fraction of the time and then is 1 / duty times as strong.

    Pulses follow each other at one period, pulse_samples / duty; the first begins anywhere, anew in each round, so that
    every sample is hit with probability duty. Its phase at each antenna is as that of `BarrageJammer`.

    Args:
        power: received, per real symbol, mean over time, >= 0.
        duty: fraction of the time in which it is on, in (0, 1].
        pulse_samples: length of a pulse in complex samples, >= 1.
    """

    power: float
    duty: float = 0.1
    pulse_samples: int = 64

    def __post_init__(self) -> None:
        _check_power(self.power)
        if not 0 < self.duty <= 1:
            raise ValueError(f"duty must be in (0, 1], got {self.duty}")
        if self.pulse_samples < 1:
            raise ValueError(f"pulse_samples must be an integer >= 1, got {self.pulse_samples}")

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the jammed samples; see `Impairment`."""
        check_samples(x)
        period = self.pulse_samples / self.duty
        shape = (*x.shape[:-2], 1, 1)
        start = period * torch.rand(shape, dtype=torch.float64, device=x.device, generator=generators.round)
        on = torch.remainder(_index(x, radio) + start, period) < self.pulse_samples  # [..., 1, n]
        signal = _gaussian(tuple(on.shape), x, generators.samples)
        amplitude = math.sqrt(2 * self.power / self.duty)
        return x + amplitude * _line_of_sight(x, generators.round) * (signal * on)


@dataclass(frozen=True, kw_only=True)
@checked
class ToneJammer:
    """A carrier without modulation: sqrt(2 power) e^{j (2 pi f t + theta)}, across chunks, theta uniform on each antenna.

    Args:
        power: received, per real symbol, >= 0.
        frequency: f in cycles per sample, in [-0.5, 0.5]; None draws it uniformly in each round.
    """

    power: float
    frequency: float | None = None

    def __post_init__(self) -> None:
        _check_power(self.power)
        if self.frequency is not None and not -0.5 <= self.frequency <= 0.5:
            raise ValueError(f"frequency must be in [-0.5, 0.5] cycles per sample, got {self.frequency}")

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the jammed samples; see `Impairment`."""
        check_samples(x)
        line_of_sight = _line_of_sight(x, generators.round)
        shape = (*x.shape[:-2], 1, 1)
        if self.frequency is None:
            frequency = torch.rand(shape, dtype=torch.float64, device=x.device, generator=generators.round) - 0.5
        else:
            frequency = torch.full((1, 1), self.frequency, dtype=torch.float64, device=x.device)
        cycles = frequency * _index(x, radio)
        phase = 2 * math.pi * (cycles - cycles.round())
        return x + math.sqrt(2 * self.power) * line_of_sight * torch.polar(torch.ones_like(phase), phase).to(x.dtype)


def _check_power(power: float) -> None:
    if not 0 <= power < math.inf:
        raise ValueError(f"power must be finite and >= 0 (per real symbol), got {power}")


def _gaussian(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """CN(0, 1) in the dtype of `like`."""
    return torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)


def _line_of_sight(x: Tensor, generator: torch.Generator) -> Tensor:
    """e^{j psi} with a uniform phase for each antenna: [..., N_r, 1]."""
    psi = 2 * math.pi * torch.rand((*x.shape[:-1], 1), dtype=torch.float64, device=x.device, generator=generator)
    return torch.polar(torch.ones_like(psi), psi).to(x.dtype)


def _index(x: Tensor, radio: Radio) -> Tensor:
    """Index of each sample within the round: float64 [n]."""
    return torch.arange(x.shape[-1], dtype=torch.float64, device=x.device) + radio.first_sample
