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

from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from laser_wireless.channels.propagation.paths import Paths, PathsProcess
from laser_wireless.channels.segments import Grid


class Fading(Protocol):
    """Draws the gains of a round; a plain function will do."""

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, /, *, round: int, generator: torch.Generator
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
        /,
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


FadingModel: TypeAlias = Fading | FadingProcess | Paths | PathsProcess
"""What an uplink takes for its fading: a law of gains or a model of paths, with memory or without."""
