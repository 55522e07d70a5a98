"""Converters: the analog front end's finite number of levels and unequal branches.

`Quantiser` is a DAC at a transmitter and an ADC at the receiver: it knows the level of its signal from `Radio.mean_power`,
not from the samples. `IqImbalance` is a mixer whose in-phase and quadrature branches differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.hardware.impairments import Generators, Radio, check_samples
from laser_wireless.channels.hardware.spread import Scope, Spread, check_property, property_of_rows
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.signals import root


@dataclass(frozen=True, kw_only=True)
@checked
class Quantiser:
    """Uniform mid-rise quantiser of I and of Q: 2^bits levels in [-full scale, full scale], clipped beyond.

    With step D = 2 full_scale rms / 2^bits a value v becomes D (floor(v / D) + 1/2), at most full scale - D/2 in magnitude.
    There is no level 0: a silent sample becomes D/2 (1 + j), and 1 bit keeps only signs; so energy may grow. A device
    whose mean power is 0 stays silent. The gradient is straight-through: that of clipping to the full scale, 1 within and
    0 beyond, which is not the derivative.

    Args:
        bits: of each of I and Q, an integer from 1 to 24 (float32 holds no more).
        full_scale: largest input in multiples of rms = sqrt(mean_power / 2), the rms of I or of Q. For a Gaussian signal
            1.6, 2.0, 2.3, 2.7, 3.0, 3.3, 3.6, 3.9 distort least at 1 to 8 bits (Max, IRE Trans. Inf. Theory, 1960).
    """

    bits: int
    full_scale: float = 4.0

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 24:
            raise ValueError(f"bits must be an integer from 1 to 24, got {self.bits}")
        if not 0 < self.full_scale < math.inf:
            raise ValueError(f"full_scale must be finite and > 0 (multiples of the rms of I or of Q), got {self.full_scale}")

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the quantised samples; see `Impairment`."""
        check_samples(x)
        values = torch.view_as_real(x.resolve_conj())
        limit = (self.full_scale * root(radio.mean_power.double() / 2)).to(values.dtype).unsqueeze(-1)
        silent = limit == 0
        normalised = (values / (limit + silent)).clamp(-1, 1)
        levels = 2 ** (self.bits - 1)  # of each sign
        index = (normalised.detach() * levels).floor().clamp(max=levels - 1)
        rounded = (index + 0.5) / levels + (normalised - normalised.detach())
        return torch.view_as_complex((rounded * limit).contiguous())


@dataclass(frozen=True, kw_only=True)
@checked
class IqImbalance:
    """Branches of unequal gain and not quite 90 degrees apart: x' = (mu x + nu x*) / (|mu| + |nu|).

    mu = (1 + g e^{j phi}) / 2 and nu = (1 - g e^{j phi}) / 2: before the division I is kept, Q becomes j g e^{j phi} Q.
    The division makes |x'| <= |x|: no signal gains energy. The image nu x* lies |mu|^2 / |nu|^2 below the signal.
    Differentiable with respect to x. Reference: Schenk, RF imperfections in high-rate wireless systems (2008), ch. 5,
    doi:10.1007/978-1-4020-6903-1.

    Args:
        amplitude_db: 20 log10 g, one number, one for each device, or a law.
        phase_rad: phi, likewise.
        scope: laws are drawn once for the "run" (default) or in each "round".
    """

    amplitude_db: float | tuple[float, ...] | Spread = 0.0
    phase_rad: float | tuple[float, ...] | Spread = 0.0
    scope: Scope = "run"

    def __post_init__(self) -> None:
        check_property("amplitude_db", self.amplitude_db)
        check_property("phase_rad", self.phase_rad)

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the samples with their image; see `Impairment`."""
        check_samples(x)
        amplitude_db = property_of_rows("amplitude_db", self.amplitude_db, self.scope, x, generators)
        phase = property_of_rows("phase_rad", self.phase_rad, self.scope, x, generators)
        branch = torch.polar(*torch.broadcast_tensors(10 ** (amplitude_db / 20), phase))
        mu, nu = (1 + branch) / 2, (1 - branch) / 2
        total = mu.abs() + nu.abs()
        return (mu / total).to(x.dtype) * x + (nu / total).to(x.dtype) * x.conj()
