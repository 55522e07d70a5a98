"""The carrier: how a message lies on time and frequency, and how long it takes.

`SingleCarrier` sends one channel use after another; `channels.waveform.Ofdm` fills a resource grid.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.segments import Grid

Coherence = Literal["round", "block", "symbol"] | int
Baseband = Literal["complex", "real"]
SYMBOLS_PER_USE = {"complex": 2, "real": 1}
"""Real symbols that a channel use carries."""


class Carrier(Hashable, Protocol):
    """Owns the grid of a message, its seconds and its prefix; a value, equal to another with the same settings."""

    @property
    def baseband(self) -> Baseband:
        """Whether a channel use carries two real symbols or one."""
        ...

    @property
    def prefix_overhead(self) -> float:
        """Energy with cyclic prefix over energy without, >= 1."""
        ...

    def cells(self, layout: tuple[int, ...]) -> Grid:
        """Where the symbols of a layout lie."""
        ...

    def on_air_s(self, num_symbols: int, pilot_uses: int) -> float | None:
        """Seconds that so many real symbols and pilots take; None where no time is known."""
        ...


@dataclass(frozen=True, kw_only=True)
class SingleCarrier:
    """One channel use after another.

    Args:
        coherence: the gain is constant over a "round", a "block" of the message, a "symbol" (one channel use), or over so
            many real symbols.
        baseband: "complex" (two real symbols per channel use) or "real" (one).
        bandwidth_hz: channel uses per second; None where no time is known.
    """

    coherence: Coherence = "round"
    baseband: Baseband = "complex"
    bandwidth_hz: float | None = None

    def __post_init__(self) -> None:
        check_bandwidth(self.bandwidth_hz)
        if not isinstance(self.coherence, int):
            return
        if self.coherence < 1:
            raise ValueError(f"coherence must be a number of real symbols >= 1, or a word, got {self.coherence}")
        if self.baseband == "complex" and self.coherence % 2:
            raise ValueError(
                f"coherence must be an even number of real symbols on a complex baseband, got {self.coherence}; "
                'a channel use carries two, or set baseband="real"'
            )

    @property
    def prefix_overhead(self) -> float:
        """1: there is no prefix."""
        return 1.0

    def cells(self, layout: tuple[int, ...]) -> Grid:
        """Where the symbols of a layout lie, by the coherence asked for."""
        num_symbols = sum(layout)
        if self.coherence == "round":
            return Grid(num_slots=1, symbols_per_cell=num_symbols)
        if self.coherence == "block":
            return Grid(num_slots=len(layout), symbols_per_cell=self._of_blocks(layout, num_symbols))
        per_use = SYMBOLS_PER_USE[self.baseband]
        cell = self.coherence if isinstance(self.coherence, int) else per_use
        slot_s = None if self.bandwidth_hz is None else cell / per_use / self.bandwidth_hz
        return Grid(num_slots=-(-num_symbols // cell), symbols_per_cell=cell, slot_s=slot_s)

    def _of_blocks(self, layout: tuple[int, ...], num_symbols: int) -> tuple[int, ...]:
        """Symbols of each cell; a channel use that two blocks share belongs to the first."""
        if self.baseband == "real":
            return layout
        ends, total = [0], 0
        for size in layout:
            total += size
            ends.append(min(total + total % 2, num_symbols))
        return tuple(end - start for start, end in pairwise(ends))

    def on_air_s(self, num_symbols: int, pilot_uses: int) -> float | None:
        """Channel uses over the bandwidth."""
        return seconds(channel_uses(self.baseband, num_symbols) + pilot_uses, self.bandwidth_hz)


def seconds(num_channel_uses: int, bandwidth_hz: float | None) -> float | None:
    """Duration of channel uses; None where no bandwidth is known."""
    return None if bandwidth_hz is None else num_channel_uses / bandwidth_hz


def together(waiting_s: Tensor | None, on_air_s: float | None) -> float | Tensor | None:
    """Time waited for devices and time on the air; None where neither is known."""
    return on_air_s if waiting_s is None else waiting_s + (on_air_s or 0.0)


def channel_uses(baseband: Baseband, num_symbols: int) -> int:
    """S on a real baseband, ceil(S / 2) on a complex one."""
    return -(-num_symbols // SYMBOLS_PER_USE[baseband])


def as_channel_uses(x: Tensor) -> Tensor:
    """Real or complex amplitudes of real symbols [..., S] as complex channel uses x_I + j x_Q: [..., ceil(S / 2)]."""
    if x.shape[-1] % 2:
        x = torch.cat([x, torch.zeros_like(x[..., :1])], dim=-1)
    return x[..., 0::2] + 1j * x[..., 1::2]


def check_bandwidth(bandwidth_hz: float | None) -> None:
    """Refuse a bandwidth that is none.

    Raises:
        ValueError: not finite and > 0.
    """
    if bandwidth_hz is not None and not 0 < bandwidth_hz < float("inf"):
        raise ValueError(f"bandwidth_hz must be finite and > 0, got {bandwidth_hz}")
