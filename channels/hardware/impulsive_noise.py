"""Impulsive noise: what switching devices and ignition put on top of the receiver's Gaussian noise.

A complex Gaussian variable whose variance is itself random, from sample to sample. `noise_variance` is the mean of that
variance per REAL symbol, in addition to the receiver's own. An impulse hits all antennas at once, with independent values.
Differentiable with respect to y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.hardware.impairments import Generators, Radio, check_samples
from laser_wireless.channels.parameters import checked


@dataclass(frozen=True, kw_only=True)
@checked
class BernoulliGaussianNoise:
    """Each sample is hit with some probability q, then by CN(0, 2 noise_variance / q).

    Args:
        noise_variance: mean over all samples, per real symbol, >= 0.
        probability: q in (0, 1]; 1 is Gaussian noise.
    """

    noise_variance: float
    probability: float = 0.01

    def __post_init__(self) -> None:
        _check_variance(self.noise_variance)
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability must be in (0, 1], got {self.probability}")

    @property
    def kurtosis(self) -> float:
        """E[v^4] / E[v^2]^2 = 3 / q of a real symbol v; 3 for Gaussian noise."""
        return 3 / self.probability

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the samples with impulses; see `Impairment`."""
        check_samples(x)
        shape = (*x.shape[:-2], 1, x.shape[-1])
        hit = torch.rand(shape, device=x.device, generator=generators.samples) < self.probability
        n = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generators.samples)
        return x + math.sqrt(2 * self.noise_variance / self.probability) * (n * hit)


@dataclass(frozen=True, kw_only=True)
@checked
class MiddletonNoise:
    """Middleton's class A: m ~ Poisson(A) impulses overlap, variance (m / A + G) / (1 + G) times the mean.

    Reference: Middleton, Statistical-physical models of electromagnetic interference, IEEE Trans. EMC (1977),
    doi:10.1109/TEMC.1977.303527.

    Args:
        noise_variance: of impulses and Gaussian part together, per real symbol, >= 0.
        overlap: A > 0, mean number of impulses at an instant; small A is rare and strong, A -> inf Gaussian.
        gaussian_ratio: G >= 0, power of the Gaussian part over that of the impulses.
    """

    noise_variance: float
    overlap: float = 0.1
    gaussian_ratio: float = 0.1

    def __post_init__(self) -> None:
        _check_variance(self.noise_variance)
        if not 0 < self.overlap < math.inf:
            raise ValueError(f"overlap must be finite and > 0, got {self.overlap}")
        if not 0 <= self.gaussian_ratio < math.inf:
            raise ValueError(f"gaussian_ratio must be finite and >= 0, got {self.gaussian_ratio}")

    @property
    def kurtosis(self) -> float:
        """E[v^4] / E[v^2]^2 = 3 (1 + 1 / (A (1 + G)^2)) of a real symbol v."""
        return 3 * (1 + 1 / (self.overlap * (1 + self.gaussian_ratio) ** 2))

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the samples with impulses; see `Impairment`."""
        check_samples(x)
        real = torch.float32 if x.dtype == torch.complex64 else torch.float64
        mean = torch.full((*x.shape[:-2], 1, x.shape[-1]), self.overlap, dtype=real, device=x.device)
        impulses = torch.poisson(mean, generator=generators.samples)
        relative = (impulses / self.overlap + self.gaussian_ratio) / (1 + self.gaussian_ratio)
        n = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generators.samples)
        return x + n * (2 * self.noise_variance * relative).sqrt()


def _check_variance(noise_variance: float) -> None:
    if not 0 <= noise_variance < math.inf:
        raise ValueError(f"noise_variance must be finite and >= 0 (per real symbol), got {noise_variance}")
