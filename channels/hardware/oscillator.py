"""Oscillators: phases by which the carrier of a device differs from the receiver's, x' = e^{j phase} x.

A constant error, a frequency offset (2 pi f t) and the random walk of a free-running oscillator. Phases are in rad, in
float64 until the last step, so that a long message loses none. Time starts at 0 in each round: devices synchronise
between rounds. Energy is kept; everything is differentiable with respect to x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.hardware.impairments import Generators, Radio, check_samples
from laser_wireless.channels.hardware.spread import Scope, Spread, check_property, property_of_rows
from laser_wireless.channels.parameters import checked


def rotate(x: Tensor, phase: Tensor) -> Tensor:
    """e^{j phase} x for a real phase in rad, broadcastable to x; in the precision of x."""
    real = torch.float32 if x.dtype == torch.complex64 else torch.float64
    return x * torch.complex(phase.cos().to(real), phase.sin().to(real))


@dataclass(frozen=True, kw_only=True)
@checked
class PhaseError:
    """A constant phase error of each device: what imperfect synchronisation leaves.

    With errors phi ~ N(0, std^2) the mean coherent gain is E[e^{j phi}] = exp(-std^2 / 2).

    Args:
        rad: one number, one for each device, or a law.
        scope: a law is drawn anew in each "round" (default) or once for the "run".
    """

    rad: float | tuple[float, ...] | Spread
    scope: Scope = "round"

    def __post_init__(self) -> None:
        check_property("rad", self.rad)

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the turned samples; see `Impairment`."""
        check_samples(x)
        return rotate(x, property_of_rows("rad", self.rad, self.scope, x, generators))


@dataclass(frozen=True, kw_only=True)
@checked
class CarrierFrequencyOffset:
    """A carrier that is off by f: x'(t) = e^{j 2 pi f t} x(t), t from the start of the round, across chunks.

    Needs the sample rate.

    Args:
        hz: f, one number, one for each device, or a law. 0.1 ppm of 3.5 GHz are 350 Hz.
        scope: a law is drawn once for the "run" (default, a device's crystal) or in each "round".
    """

    hz: float | tuple[float, ...] | Spread
    scope: Scope = "run"

    def __post_init__(self) -> None:
        check_property("hz", self.hz)

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the turning samples; see `Impairment`."""
        check_samples(x)
        cycles = property_of_rows("hz", self.hz, self.scope, x, generators) * radio.times(x, "CarrierFrequencyOffset")
        return rotate(x, 2 * math.pi * (cycles - cycles.round()))


@dataclass(frozen=True, kw_only=True)
@checked
class PhaseNoise:
    """Wiener phase noise of a free-running oscillator: independent increments N(0, 2 pi linewidth / sample rate).

    Autocorrelation E[e^{j phase(t + tau)} e^{-j phase(t)}] = exp(-pi linewidth |tau|), a Lorentzian line. The phase is 0 at
    the first sample of a round. Needs the sample rate. A round in several chunks has the right law within each chunk and
    at each instant; across the border of two chunks the walks are independent. Reference: Demir, Mehrotra, Roychowdhury,
    Phase noise in oscillators, IEEE Trans. Circuits Syst. I (2000), doi:10.1109/81.847872.

    Args:
        linewidth_hz: full width of the line at half its maximum (both sides of the carrier), >= 0.
        common: one oscillator for all rows, as for the antennas of one receiver; otherwise one for each.
    """

    linewidth_hz: float
    common: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.linewidth_hz < math.inf:
            raise ValueError(f"linewidth_hz must be finite and >= 0, got {self.linewidth_hz}")

    def autocorrelation(self, lag_s: float) -> float:
        """exp(-pi linewidth |lag|): what is left of the coherence after lag_s seconds."""
        return math.exp(-math.pi * self.linewidth_hz * abs(lag_s))

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the samples with phase noise; see `Impairment`."""
        check_samples(x)
        times = radio.times(x, "PhaseNoise")
        steps = torch.diff(times, prepend=times.new_zeros(1))  # the first reaches back to the start of the round
        rows = (*x.shape[:-2], 1) if self.common else x.shape[:-1]
        draw = torch.randn((*rows, x.shape[-1]), dtype=torch.float64, device=x.device, generator=generators.samples)
        return rotate(x, (draw * (2 * math.pi * self.linewidth_hz * steps).sqrt()).cumsum(-1))
