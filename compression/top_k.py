"""Top-K with its indices paid for: a leader announces, bit by bit, which entries all devices send in the next round.

References: Stich, Cordonnier, Jaggi, arXiv:1809.07599 (top_k with memory); the leader that changes from round to round is
that of ScaleCom's cyclic local top-k (Chen et al., NeurIPS 2020, arXiv:2104.11125), where it announces without errors, in
the same round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from laser_wireless.compression.message import Message, check_gradients, check_shapes, sizes_of, split_parameters
from laser_wireless.compression.parameters import checked
from laser_wireless.compression.shared_draws import check_fraction, draw_subset, portion, shared_generator


class TopKState(NamedTuple):
    """What all parties know: where this round's entries lie in a row of d numbers, int64 [..., sum of k_b].

    own: the first of the devices whose gradients are encoded, and how many there are in all processes; None for all.
    """

    shapes: tuple[tuple[int, ...], ...]
    places: Tensor
    runs: tuple[int, ...] = ()
    own: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
@checked
class TopK:
    """Send k = max(1, floor(kappa d_b)) entries of each parameter, and the indices of the next round's.

    Values can only add up in the air if all devices send the same entries, and somebody must say which. In round t device
    t mod K leads: it picks the k entries of its own memory and gradient that are largest in magnitude, those being sent now
    left out, and sends their indices as k ceil(log2 d_b) symbols of +1 and -1 (bits, uncoded), while the others are silent
    in these symbols. The receiver decides each bit by its sign; what it decided, errors included, is what all devices send
    in round t + 1 (the downlink is noiseless). So a bad channel turns top-k into random-k, and nothing is free: S =
    sum_b k_b (1 + ceil(log2 d_b)) real symbols per round. Half of a block's energy goes to its values, half to its
    indices. Round 0 sends random entries, drawn from a shared seed.

    Biased; with error feedback what was not sent is kept. An index that arrives twice is sent twice and averaged.

    Args:
        fraction: kappa in (0, 1].
        error_feedback: keep the entries that were not sent.
    """

    fraction: float = 0.01
    error_feedback: bool = True
    momentum = 0.0

    def __post_init__(self) -> None:
        check_fraction(self.fraction)

    def counts(self, shapes: tuple[tuple[int, ...], ...]) -> list[int]:
        """Entries k sent of each parameter."""
        return [portion(self.fraction, size) for size in sizes_of(shapes)]

    def init(
        self, shapes: Sequence[tuple[int, ...]], num_devices: int, *, device: torch.device, dtype: torch.dtype, seed: int
    ) -> TopKState:
        """Return the state before round 0, with random entries drawn from `seed`."""
        plain = check_shapes(shapes)
        generator = shared_generator(seed, 0)
        places = [
            start + draw_subset(size, count, seed=(seed, number), generator=generator)
            for number, (start, size, count) in enumerate(self._parameters(plain))
        ]
        return TopKState(plain, torch.cat(places).to(device))

    def encode(self, gradients: Tensor, state: TopKState, *, round: int) -> Message:
        """Return the values at this round's places and, from the leader, the bits of the next ones; block after block."""
        check_gradients(gradients, state.shapes, state.runs)
        first, num_devices = state.own or (0, gradients.shape[-2])
        leader = round % num_devices - first
        leads = 0 <= leader < gradients.shape[-2]  # or the leader is a device of another process
        if leads:
            magnitudes = gradients[..., leader, :].detach().abs().scatter(-1, state.places, -1)
        sent = gradients.gather(-1, _of_devices(state, gradients))
        values = torch.split_with_sizes(sent, self.counts(state.shapes), -1)
        blocks: list[Tensor] = []
        share_as: list[int] = []
        bits: list[int] = []
        for (start, size, count), value in zip(self._parameters(state.shapes), values, strict=True):
            blocks.append(value)
            share_as.append(len(blocks) - 1)
            bits.append(32)
            if length := _index_bits(size):
                block = gradients.new_zeros(*gradients.shape[:-1], count * length)
                if leads:
                    best = magnitudes[..., start : start + size].topk(count, sorted=False).indices
                    word = best.unsqueeze(-1) >> torch.arange(length, device=best.device)
                    block[..., leader, :] = (2 * (word & 1) - 1).flatten(-2).to(block.dtype)
                blocks.append(block)
                share_as.append(len(blocks) - 2)
                bits.append(1)
        layout = tuple(block.shape[-1] for block in blocks)
        return Message(torch.cat(blocks, dim=-1), layout, tuple(share_as), tuple(bits))

    def subtract_(self, memory: Tensor, sent: Tensor, delivered: Tensor, state: TopKState, *, round: int) -> None:
        """Subtract the values that were delivered."""
        values, _ = self._values_and_bits(delivered, state.shapes)
        memory.scatter_add_(-1, _of_devices(state, memory), -(values / _times_sent(state).unsqueeze(-2)))

    def decode(
        self,
        estimate: Tensor,
        state: TopKState,
        *,
        round: int,
        noise_variance: Tensor | None = None,
        out: Sequence[Tensor] | None = None,
    ) -> tuple[list[Tensor], TopKState]:
        """Put the values in their places, zeros elsewhere, and decide the next places; the old ones if no bit arrived."""
        values, bits = self._values_and_bits(estimate, state.shapes)
        row = estimate.new_zeros(*estimate.shape[:-1], sum(sizes_of(state.shapes)))
        row = row.scatter_add(-1, state.places, values / _times_sent(state))
        places = []
        kept = torch.split_with_sizes(state.places, self.counts(state.shapes), -1)
        for (start, size, count), word, before in zip(self._parameters(state.shapes), bits, kept, strict=True):
            if word is None:
                places.append(before)
                continue
            weights = 1 << torch.arange(_index_bits(size), device=word.device)
            index = ((word.detach().unflatten(-1, (count, -1)) > 0) * weights).sum(-1) % size
            heard = word.detach().abs().amax(-1, keepdim=True) > torch.finfo(word.dtype).eps  # bits are 1 or -1, over K
            places.append(torch.where(heard, start + index, before))
        return split_parameters(row, state.shapes), state._replace(places=torch.cat(places, dim=-1))

    def _parameters(self, shapes: tuple[tuple[int, ...], ...]) -> Iterator[tuple[int, int, int]]:
        """For each parameter: where it starts in a row, its size, and its k."""
        start = 0
        for size, count in zip(sizes_of(shapes), self.counts(shapes), strict=True):
            yield start, size, count
            start += size

    def _values_and_bits(self, symbols: Tensor, shapes: tuple[tuple[int, ...], ...]) -> tuple[Tensor, list[Tensor | None]]:
        """Cut symbols [..., S] into the values [..., sum of k_b] and each parameter's bits [..., k_b bits], if any."""
        sizes: list[int] = []
        for _, size, count in self._parameters(shapes):
            sizes += [count, count * _index_bits(size)]
        pieces = torch.split_with_sizes(symbols, sizes, -1)
        return torch.cat(pieces[0::2], dim=-1), [piece if piece.shape[-1] else None for piece in pieces[1::2]]


def _index_bits(size: int) -> int:
    """Bits of an index into `size` entries: ceil(log2 size)."""
    return (size - 1).bit_length()


def _of_devices(state: TopKState, rows: Tensor) -> Tensor:
    """The places for each device of rows [..., K, d]: a view [..., K, sum of k_b]."""
    return state.places.unsqueeze(-2).expand(*rows.shape[:-1], -1)


def _times_sent(state: TopKState) -> Tensor:
    """How many of this round's symbols carry the same entry, [..., sum of k_b]."""
    counts = torch.zeros(*state.runs, sum(sizes_of(state.shapes)), dtype=torch.int32, device=state.places.device)
    counts.scatter_add_(-1, state.places, torch.ones_like(state.places, dtype=torch.int32))
    return counts.gather(-1, state.places)
