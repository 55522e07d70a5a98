"""A precoder of one matrix: its own amplitude along each of r orthonormal directions, one along all others.

G = alpha_0 (I - U U^T) + U diag(alpha) U^T is symmetric and invertible: what is sent has as many symbols as the matrix has
entries, and white noise of variance tau^2 on them is tau^2 / alpha_i^2 along u_i after inversion, whatever U and alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from laser_wireless.compression.orthonormal import orthonormal

_WEAKEST = 1e-8  # of the mean energy per symbol: the least for which an amplitude is made


class Spectrum(NamedTuple):
    """Energy of a matrix along r directions and, last, along all others together; float64 [R, r + 1] each.

    energies: without the noise, so that an estimate may be negative. noise: variance per symbol. counts: symbols [r + 1].
    """

    energies: Tensor
    noise: Tensor
    counts: Tensor

    def scaled(self, unit: Tensor) -> Spectrum:
        """The spectrum of the matrices times unit [R, 1]."""
        return Spectrum(self.energies * unit.square(), self.noise * unit.square(), self.counts)


class Precoder(NamedTuple):
    """basis: orthonormal [R, a, r], or None where there is just one amplitude. amplitudes: [R, r + 1, 1], > 0. Of R runs.

    Products are run by run, with a basis in memory of its own: kernels round by where it lies.
    """

    basis: Tensor | None
    amplitudes: Tensor

    def apply_(self, values: Tensor, factors: Tensor | float = 1.0) -> None:
        """Multiply matrices [R, K, a, b] by factors [R, K, 1, 1] and by their run's G from the left, in place."""
        others = self.amplitudes[:, -1:].unsqueeze(1) * factors  # [R, K, 1, 1]
        if self.basis is None:
            values.mul_(others)
            return
        excess = (self.amplitudes[:, :-1] - self.amplitudes[:, -1:]).unsqueeze(1) * factors
        for matrices, basis, rest, more in zip(values, self.basis, others, excess, strict=True):
            own = basis.clone().expand(len(matrices), -1, -1)
            along = torch.bmm(own.mT, matrices)
            matrices.mul_(rest).baddbmm_(own, more * along)

    def inverse(self) -> Precoder:
        """The precoder that undoes this one."""
        return Precoder(self.basis, 1 / self.amplitudes)

    def spectrum(self, values: Tensor, noise: Tensor) -> Spectrum:
        """Spectrum of decoded matrices [R, a, b], on whose symbols there was noise of variance [R, 1] before inversion."""
        a, b = values.shape[1:]
        energies = _energies(values.flatten(1)).unsqueeze(1)
        r = 0
        if self.basis is not None:
            r = self.basis.shape[2]
            along = torch.stack([_energies(basis.clone().mT @ one) for one, basis in zip(values, self.basis, strict=True)])
            energies = torch.cat([along, energies - along.sum(1, keepdim=True)], dim=1)
        counts = values.new_full((r + 1,), b, dtype=torch.float64)
        counts[-1].fill_((a - r) * b)
        per_symbol = noise / self.amplitudes.squeeze(2).double().square()
        return Spectrum(energies - counts * per_symbol, per_symbol, counts)

    def iterated(self, average: Tensor) -> Tensor:
        """The basis after a step of subspace iteration: of A A^T U for A [R, a, b]; U where A is zero."""
        assert self.basis is not None
        return torch.stack([_iterated(*run) for run in zip(average, self.basis, strict=True)])


def _energies(rows: Tensor) -> Tensor:
    """Sums of squares [...] of the last axis, float64."""
    return torch.linalg.vector_norm(rows, dim=-1).double().square()


def _iterated(average: Tensor, basis: Tensor) -> Tensor:
    other_side = average.mT @ basis.clone()
    unit = other_side.abs().amax()
    return torch.where(unit == 0, basis, orthonormal(average @ (other_side / (unit + (unit == 0)))))


def largest(rows: Tensor) -> Tensor:
    """Largest magnitude [..., 1] of the last axis; without a copy."""
    return torch.maximum(rows.amax(-1, keepdim=True), -rows.amin(-1, keepdim=True))


def amplitudes_of(spectra: Sequence[Spectrum], error: float, exponent: float) -> list[Tensor]:
    """Amplitudes, rms^-exponent over that of the mean symbol, float64 [R, r + 1] for each; 1 where nothing is known.

    Args:
        spectra: of all parameters, averaged over rounds.
        error: standard deviation of such an average over that of one round's: an energy is taken for no less than its
            standard error, sqrt(2 n) times the noise for n symbols, times this.
        exponent: in [0, 1].
    """
    strengths = []
    for spectrum in spectra:
        counts = spectrum.counts.clamp(min=1)
        strengths.append(spectrum.energies.clamp(min=0) / counts + error * (2 / counts).sqrt() * spectrum.noise)
    energy = in_turn([(s.counts * strength).sum(1) for s, strength in zip(spectra, strengths, strict=True)])
    mean = (energy / sum(s.counts.sum() for s in spectra)).unsqueeze(1)
    ratios = [(strength / (mean + (mean == 0))).clamp(min=_WEAKEST) for strength in strengths]
    unknown = [(mean == 0) | (s.counts == 0) for s in spectra]
    exponents = mean.new_full((len(mean),), -exponent / 2)
    return [power(ratio.masked_fill(none, 1), exponents) for ratio, none in zip(ratios, unknown, strict=True)]


def in_turn(terms: Sequence[Tensor]) -> Tensor:
    """Their sum, added one after the other: a sum along an axis is added in an order that depends on the other axes."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def power(base: Tensor, exponents: Tensor, *, one_run: bool = False) -> Tensor:
    """Base [R, ...] to the power of each run's exponent, run by run: a kernel rounds by the place in a vector register."""
    if one_run:
        return base.pow(exponents)
    return torch.stack([run.clone().pow(exponent) for run, exponent in zip(base, exponents, strict=True)])
