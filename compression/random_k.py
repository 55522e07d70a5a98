"""Random-K: the same random entries of all devices' gradients, a fresh subset in each round.

References: Stich, Cordonnier, Jaggi, arXiv:1809.07599 (rand_k with memory); over the air: Makkuva et al., arXiv:2310.13033.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from laser_wireless.compression.message import Message, check_gradients, check_shapes, sizes_of, split_parameters
from laser_wireless.compression.parameters import checked
from laser_wireless.compression.shared_draws import check_fraction, draw_subset, portion, shared_generator


class RandomKState(NamedTuple):
    """What all parties know: where this round's entries lie in a row of d numbers, int64 [..., S]; a seed for each run."""

    shapes: tuple[tuple[int, ...], ...]
    seed: int | tuple[int, ...]
    places: Tensor
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
@checked
class RandomK:
    """Send k = max(1, floor(kappa d_b)) of the d_b entries of each parameter: S = sum_b k_b real symbols per round.

    The entries are drawn uniformly without replacement from a seed that all parties share, so no index is sent. Without
    rescaling the decoded gradient is the mean gradient where it was sent and 0 elsewhere: biased, E g_hat = (k / d) g, a
    contraction with E||g_hat - g||^2 = (1 - k / d) ||g||^2; error feedback makes up for it. With rescaling by d / k it is
    unbiased, E||g_hat - g||^2 = (d / k - 1) ||g||^2, and error feedback diverges, since too much is subtracted. The
    channel's noise adds k tau^2, or (d / k)^2 k tau^2.

    Difference from the authors' code: the seed is the run's, not a constant.

    Args:
        fraction: kappa in (0, 1].
        rescale: multiply what arrives by d / k.
        error_feedback: keep the entries that were not sent.
    """

    fraction: float = 0.2
    rescale: bool = False
    error_feedback: bool = True
    momentum = 0.0

    def __post_init__(self) -> None:
        check_fraction(self.fraction)

    def layout(self, shapes: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
        """Entries k sent of each parameter."""
        return tuple(portion(self.fraction, size) for size in sizes_of(shapes))

    def init(
        self, shapes: Sequence[tuple[int, ...]], num_devices: int, *, device: torch.device, dtype: torch.dtype, seed: int
    ) -> RandomKState:
        """Return the state before round 0, with its entries drawn."""
        return RandomKState(plain := check_shapes(shapes), seed, self._drawn(plain, seed, 0, device))

    def encode(self, gradients: Tensor, state: RandomKState, *, round: int) -> Message:
        """Gather this round's entries."""
        check_gradients(gradients, state.shapes, state.runs)
        return Message(gradients.gather(-1, _of_devices(state, gradients)), self.layout(state.shapes))

    def subtract_(self, memory: Tensor, sent: Tensor, delivered: Tensor, state: RandomKState, *, round: int) -> None:
        """Subtract what was delivered, times d / k if rescaled, from the entries that were sent."""
        memory.scatter_(-1, _of_devices(state, memory), sent - self._rescaled(delivered, state))

    def decode(
        self,
        estimate: Tensor,
        state: RandomKState,
        *,
        round: int,
        noise_variance: Tensor | None = None,
        out: Sequence[Tensor] | None = None,
    ) -> tuple[list[Tensor], RandomKState]:
        """Put the entries in their places, zeros elsewhere, and draw the next round's."""
        row = estimate.new_zeros(*estimate.shape[:-1], sum(sizes_of(state.shapes)))
        row = row.scatter(-1, state.places, self._rescaled(estimate, state))
        places = self._drawn(state.shapes, state.seed, round + 1, estimate.device)
        return split_parameters(row, state.shapes), state._replace(places=places)

    def _rescaled(self, symbols: Tensor, state: RandomKState) -> Tensor:
        """Symbols [..., S] times d / k of their parameter."""
        if not self.rescale:
            return symbols
        counts = self.layout(state.shapes)
        pieces = torch.split_with_sizes(symbols, counts, -1)
        factors = [size / count for size, count in zip(sizes_of(state.shapes), counts, strict=True)]
        return torch.cat([piece * factor for piece, factor in zip(pieces, factors, strict=True)], dim=-1)

    def _drawn(
        self, shapes: tuple[tuple[int, ...], ...], seed: int | tuple[int, ...], round: int, device: torch.device
    ) -> Tensor:
        """The places of a round, int64 [S]; [R, S] of several runs."""
        if isinstance(seed, tuple):
            return torch.stack([self._drawn(shapes, one, round, device) for one in seed])
        generator = shared_generator(seed, round, device)
        places, start = [], 0
        for number, (size, count) in enumerate(zip(sizes_of(shapes), self.layout(shapes), strict=True)):
            places.append(start + draw_subset(size, count, seed=(seed, round, number), generator=generator))
            start += size
        return torch.cat(places)


def _of_devices(state: RandomKState, rows: Tensor) -> Tensor:
    """The places for each device of rows [..., K, d]: a view [..., K, S]."""
    return state.places.unsqueeze(-2).expand(*rows.shape[:-1], -1)
