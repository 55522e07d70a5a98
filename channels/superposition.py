"""Superposition: the air adds up what the devices send.

An `Air` says over what the sum runs: the device axis of one tensor (`LocalAir`), or that axis and then the processes of
a group. Whatever devices must agree on (a common amplitude, the number of active devices) goes through the same object.
"""

from __future__ import annotations

from typing import Protocol

import torch
from laser_wireless.channels.segments import Run, Segments
from torch import Tensor

_LARGE = 1 << 17  # symbols of a message that should not be copied once more
_LONG = 1 << 10  # symbols of a segment that are worth a matrix product of their own
_VIEWED = 32  # symbols of a segment that are worth one of many products at once


class Air(Protocol):
    """Reduces a tensor over all devices, wherever they live; the reduced axis is kept with length one."""

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """Sum over the devices along `dim`."""
        ...

    def min(self, x: Tensor, dim: int) -> Tensor:
        """Minimum over the devices along `dim`."""
        ...

    def max(self, x: Tensor, dim: int) -> Tensor:
        """Maximum over the devices along `dim`."""
        ...


class LocalAir:
    """All devices are rows of one tensor in this process."""

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """Sum along `dim`, kept with length one."""
        return x if x.shape[dim] == 1 else x.sum(dim, keepdim=True)

    def min(self, x: Tensor, dim: int) -> Tensor:
        """Minimum along `dim`, kept with length one."""
        return x.amin(dim, keepdim=True)

    def max(self, x: Tensor, dim: int) -> Tensor:
        """Maximum along `dim`, kept with length one."""
        return x.amax(dim, keepdim=True)

    def __repr__(self) -> str:
        return "LocalAir()"


def superpose(coefficients: Tensor, symbols: Tensor, segments: Segments, air: Air) -> Tensor:
    """Sum over the devices of coefficient times symbol, the coefficient being constant over a segment.

    The symbols are read once and never copied where segments are few: each segment is one small matrix product.

    Args:
        coefficients: real [..., C, K, G], C sums at once (in-phase and quadrature part, antennas), K devices, G segments.
        symbols: real [..., K, S].
        segments: of the S symbols.
        air: adds up.

    Returns:
        real [..., C, S], the sums.
    """
    if segments.few:
        columns = coefficients.unbind(-1)  # each [..., C, K]
        pieces = torch.split_with_sizes(symbols, segments.sizes, -1)
        differentiable = coefficients.requires_grad or symbols.requires_grad
        if differentiable or coefficients.ndim > 3 or symbols.ndim > 2 or symbols.shape[-1] < _LARGE:
            total = torch.cat([c @ piece for c, piece in zip(columns, pieces, strict=True)], dim=-1)
        else:  # one long message: the same, written in place
            total = symbols.new_empty(len(coefficients), symbols.shape[-1])
            places = torch.split_with_sizes(total, segments.sizes, -1)
            for c, piece, place in zip(columns, pieces, places, strict=True):
                torch.mm(c, piece, out=place)
    elif segments.runs:
        parts = [_by_run(run, coefficients, symbols) for run in segments.runs]
        total = torch.cat(parts, dim=-1)
    else:
        total = (segments.expand(coefficients) * symbols.unsqueeze(-3)).sum(-2)
    return air.sum(total.unsqueeze(-2), dim=-2).squeeze(-2)


def can_superpose_onto(coefficients: Tensor, symbols: Tensor, segments: Segments, air: Air) -> bool:
    """Whether `superpose_onto_` may stand in for `superpose`: a long message on a CPU whose devices all live here."""
    plain = not (coefficients.requires_grad or symbols.requires_grad) and symbols.device.type == "cpu"
    one = coefficients.ndim == 3 and symbols.ndim == 2 and isinstance(air, LocalAir)
    return plain and one and symbols.numel() > _LARGE and bool(segments.chunks)


def superpose_onto_(y: Tensor, coefficients: Tensor, symbols: Tensor, segments: Segments) -> Tensor:
    """Add what `superpose` returns to y in place, in pieces that stay in a cache: no second message is formed.

    Where `can_superpose_onto` says so: for one message, without gradients.

    Args:
        y: real [S].
        coefficients: real [C, K, G]; C = 2 is an in-phase and a quadrature part, and the second sum is turned by j: it is
            added to the other symbol of its channel use, symbols 2 i and 2 i + 1 being one.
        symbols: real [K, S].
        segments: of the S symbols.

    Returns:
        y.
    """
    num_sums, num_devices = coefficients.shape[:2]
    largest = max(chunk.number * chunk.length for chunk in segments.chunks)
    sums, products = y.new_empty(num_sums * largest), y.new_empty(num_devices * largest)
    for chunk in segments.chunks:
        size = chunk.number * chunk.length
        total = sums[: num_sums * size].view(num_sums, chunk.number, chunk.length)
        _sum_of_chunk(chunk, coefficients, symbols, products, total)
        y[chunk.start : chunk.start + size] += total[0].view(-1)
        if num_sums == 2:
            _add_times_j_(y, total[1].view(-1), chunk.start)
    return y


def _sum_of_chunk(chunk: Run, coefficients: Tensor, symbols: Tensor, room: Tensor, total: Tensor) -> None:
    """Write the sums over the devices [C, g, l] of one chunk."""
    pieces, c = chunk.symbols_of(symbols), chunk.segments_of(coefficients)  # [K, g, l], [C, K, g]
    if chunk.length >= _LONG:
        for i in range(chunk.number):
            torch.mm(c[..., i], pieces[:, i], out=total[:, i])
        return
    product = room[: pieces.numel()].view(pieces.shape)
    for i in range(len(c)):
        torch.sum(torch.mul(pieces, c[i].unsqueeze(-1), out=product), 0, out=total[i])


def _add_times_j_(y: Tensor, quadrature: Tensor, start: int) -> None:
    """Add j times the quadrature sums of symbols start to start + n - 1 to y: -Q to the first of a pair, I to the second."""
    size = len(quadrature)
    if start % 2 == 0 and size % 2 == 0 and y.storage_offset() % 2 == 0:  # whole channel uses
        uses = torch.view_as_complex(y[start : start + size].view(-1, 2))
        uses.add_(torch.view_as_complex(quadrature.view(-1, 2)), alpha=1j)
        return
    end = min(start + size, len(y) - len(y) % 2)  # a lone last symbol has no partner
    first, second = quadrature[start % 2 : end - start : 2], quadrature[1 - start % 2 : end - start : 2]
    y[start + start % 2 + 1 : end + 1 : 2] += first
    y[start - start % 2 : end - 1 : 2] -= second


def _by_run(run: Run, coefficients: Tensor, symbols: Tensor) -> Tensor:
    """The sums over a run of equal segments: [..., C, n]."""
    pieces = run.symbols_of(symbols)  # [..., K, g, l]
    c = run.segments_of(coefficients)  # [..., C, K, g]
    if run.length >= _VIEWED:  # a small matrix product per segment, on views
        return (c.movedim(-1, -3) @ pieces.movedim(-2, -3)).movedim(-3, -2).flatten(-2)
    return (c.unsqueeze(-1) * pieces.unsqueeze(-4)).sum(-3).flatten(-2)
