"""Noise-aware precoding: averaged before the channel, sent along the gradients' slowly moving spectrum, nothing dropped.

A parameter of two or more dimensions is a matrix (its first axis, all others) with a entries on its shorter side, b on the
other. All parties know what the receiver decoded in earlier rounds: from it they keep an orthonormal basis u_1 ... u_r of
the shorter side and the rms s_i of a symbol along each of its directions, and s_0 along all others.

Amplitudes (Cauchy-Schwarz): n_i symbols of rms s_i sent with amplitude alpha_i, sum_i n_i alpha_i^2 s_i^2 = P, arrive with
noise sum_i n_i sigma^2 / (K^2 alpha_i^2). It is least, (sum_i n_i s_i)^2 sigma^2 / (K^2 P), for alpha_i^2 proportional to
1 / s_i; equal amplitudes have (sum_i n_i) (sum_i n_i s_i^2) sigma^2 / (K^2 P). In the basis of the singular vectors this is
b (nuclear norm)^2 against a b (Frobenius norm)^2. Bases that are kept for optimisation: SOAP, Vyas et al., arXiv:2409.11321;
how slowly subspaces of gradients move: GaLore, Zhao et al., arXiv:2403.03507.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from laser_wireless.compression.message import Message, check_gradients, check_shapes, sizes_of, split_parameters
from laser_wireless.compression.orthonormal import orthonormal
from laser_wireless.compression.parameters import checked
from laser_wireless.compression.precoder import Precoder, Spectrum, amplitudes_of, in_turn, largest, power
from laser_wireless.compression.shared_draws import shared_generator


class SpectralPrecodingState(NamedTuple):
    """What all parties know.

    average: [..., d], what was decoded, averaged over rounds. noise: float64 [...], energy of the noise in it. The lists are
    empty without precoding; bases: of each matrix, orthonormal [..., a, r]. energies: of each parameter, float64
    [..., r + 1], averaged energy decoded along each direction and along all others together, less the noise in it.
    amplitudes: float64 [..., r + 1], of the next message's symbols.
    """

    shapes: tuple[tuple[int, ...], ...]
    bases: list[Tensor]
    average: Tensor
    noise: Tensor
    energies: list[Tensor]
    amplitudes: list[Tensor]
    runs: tuple[int, ...] = ()


class _Weighed(NamedTuple):
    """values: gradients [..., K, d] in units [..., K, 1], a copy. weights: [..., K, 1], 1 / ||v_k||^theta, 1 if v_k = 0."""

    values: Tensor
    unit: Tensor
    weights: Tensor


class _Round(NamedTuple):
    """rows: [R, d], what was decoded in units [R, 1]. noise: float64 [R, 1], before inversion. outage: bool [R, 1]."""

    rows: Tensor
    unit: Tensor
    noise: Tensor
    outage: Tensor


@dataclass(frozen=True, kw_only=True)
@checked
class SpectralPrecoding:
    """Send all of each device's averaged gradient, in equal norms while noise dominates; precoded by spectrum if asked.

    Three things that a channel with noise may ask for, each an argument; the third is off unless asked for:

    1. Momentum before the channel. Device k sends v_k = (1 - beta) sum_t beta^(round - t) g_k(t) instead of g_k, so that no
       energy is spent on sampling noise that the optimiser's momentum would average out afterwards, times (1 + beta) /
       (1 - beta) where a device's gradient is all sampling noise. Use it with an optimiser without momentum (SGD, or AdamW
       with betas=(0, ...)); two averages one after the other are late.
    2. Equal norms where noise dominates. The amplitude that all devices share is limited by the largest ||v_k||. Device k
       sends v_k / ||v_k||^theta, theta = max(0, 1 - S / N) for signal energy S and noise energy N in what was decoded,
       averaged over rounds: 0, plain averaging, while the signal is the stronger, and up to 1, normalised descent. Biased
       towards devices with small gradients, in units of the gradients' to the power 1 - theta.
    3. With precoding > 0, amplitudes along the averaged spectrum. Symbols have d entries: y = G v, G = alpha_0 (I - U U^T)
       + U diag(alpha) U^T on the shorter side of each matrix. The receiver inverts it: unbiased whatever U and alpha are.
       U takes one step of subspace iteration a round on the average of what was decoded. alpha_i^(-1 / precoding) is the
       averaged energy per symbol decoded along u_i, less the known noise, and no less than that estimate's standard error:
       what cannot be told from noise is sent as if it were that strong, so that a white or unknown spectrum is Z-SGD's.

    S = d real symbols per round, one block, so that the uplink's allocation has nothing to share out. Nothing is dropped and
    nothing shrunk: the noise is white and averages out over rounds, what is shrunk is missing in all of them.

    With K equal devices and r directions of equal energy holding a fraction c, the channel influence factor is
    (sqrt(b r c) + sqrt(b (a - r) (1 - c)))^2 sigma^2 / (K^2 P); a b sigma^2 / (K^2 P) at c = r / a, Z-SGD's.

    Without error feedback a silent device's v_k decays like any other; with it, what was not delivered is sent later.

    Args:
        rank: r, with precoding > 0, directions of the shorter side with amplitudes of their own; 0 for one per parameter.
        momentum: beta in [0, 1).
        averaging: decay per round, in [0, 1), of the decoded average, the energies and theta.
        equal_norms: whether theta follows the noise; False keeps it at 0.
        precoding: exponent in [0, 1]: amplitudes proportional to rms^-precoding. 0 for equal ones, 1/2 for the least noise,
            1 for the least noise after an optimiser that divides by the rms. The least noise is not the least loss: where
            curvature follows energy, SGD loses least at 0 early and at 1/2 once settled, and that optimiser at 1/2 and 3/4.
            On every task measured 0 needs no more power than 1/2, on most 2 to 3 dB less.
        error_feedback: keep what a silent or clipped device could not send; costs two more products a round.
    """

    rank: int = 8
    momentum: float = 0.9
    averaging: float = 0.9
    equal_norms: bool = True
    precoding: float = 0.0
    error_feedback: bool = False

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise ValueError(f"rank must be an integer >= 0, 0 for one amplitude per parameter, got {self.rank}")
        for name in ("momentum", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if not 0 <= self.precoding <= 1:
            raise ValueError(f"precoding must lie in [0, 1], the exponent of 1/rms in an amplitude, got {self.precoding}")

    def matrix_of(self, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
        """(a, b, r) of a parameter that has a basis: shorter side, longer side, directions; None for any other."""
        if len(shape) < 2 or not self.rank or not self.precoding:
            return None
        a, b = sorted((shape[0], prod(shape[1:])))
        return (a, b, min(self.rank, a)) if a > 1 else None

    def init(
        self, shapes: Sequence[tuple[int, ...]], num_devices: int, *, device: torch.device, dtype: torch.dtype, seed: int
    ) -> SpectralPrecodingState:
        """Return random orthonormal bases, drawn from `seed`, equal amplitudes and theta = 0."""
        plain = check_shapes(shapes)
        generator = shared_generator(seed, 0)  # on the CPU: one seed, one start on every device
        bases, amplitudes = [], []
        for matrix in map(self.matrix_of, plain if self.precoding else ()):
            if matrix is not None:
                a, _, r = matrix
                bases.append(orthonormal(torch.randn(a, r, dtype=dtype, generator=generator).to(device)))
            amplitudes.append(torch.ones(matrix[2] + 1 if matrix else 1, dtype=torch.float64, device=device))
        energies = [torch.zeros_like(amplitude) for amplitude in amplitudes]
        average = torch.zeros(sum(sizes_of(plain)), dtype=dtype, device=device)
        noise = torch.zeros((), dtype=torch.float64, device=device)
        return SpectralPrecodingState(plain, bases, average, noise, energies, amplitudes)

    def encode(self, gradients: Tensor, state: SpectralPrecodingState, *, round: int) -> Message:
        """Return G v of each device as one block; see the class."""
        check_gradients(gradients, state.shapes, state.runs)
        symbols, unit, weights = self._weighed(gradients, state)
        factors = unit * weights
        if not self.precoding:
            symbols.mul_(factors)
        for values, precoder in self._walk(symbols, state):
            precoder.apply_(values, factors.reshape(-1, gradients.shape[-2], 1, 1))
        return Message(symbols, (symbols.shape[-1],))

    def subtract_(
        self, memory: Tensor, sent: Tensor, delivered: Tensor, state: SpectralPrecodingState, *, round: int
    ) -> None:
        """Subtract (1 - beta) of each device's memory, as far as its symbols were delivered."""
        decoded = delivered / self._weighed(memory, state).weights
        for values, precoder in self._walk(decoded, state):
            precoder.inverse().apply_(values)
        memory.sub_(decoded, alpha=1 - self.momentum)

    def decode(
        self,
        estimate: Tensor,
        state: SpectralPrecodingState,
        *,
        round: int,
        noise_variance: Tensor | None = None,
        out: Sequence[Tensor] | None = None,
    ) -> tuple[list[Tensor], SpectralPrecodingState]:
        """Invert the precoder; what was decoded moves bases, energies, amplitudes and theta."""
        received = estimate.view(-1, estimate.shape[-1])
        unit = largest(received.detach())
        outage = unit == 0
        unit = unit + outage
        rows = (received / unit).mul_(1 - self.momentum)
        for values, precoder in self._walk(rows.unsqueeze(1), state):
            precoder.inverse().apply_(values)
        noise = torch.zeros_like(unit, dtype=torch.float64)
        if noise_variance is not None:
            noise = noise + noise_variance.detach().double().view(-1, 1) * ((1 - self.momentum) / unit.double()).square()
        decoded = rows * unit if self.precoding else rows.mul_(unit)  # a spectrum is taken of rows
        with torch.no_grad():
            keep = min(self.averaging, round / (round + 1))  # a plain mean at first
            average = state.average.view(rows.shape)
            average = torch.lerp(average, decoded.detach(), (1 - keep) * (~outage).to(rows.dtype))
            if self.precoding:
                following, energies = self._follow(_Round(rows.detach(), unit, noise, outage), average, keep, state)
            else:
                per_symbol = (noise * unit.double().square()).squeeze(1)
                following, energies = state, [size * per_symbol for size in sizes_of(state.shapes)]
            left = state.noise.view(-1)
            left = torch.where(outage.squeeze(1), left, keep**2 * left + (1 - keep) ** 2 * in_turn(energies))
        following = following._replace(average=average.view(state.average.shape), noise=left.view(state.noise.shape))
        return split_parameters(decoded.view(estimate.shape), state.shapes), following

    def _weighed(self, gradients: Tensor, state: SpectralPrecodingState) -> _Weighed:
        """Gradients [..., K, d] and what their norms say; in a unit in which squares neither vanish nor overflow."""
        if not self.equal_norms:
            one = torch.ones_like(gradients[..., :1])
            return _Weighed(gradients.clone(), one, one)
        unit = largest(gradients)
        unit = unit + (unit == 0)
        values = gradients / unit
        norms = torch.linalg.vector_norm(values, dim=-1, keepdim=True).double() * unit.double()
        norms = (1 - self.momentum) * norms + (norms == 0)
        weights = power(norms, -_theta(state)[..., None, None], one_run=not state.runs)
        return _Weighed(values, unit, weights.clamp(max=torch.finfo(values.dtype).max).to(values.dtype))

    def _walk(self, rows: Tensor, state: SpectralPrecodingState) -> Iterator[tuple[Tensor, Precoder]]:
        """For each parameter its view [R, K, a, b] ([R, K, 1, size] without basis) of rows [..., K, d], and its precoder.

        Nothing without precoding.
        """
        if not self.precoding:
            return
        bases = iter(state.bases)
        flat = rows.view(-1, *rows.shape[-2:])
        views = split_parameters(flat, state.shapes)
        for values, shape, amplitude in zip(views, state.shapes, state.amplitudes, strict=True):
            amplitudes = amplitude.to(flat.dtype).view(len(flat), -1, 1)
            if self.matrix_of(shape) is None:
                yield values.view(*flat.shape[:2], 1, -1), Precoder(None, amplitudes)
            else:
                matrices = values.view(*flat.shape[:2], shape[0], -1)
                basis = next(bases)
                shorter_first = matrices if matrices.shape[2] <= matrices.shape[3] else matrices.mT
                yield shorter_first, Precoder(basis.view(len(flat), *basis.shape[-2:]), amplitudes)

    def _follow(
        self, now: _Round, average: Tensor, keep: float, state: SpectralPrecodingState
    ) -> tuple[SpectralPrecodingState, list[Tensor]]:
        """Bases, energies and amplitudes of the next state, as they were in an outage; energy of each parameter's noise.

        average: [R, d], what was decoded, this round included. keep: what averages keep of themselves.
        """
        spectra: list[Spectrum] = []
        bases: list[Tensor] = []
        both = zip(self._walk(now.rows.unsqueeze(1), state), self._walk(average.unsqueeze(1), state), strict=True)
        for (values, precoder), (mean, _) in both:
            spectra.append(precoder.spectrum(values.squeeze(1), now.noise).scaled(now.unit.double()))
            if precoder.basis is not None:
                bases.append(precoder.iterated(mean.squeeze(1)).view(state.bases[len(bases)].shape))
        energies = []
        for before, spectrum in zip(state.energies, spectra, strict=True):
            energy = before.view(spectrum.energies.shape)
            energies.append(torch.where(now.outage, energy, energy.lerp(spectrum.energies, 1 - keep)))
        known = [spectrum._replace(energies=energy) for spectrum, energy in zip(spectra, energies, strict=True)]
        amplitudes = amplitudes_of(known, ((1 - keep) / (1 + keep)) ** 0.5, self.precoding)
        following = state._replace(
            bases=bases,
            energies=[energy.view(before.shape) for energy, before in zip(energies, state.energies, strict=True)],
            amplitudes=[
                torch.where(now.outage, before.view(after.shape), after).view(before.shape)
                for before, after in zip(state.amplitudes, amplitudes, strict=True)
            ],
        )
        return following, [(spectrum.counts * spectrum.noise).sum(1) for spectrum in spectra]


def _theta(state: SpectralPrecodingState) -> Tensor:
    """theta, float64 [...]: 1 - S / N where noise N exceeds signal S in the average's energy S + N, else 0."""
    energy = torch.linalg.vector_norm(state.average, dim=-1).double().square()
    return (2 - energy / (state.noise + (state.noise == 0))).clamp(0, 1) * (state.noise > 0)
