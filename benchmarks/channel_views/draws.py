"""Gains for Monte-Carlo: independent runs of consecutive rounds, as one tensor."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.fading.contract import FadingModel, FadingProcess
from laser_wireless.channels.fading.draws import draw_gains
from laser_wireless.channels.round import Streams
from laser_wireless.channels.segments import Grid


@dataclass(frozen=True)
class Links:
    """Between whom gains are drawn, over which grid of times and frequencies, from which seed."""

    num_devices: int
    num_rx_antennas: int
    grid: Grid
    seed: int

    def draw(self, fading: FadingModel, *, runs: range, num_rounds: int, device: torch.device) -> Tensor:
        """Draw the gains of some runs of `num_rounds` consecutive rounds each.

        A `FadingProcess` starts afresh in each run and continues from round to round within it. Another model has no
        memory: its runs are pieces of one sequence of rounds, so that a replayed file is read on and not begun again.

        Returns:
            h: [runs, num_rounds, K, N_r, C], C = T F, or 1 where the model gives one gain for all cells.
        """
        remembers = isinstance(fading, FadingProcess)
        drawn = []
        for run in runs:
            streams, state = Streams(seed_of_run(self.seed, run) if remembers else self.seed), None
            for i in range(num_rounds):
                round = i if remembers else run * num_rounds + i
                h, state = draw_gains(
                    fading,
                    self.num_devices,
                    self.grid,
                    round=round,
                    generator=streams.generator("gains", round, device),
                    num_rx_antennas=self.num_rx_antennas,
                    state=state,
                )
                drawn.append(h.expand(self.num_devices, self.num_rx_antennas, -1))
        return torch.stack(drawn).unflatten(0, (len(runs), num_rounds))


def seed_of_run(seed: int, run: int) -> int:
    """Seed of an independent run: the user's own for the first, 63 bits of a hash for the others."""
    if run == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/run {run}".encode()).digest()[:8], "little") >> 1
