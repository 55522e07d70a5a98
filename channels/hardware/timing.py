"""Timing: a device's samples arrive late or early, x'(t) = x(t - delay).

The stream is shifted, not turned around: what leaves its end is lost, what enters is silence. An OFDM waveform with a
cyclic prefix needs no more: a delay within the prefix is a phase ramp over the subcarriers, a longer one lets symbols
and subcarriers interfere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.hardware.impairments import Generators, Radio, check_samples
from laser_wireless.channels.hardware.spread import Scope, Spread, check_property, property_of_rows
from laser_wireless.channels.parameters import checked


@dataclass(frozen=True, kw_only=True)
@checked
class TimingOffset:
    """Delay of each device in samples, whole or fractional; negative is early.

    A fraction interpolates with the band-limited (sinc) kernel: on samples at the symbol rate it lets neighbouring symbols
    interfere, as it does in a receiver with Nyquist pulses. Energy never grows. Each call shifts the samples at hand, so a
    waveform passes a stream whole, or in chunks with a guard longer than the delay. Differentiable with respect to x.

    Args:
        samples: one number, one for each device, or a law; delays beyond the length of x leave silence.
        scope: a law is drawn anew in each "round" (default) or once for the "run".
    """

    samples: float | tuple[float, ...] | Spread
    scope: Scope = "round"

    def __post_init__(self) -> None:
        check_property("samples", self.samples)

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the shifted samples; see `Impairment`."""
        check_samples(x)
        delay = property_of_rows("samples", self.samples, self.scope, x, generators)
        return shift(x, delay)


def shift(x: Tensor, delay: Tensor) -> Tensor:
    """Shift x [..., n] by a delay in samples, real and broadcastable to [..., 1], with silence from outside.

    Circular convolution of length >= 2 n is free of wrap-around up to |delay| = n, where nothing is left. Differentiable
    with respect to both.
    """
    num_samples = x.shape[-1]
    length = 2 ** math.ceil(math.log2(2 * num_samples))
    real = torch.float32 if x.dtype == torch.complex64 else torch.float64
    frequencies = torch.fft.fftfreq(length, dtype=torch.float64, device=x.device)
    cycles = frequencies * delay.double().clamp(-num_samples, num_samples)
    phase = -2 * math.pi * (cycles - cycles.detach().round())
    ramp = torch.complex(phase.cos().to(real), phase.sin().to(real))
    return torch.fft.ifft(torch.fft.fft(x, n=length) * ramp)[..., :num_samples]
