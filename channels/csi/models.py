"""Models of knowledge: perfect, none, noisy, by pilots, late, the phase alone, quantised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from laser_wireless.channels.csi.contract import Knowledge
from laser_wireless.channels.parameters import checked


@dataclass(frozen=True, kw_only=True)
class PerfectCsi:
    """The gains themselves, as most papers assume; counted as given."""

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return h."""
        return Knowledge(h)


@dataclass(frozen=True, kw_only=True)
class NoCsi:
    """Nothing: gains are taken to be 1, so that a power control does what it would do on a wire."""

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return ones."""
        return Knowledge(torch.ones_like(h), free=False)


@dataclass(frozen=True, kw_only=True)
@checked
class NoisyCsi:
    """An estimate of given quality.

    Args:
        nmse: E|h_est - h|^2 / E|h|^2 >= 0, linear.
        model: "additive": h_est = h + e, e ~ CN(0, nmse) independent of h (least squares from pilots); "mmse": h = h_est + e
            with e independent of h_est for h ~ CN(0, 1), h_est = (1 - nmse) h + CN(0, nmse (1 - nmse)), nmse <= 1.
    """

    nmse: float
    model: Literal["additive", "mmse"] = "additive"

    def __post_init__(self) -> None:
        if not 0 <= self.nmse < math.inf:
            raise ValueError(f"nmse must be finite and >= 0 (linear, not dB), got {self.nmse}")
        if self.model == "mmse" and self.nmse > 1:
            raise ValueError(f'nmse must be <= 1 for model "mmse" (a constant estimate has 1), got {self.nmse}')

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return h plus an error."""
        error = _complex_normal(h, generator)
        if self.model == "mmse":
            return Knowledge((1 - self.nmse) * h + math.sqrt(self.nmse * (1 - self.nmse)) * error)
        return Knowledge(h + math.sqrt(self.nmse) * error)


@dataclass(frozen=True, kw_only=True)
@checked
class PilotCsi:
    """Estimates from orthogonal pilots that the devices send and pay for.

    In each cell every device sends its own pilot with energy e = energy_fraction P / C (C cells), orthogonal to the others',
    over K channel uses. The receiver's least-squares estimate is h_est = h + CN(0, 2 sigma^2 / e); for h ~ CN(0, 1), "mmse"
    shrinks it by 1 / (1 + 2 sigma^2 / e). Devices learn it by a perfect feedback. One without energy is taken for h = 0.

    Args:
        energy_fraction: part of each device's budget, 0 < energy_fraction < 1; messages have the rest, and so have further
            pilots of another kind.
        estimator: "ls" or "mmse".
        uses_per_device: channel uses of the pilots per device and cell, >= 1; the energy is what counts for the error.
    """

    energy_fraction: float = 0.1
    estimator: Literal["ls", "mmse"] = "mmse"
    uses_per_device: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.energy_fraction < 1:
            raise ValueError(f"energy_fraction must lie strictly between 0 and 1, got {self.energy_fraction}")
        if self.uses_per_device < 1:
            raise ValueError(f"uses_per_device must be >= 1, got {self.uses_per_device}")

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return the estimate."""
        num_devices, _, num_cells = h.shape[-3:]
        spent = self.energy_fraction * energy
        sends = spent > 0
        per_cell = torch.where(sends, spent, 1) / num_cells
        variance = (2 * noise_variance / per_cell)[..., None, None]  # [..., K, 1, 1], of the complex estimate
        estimate = h + variance.sqrt().to(h.real.dtype) * _complex_normal(h, generator)
        if self.estimator == "mmse":
            estimate = estimate / (1 + variance).to(h.real.dtype)
        estimate = torch.where(sends[..., None, None], estimate, torch.zeros_like(estimate))
        return Knowledge(estimate, spent, num_devices * self.uses_per_device * num_cells)


@dataclass(frozen=True, kw_only=True)
@checked
class DelayedCsi:
    """The gains of some rounds ago; in the first rounds, those of the first one.

    Useful with fading that continues from round to round. Under fading that is drawn anew, delayed knowledge is worthless.
    What is kept is a constant: no gradient flows from the knowledge to the gains, neither of past rounds nor of the first.

    Args:
        rounds: delay >= 1.
    """

    rounds: int = 1

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be >= 1, got {self.rounds}; without a delay use PerfectCsi")

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return the oldest gains that are kept."""
        past = h.detach().expand(self.rounds, *h.shape) if state is None else state
        return Knowledge(past[0], state=torch.cat([past[1:], h.detach().unsqueeze(0)]))


@dataclass(frozen=True, kw_only=True)
class PhaseOnlyCsi:
    """The phase without the amplitude: h / |h|; 1 where h = 0."""

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return h / |h|."""
        zero = h == 0
        safe = torch.where(zero, torch.ones_like(h), h)
        return Knowledge(safe / safe.abs())


@dataclass(frozen=True, kw_only=True)
@checked
class QuantisedCsi:
    """Amplitude and phase, each rounded to the middle of its cell and fed back in bits.

    Args:
        phase_bits: cells of equal width over 2 pi, >= 1 bit.
        amplitude_bits: cells of equal width over [0, largest_amplitude]; 0 feeds back the phase alone.
        largest_amplitude: larger ones are taken for the last cell.
    """

    phase_bits: int = 4
    amplitude_bits: int = 4
    largest_amplitude: float = 3.0

    def __post_init__(self) -> None:
        if self.phase_bits < 1 or self.amplitude_bits < 0:
            raise ValueError(
                f"phase_bits must be >= 1 and amplitude_bits >= 0, got {self.phase_bits} and {self.amplitude_bits}"
            )
        if not 0 < self.largest_amplitude < math.inf:
            raise ValueError(f"largest_amplitude must be finite and > 0, got {self.largest_amplitude}")

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return the cell's middle; its gradient with respect to h is 0."""
        step = 2 * math.pi / 2**self.phase_bits
        phase = ((h.angle() / step).floor() + 0.5) * step
        if self.amplitude_bits:
            width = self.largest_amplitude / 2**self.amplitude_bits
            cell = (h.abs() / width).floor().clamp(max=2**self.amplitude_bits - 1)
            amplitude = (cell + 0.5) * width
        else:
            amplitude = torch.ones_like(phase)
        bits = (self.phase_bits + self.amplitude_bits) * h.shape[-1] * h.shape[-2]
        return Knowledge(torch.polar(amplitude, phase), feedback_bits=bits, free=False)


def _complex_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """CN(0, 1) like a complex tensor, independent for every entry."""
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)
