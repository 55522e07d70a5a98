"""Multipath fading: the gains of an uplink's cells from propagation paths.

    flat:       h(t)    = sum_p a_p(t)
    selective:  h(t, f) = sum_p a_p(t) e^{-j 2 pi f tau_p}

t is the start of a slot and f the centre of a frequency block, relative to the carrier, as the grid knows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.propagation.paths import Paths, PathsProcess, draw_paths, frequency_response
from laser_wireless.channels.segments import Grid


def seconds_per_slot(grid: Grid) -> float:
    """grid.slot_s, or 0 where there is one slot.

    Raises:
        ValueError: the grid has several slots but no slot_s.
    """
    if grid.slot_s is None and grid.num_slots > 1:
        raise ValueError(
            f"a channel that changes with time needs the seconds between the grid's {grid.num_slots} slots; give the grid "
            "its slot_s, or ask for one slot per round"
        )
    return grid.slot_s or 0.0


def hertz_per_block(grid: Grid) -> float:
    """grid.block_hz, or 0 where there is one frequency block.

    Raises:
        ValueError: the grid has several frequency blocks but no block_hz.
    """
    if grid.block_hz is None and grid.num_frequency_blocks > 1:
        raise ValueError(
            f"a frequency-selective channel needs the hertz between the grid's {grid.num_frequency_blocks} frequency "
            "blocks; give the grid its block_hz, or choose flat fading"
        )
    return grid.block_hz or 0.0


def slot_times(grid: Grid, device: torch.device | str) -> Tensor:
    """Start of each slot: float64 [T], seconds from the start of the round."""
    return torch.arange(grid.num_slots, dtype=torch.float64, device=device) * seconds_per_slot(grid)


def block_frequencies(grid: Grid, device: torch.device | str) -> Tensor:
    """Centre of each frequency block: float64 [F], hertz from the carrier, (f - (F - 1) / 2) block_hz."""
    index = torch.arange(grid.num_frequency_blocks, dtype=torch.float64, device=device)
    return (index - (grid.num_frequency_blocks - 1) / 2) * hertz_per_block(grid)


@dataclass(frozen=True, kw_only=True)
@checked
class Multipath:
    """Fading over a grid from a model of paths, with memory or without; both a `FadingProcess` and a `Fading`.

    `advance` continues from round to round; a direct call draws a round as if it were the first. Gains are those at the
    start of each slot and the centre of each frequency block: the grid must be fine enough for Doppler and delay spread.

    Args:
        paths: `TappedDelayLine`, a function or any `Paths` or `PathsProcess`.
        frequency: "selective" gives each frequency block its own gain; "flat" adds the paths up as in a narrow band,
            whatever their delays.
    """

    paths: Paths | PathsProcess
    frequency: Literal["flat", "selective"] = "selective"

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return the gains of a round on its own, paths drawn afresh; see `Fading`."""
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
        """Return the gains of a round and what the next must know; see `FadingProcess`.

        Returns:
            h: complex [num_devices, num_rx_antennas, T, F], or [..., T, 1] for flat fading.
            state: of the paths; empty where they have no memory.
        """
        times = slot_times(grid, generator.device)
        a, tau, state = draw_paths(
            self.paths, num_devices, num_rx_antennas, times, round=round, generator=generator, state=state
        )
        if self.frequency == "flat":
            return a.sum(2).unsqueeze(-1), state
        return frequency_response(a, tau, block_frequencies(grid, generator.device)), state
