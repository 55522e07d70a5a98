"""Fading: the complex gain h of each device's link, y = sum_k h_k x_k + n.

A model is any function of this signature:

    def my_fading(num_devices, num_rx_antennas, grid, *, round, generator):
        return h    # complex, broadcastable to [num_devices, num_rx_antennas, T, F]

with T = grid.num_slots and F = grid.num_frequency_blocks. By contract E|h|^2 = 1: the SNR of the budget is the mean
received SNR of one device. That of a law of your own is measured where a run begins; `Unnormalised` says that another value
is meant. All draws come from `generator`, seeded for the round, on the device of the symbols.
A model whose gains continue from round to round is a `FadingProcess`: what it remembers is a value that the run keeps. A
model of propagation paths, whose third argument is `times`, is taken for the gains of its paths; see
`channels.propagation.multipath`.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, runtime_checkable
from weakref import WeakValueDictionary

import torch
from laser_wireless.channels.contracts import shown
from laser_wireless.channels.normalisation import mean_power, sample
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.propagation.multipath import as_fading
from laser_wireless.channels.propagation.tensorflow_stage import TensorFlowFading
from laser_wireless.channels.round import Streams
from laser_wireless.channels.segments import Grid
from torch import Tensor

_JUDGED: WeakValueDictionary[int, Any] = WeakValueDictionary()  # laws whose E|h|^2 was measured and found to be 1


class Fading(Protocol):
    """Draws the gains of a round; a plain function will do."""

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return h: complex, broadcastable to [num_devices, num_rx_antennas, T, F]."""
        ...


@runtime_checkable
class FadingProcess(Protocol):
    """Draws gains that depend on those of the rounds before."""

    def advance(
        self,
        num_devices: int,
        num_rx_antennas: int,
        grid: Grid,
        *,
        round: int,
        generator: torch.Generator,
        state: dict[str, Tensor] | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return h, as `Fading` does, and what the next round must know.

        Args:
            num_devices: K.
            num_rx_antennas: N_r.
            grid: where the symbols lie.
            round: 0, 1, ...; each round has a generator of its own.
            generator: of this round's draws.
            state: what the last round returned, None in the first; tensors on the generator's device.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class NoFading:
    """h = 1: the Gaussian multiple-access channel."""

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return ones: float32 [1, 1, 1, 1]."""
        return torch.ones(1, 1, 1, 1, device=generator.device)


@dataclass(frozen=True, kw_only=True)
class Rayleigh:
    """Independent h ~ CN(0, 1) for each device, antenna and cell: no line of sight, rich scattering.

    |h|^2 is exponential with mean 1, the phase uniform.
    """

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return h: complex64 [num_devices, num_rx_antennas, T, F]."""
        shape = (num_devices, num_rx_antennas, grid.num_slots, grid.num_frequency_blocks)
        return torch.randn(shape, dtype=torch.complex64, device=generator.device, generator=generator)


@dataclass(frozen=True, kw_only=True)
@checked
class Rician:
    """h = sqrt(k/(k+1)) e^{j phi} + sqrt(1/(k+1)) CN(0, 1): a line of sight and scattering.

    Args:
        k_factor: k >= 0, power of the line of sight over that of the scattered part, linear; 0 is Rayleigh.

    phi is uniform, one for each device and round: the phase of a distant transmitter is unknown beforehand.
    """

    k_factor: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.k_factor < math.inf:
            raise ValueError(f"k_factor must be finite and >= 0 (linear, not dB), got {self.k_factor}")

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return h: complex64 [num_devices, num_rx_antennas, T, F]."""
        phase = torch.rand(num_devices, 1, 1, 1, device=generator.device, generator=generator) * (2 * math.pi)
        line_of_sight = torch.polar(torch.full_like(phase, math.sqrt(self.k_factor / (self.k_factor + 1))), phase)
        scattered = Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)
        return line_of_sight + math.sqrt(1 / (self.k_factor + 1)) * scattered


@dataclass(frozen=True, kw_only=True)
@checked
class Unnormalised:
    """A law that is meant as it is, whatever its E|h|^2: taken without a question.

    The mean received SNR of a device is then E|h|^2 times the SNR of its budget. Everything else is as with the law itself.

    Args:
        fading: the law, or a model of paths.
    """

    fading: Fading | FadingProcess

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return the gains of a round on its own; see `Fading`."""
        return self.advance(num_devices, num_rx_antennas, grid, round=round, generator=generator, state=None)[0]

    def advance(
        self,
        num_devices: int,
        num_rx_antennas: int,
        grid: Grid,
        *,
        round: int,
        generator: torch.Generator,
        state: dict[str, Tensor] | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the law's gains and what it remembers; see `FadingProcess`."""
        return _advanced(self.fading, num_devices, num_rx_antennas, grid, round=round, generator=generator, state=state)


def check_normalised(
    fading: Fading | FadingProcess,
    num_devices: int,
    grid: Grid,
    *,
    device: torch.device | str,
    num_rx_antennas: int = 1,
    name: str = "fading",
) -> None:
    """Measure E|h|^2 of a law that the user brings, once for each law; those of this package are 1 by construction.

    The sample has generators of its own, so that no draw of a run shifts. Reads values on the host.

    Raises:
        ValueError: the mean power is not 1, by more than chance allows; see `channels.normalisation`.
    """
    if _is_ours(fading) or _JUDGED.get(id(fading)) is fading:
        return

    def draw(round: int, number: int) -> Tensor:
        generator = Streams(number).generator("normalisation", round, device)
        h, _ = draw_gains(fading, num_devices, grid, round=round, generator=generator, num_rx_antennas=num_rx_antennas)
        return h.abs().double().square().mean((1, 2))

    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(cuda):  # for laws that draw elsewhere
        found = mean_power(*sample(draw, num_devices))
    if not found.is_one:
        decibels = f"{10 * math.log10(found.measured):+.1f} dB" if found.measured > 0 else "no power at all"
        law = getattr(fading, "__name__", None) or shown(fading)
        raise ValueError(
            f"{name} must have E|h|^2 = 1, that of {law} is {found.measured:.4g} ({decibels}; over {found.num_rounds} "
            "rounds): divide h by its root and put a large-scale gain into link_gain, or, if it is meant, write "
            "fading=Unnormalised(fading=...)"
        )
    with suppress(TypeError):  # what cannot be referred to weakly is judged again
        _JUDGED[id(fading)] = fading


def _is_ours(model: Any) -> bool:
    """Whether a model, and every model or function in it, comes with this package; a law within `Unnormalised` may pass."""
    if isinstance(model, Unnormalised):
        return True
    if isinstance(model, TensorFlowFading) or not (getattr(model, "__module__", "") or "").startswith("laser_wireless."):
        return False
    parts = [getattr(model, f.name) for f in fields(model)] if is_dataclass(model) else []
    return all(_is_ours(part) for part in parts if callable(part) or isinstance(part, FadingProcess))


def draw_gains(
    fading: Fading | FadingProcess,
    num_devices: int,
    grid: Grid,
    *,
    round: int,
    generator: torch.Generator,
    num_rx_antennas: int = 1,
    state: dict[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw a round's gains and check what a user's function returned.

    Returns:
        h: real or complex [K | 1, N_r | 1, T F | 1], broadcastable.
        state: of a `FadingProcess` after the round; empty for a model without memory.

    Raises:
        TypeError: it returned no tensor, or one of another device or of integers.
        ValueError: its shape does not broadcast to [num_devices, num_rx_antennas, T, F].
    """
    name = getattr(fading, "__name__", None) or repr(fading)
    before = state or None
    h, after = _advanced(fading, num_devices, num_rx_antennas, grid, round=round, generator=generator, state=before)
    if not isinstance(h, Tensor):
        raise TypeError(f"fading {name} must return a torch.Tensor of gains, got {type(h).__name__}")
    if not (h.is_complex() or h.is_floating_point()):
        raise TypeError(f"fading {name} must return complex gains, got {h.dtype}; use h.to(torch.complex64)")
    if h.device.type != generator.device.type:
        raise TypeError(
            f"fading {name} must return gains on {generator.device}, got {h.device}; draw them with device=generator.device"
        )
    wanted = (num_devices, num_rx_antennas, grid.num_slots, grid.num_frequency_blocks)
    if h.ndim != 4 or any(found not in (1, size) for found, size in zip(h.shape, wanted, strict=True)):
        raise ValueError(
            f"fading {name} must return gains of shape [num_devices, num_rx_antennas, T, F] = {list(wanted)} "
            f"(axes of length 1 are broadcast), got {list(h.shape)}"
        )
    if h.shape[2:] == (1, 1):
        return h[..., 0], after
    return h.expand(-1, -1, *wanted[2:]).flatten(2), after


def _advanced(
    fading: Fading | FadingProcess,
    num_devices: int,
    num_rx_antennas: int,
    grid: Grid,
    *,
    round: int,
    generator: torch.Generator,
    state: dict[str, Tensor] | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Gains of any model as it returns them, and what it remembers; nothing for one without memory."""
    law = as_fading(fading)
    if isinstance(law, FadingProcess):
        return law.advance(num_devices, num_rx_antennas, grid, round=round, generator=generator, state=state)
    return law(num_devices, num_rx_antennas, grid, round=round, generator=generator), {}


def draw_rounds(
    fading: Fading | FadingProcess,
    num_devices: int,
    grid: Grid,
    *,
    num_rounds: int,
    streams: Streams,
    device: torch.device | str,
    num_rx_antennas: int = 1,
) -> Tensor:
    """Draw the gains of consecutive rounds as one batch, for Monte-Carlo, as `aggregate(gains=...)` takes them.

    Returns:
        h: [num_rounds, K, T F], or [num_rounds, K, N_r, T F] for several receive antennas.

    Raises:
        ValueError: a law whose E|h|^2 is not 1; see `check_normalised`.
    """
    check_normalised(fading, num_devices, grid, device=device, num_rx_antennas=num_rx_antennas)
    drawn, state = [], None
    for round in range(num_rounds):
        generator = streams.generator("gains", round, device)
        h, state = draw_gains(
            fading,
            num_devices,
            grid,
            round=round,
            generator=generator,
            num_rx_antennas=num_rx_antennas,
            state=state,
        )
        drawn.append(h.expand(num_devices, num_rx_antennas, -1))
    gains = torch.stack(drawn)
    return gains.squeeze(-2) if num_rx_antennas == 1 else gains
