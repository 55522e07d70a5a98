"""Channel state information (CSI): what is known of the gains, at the transmitters and at the receiver.

A model of knowledge takes the true small-scale gains h of the grid's cells and returns what is known of them, with what
that cost: pilots take energy from the device's budget and channel uses from the round, feedback takes bits. Large-scale
gains are known. Whatever is not paid for is counted in the ledger as given.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Knowledge(NamedTuple):
    """What is known of the gains, and its price.

    h: complex, broadcastable to [..., K, N_r, C].
    energy: float64 [..., K], spent by each device on pilots this round; None for none.
    num_channel_uses: complex channel uses taken by pilots.
    feedback_bits: bits that each device was told.
    free: whether gains are known that nobody paid for.
    state: what the next round must remember; None for nothing.
    """

    h: Tensor
    energy: Tensor | None = None
    num_channel_uses: int = 0
    feedback_bits: int = 0
    free: bool = True
    state: Tensor | None = None


class Csi(Protocol):
    """Turns gains into knowledge of them; pure but for its generator."""

    def __call__(
        self, h: Tensor, /, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return what is known.

        Args:
            h: complex [..., K, N_r, C], true gains of the C cells of the grid, E|h|^2 = 1.
            energy: float64, broadcastable to [..., K], what earlier stages left of each device's budget for the round.
            noise_variance: float64, broadcastable to [..., K], sigma^2 per real symbol over the device's large-scale gain,
                and times the energy that a cyclic prefix costs.
            generator: of this round's draws.
            state: `Knowledge.state` of the last round, None in the first.
        """
        ...
