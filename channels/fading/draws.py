"""The gains of a round from any law: a function, a process, a model of paths, or one that is meant unnormalised."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from laser_wireless.channels.fading.contract import FadingModel, FadingProcess
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.paths import PathsProcess
from laser_wireless.channels.segments import Grid


@dataclass(frozen=True, kw_only=True)
@checked
class Unnormalised:
    """A law that is meant as it is, whatever its E|h|^2: taken without a question.

    The mean received SNR of a device is then E|h|^2 times the SNR of its budget. Everything else is as with the law itself.

    Args:
        fading: the law, or a model of paths.
    """

    fading: FadingModel

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


def as_fading(model: Any) -> Any:
    """A model of paths as a fading over a grid: known by its third argument, `times`. Anything else stays as it is.

    What `Unnormalised` says of a law is no part of it.
    """
    if isinstance(model, Unnormalised):
        return as_fading(model.fading)
    method = model.advance if isinstance(model, PathsProcess) else model
    if isinstance(model, Multipath) or not callable(method):
        return model
    try:
        names = list(inspect.signature(method).parameters)
    except (TypeError, ValueError):  # a callable of another language
        return model
    return Multipath(paths=model) if names[2:3] == ["times"] else model


def draw_gains(
    fading: FadingModel,
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
    fading: FadingModel,
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
