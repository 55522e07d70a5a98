"""Z-SGD: the raw gradients, uncompressed, one block per parameter.

Reference: Makkuva et al., arXiv:2310.13033 (there "Z-SGD"); also noiseless SGD where the uplink has no noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from laser_wireless.compression.message import Message, check_gradients, check_shapes, split_parameters
from laser_wireless.compression.parameters import checked


class UncompressedState(NamedTuple):
    """Nothing changes from round to round."""

    shapes: tuple[tuple[int, ...], ...]
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
@checked
class Uncompressed:
    """Send every entry of every gradient: S = d real symbols per round, unbiased.

    The message is a view of the gradients. With one device and one m x n parameter the channel influence factor is
    E||g_hat - g||^2 / ||g||^2 = m n sigma^2 / P.

    Args:
        error_feedback: keep what a silent or clipped device could not send; without it (as published) such a gradient is
            lost. On a channel where all devices arrive there is no difference.
    """

    error_feedback: bool = False
    momentum = 0.0

    def init(
        self, shapes: Sequence[tuple[int, ...]], num_devices: int, *, device: torch.device, dtype: torch.dtype, seed: int
    ) -> UncompressedState:
        """Return the state before round 0."""
        return UncompressedState(check_shapes(shapes))

    def encode(self, gradients: Tensor, state: UncompressedState, *, round: int) -> Message:
        """Return the gradients themselves, one block per parameter."""
        check_gradients(gradients, state.shapes, state.runs)
        return Message(gradients, tuple(prod(shape) for shape in state.shapes))

    def subtract_(self, memory: Tensor, sent: Tensor, delivered: Tensor, state: UncompressedState, *, round: int) -> None:
        """Subtract what was delivered."""
        memory.sub_(delivered)

    def decode(
        self,
        estimate: Tensor,
        state: UncompressedState,
        *,
        round: int,
        noise_variance: Tensor | None = None,
        out: Sequence[Tensor] | None = None,
    ) -> tuple[list[Tensor], UncompressedState]:
        """Return views of the estimate."""
        return split_parameters(estimate, state.shapes), state
