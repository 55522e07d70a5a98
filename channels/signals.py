"""Arithmetic on messages: norms, scaling and superposition of symbols that lie in segments.

Each comes as a plain form, right for any segments, and in quick forms for few segments, for runs of equal ones and for long
messages on a CPU, which are read once, in pieces that stay in a cache. A function picks the form by geometry alone.

Norms are safe at any scale of the symbols: squares neither overflow nor vanish. In a long message a piece is divided by its
own peak, and the squares, all <= 1, are added in the symbols' precision: torch adds along an axis in a tree of short sums,
so that a sum of 2^14 is off by a few eps, well within `energy.spendable`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import torch
from torch import Tensor

from laser_wireless.channels.round import Air, LocalAir
from laser_wireless.channels.segments import CHUNK, Run, Segments

_SMALL = 1 << 17  # numbers that are cheaper to convert to float64 at once than piece by piece
_LARGE = 1 << 17  # symbols of a message that should not be copied once more
_LONG = 1 << 10  # symbols of a segment that are worth a matrix product of their own
_WIDE = {False: torch.float64, True: torch.complex128}
_ALIGNMENT = 64  # bytes; where torch's memory on a CPU begins
_VIEWED = 32  # symbols of a segment that are worth one of many products at once


def wide(values: Tensor) -> Tensor:
    """The same in float64 or complex128."""
    return values.to(_WIDE[values.is_complex()])


def root(values: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0: a silent block must not turn the gradients of the others into NaN."""
    zero = values == 0
    return (values + zero).sqrt() * ~zero


@lru_cache(maxsize=256)  # torch's own takes as long as several small kernels
def broadcast(*shapes: torch.Size) -> torch.Size:
    """The common shape of several."""
    return torch.broadcast_shapes(*shapes)


def by_run(values: Tensor) -> Iterator[Tensor]:
    """Values [R, ...] run by run, each at a place in memory as if it had been made alone: some kernels round by it."""
    is_aligned = values.stride(0) * values.element_size() % _ALIGNMENT == 0
    return (run if is_aligned else run.clone() for run in values)


def is_finite(values: Tensor) -> Tensor:
    """Whether all of [..., n] along the last axis are finite: bool [..., 1], without a copy; NaN is in every extreme."""
    values = values.detach()
    return (values.amax(-1, keepdim=True) < torch.inf) & (values.amin(-1, keepdim=True) > -torch.inf)


def measure(symbols: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """Norm and peak of each segment.

    Args:
        symbols: real [..., K, S].
        segments: of the S symbols.

    Returns:
        norms: float64 [..., K, G], sqrt(sum of squares); not finite where a symbol is not.
        peaks: real [..., K, G], largest absolute value; without gradient.
    """
    if segments.num_segments == segments.num_symbols:
        peaks = symbols.abs()
        return peaks.double(), peaks.detach()
    plain = symbols.device.type == "cpu" and not symbols.requires_grad
    if plain and _of_a_round(symbols) > _SMALL and segments.chunks:
        return _measure_by_chunks(symbols, segments)
    return _MEASURES[segments.kind](symbols, segments)


def _of_a_round(symbols: Tensor) -> int:
    """Numbers of one round of one run, K S: what decides between forms, so that leading axes do not change any rounding."""
    return math.prod(symbols.shape[-2:])


def measure_plainly(symbols: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """What `measure` returns, for any segments."""
    magnitudes = symbols.detach().abs()
    peaks = magnitudes.amax(-1, keepdim=True)
    scaled = (symbols / torch.where(peaks > 0, peaks, 1)).double().square()
    lengths = segments.lengths_on(symbols.device).expand(*symbols.shape[:-1], -1).contiguous()
    squares = torch.segment_reduce(scaled, "sum", lengths=lengths, axis=scaled.ndim - 1)
    tops = torch.segment_reduce(magnitudes, "max", lengths=lengths, axis=symbols.ndim - 1)
    return root(squares) * peaks.double(), tops


def _measure_pieces(symbols: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """Few segments, each by itself."""
    if _of_a_round(symbols) > _SMALL:  # not to be copied in float64
        measured = [_norm_and_peak(piece) for piece in torch.split_with_sizes(symbols, segments.sizes, -1)]
        return torch.stack([norm for norm, _ in measured], dim=-1), torch.stack([peak for _, peak in measured], dim=-1)
    magnitudes = symbols.double().abs()  # where squares of float32 neither overflow nor vanish
    pieces = torch.split_with_sizes(magnitudes, segments.sizes, -1)
    norms = torch.stack([torch.linalg.vector_norm(piece, dim=-1) for piece in pieces], dim=-1)
    pieces = torch.split_with_sizes(magnitudes.detach(), segments.sizes, -1)
    return norms, torch.stack([piece.amax(-1) for piece in pieces], dim=-1)


def _measure_by_runs(symbols: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """Runs of equal segments, on views."""
    measured = [_norm_and_peak(run.symbols_of(symbols)) for run in segments.runs]
    return torch.cat([norm for norm, _ in measured], dim=-1), torch.cat([peak for _, peak in measured], dim=-1)


def _measure_by_chunks(symbols: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """A long message on a CPU, without gradients: a third of the time. Of several runs one after the other, in the cache."""
    if symbols.ndim > 2:
        of_runs = [_measure_by_chunks(run, segments) for run in symbols.flatten(0, -3)]
        norms, peaks = (torch.stack(values).unflatten(0, symbols.shape[:-2]) for values in zip(*of_runs, strict=True))
        return norms, peaks
    num_parts = sum(chunk.number for chunk in segments.chunks)
    norms, peaks = _norms_and_peaks_of((chunk.symbols_of(symbols) for chunk in segments.chunks), symbols, num_parts)
    if num_parts == segments.num_segments:
        return norms, peaks
    parts = segments.parts
    combined = [torch.linalg.vector_norm(part, dim=-1) for part in norms.split(parts, -1)]
    return torch.stack(combined, dim=-1), torch.stack([part.amax(-1) for part in peaks.split(parts, -1)], dim=-1)


_MEASURES = {"few": _measure_pieces, "runs": _measure_by_runs, "ragged": measure_plainly}


def _norm_and_peak(values: Tensor) -> tuple[Tensor, Tensor]:
    """Norm (float64) and peak of [..., n] along the last axis: [...] each; differentiable."""
    magnitudes = values.abs()
    peak = magnitudes.detach().amax(-1)
    if values.device.type == "cpu":
        magnitudes = magnitudes.double()  # quicker than a reduction that converts
    return torch.linalg.vector_norm(magnitudes, dim=-1, dtype=torch.float64), peak


def _norms_and_peaks_of(pieces: Iterable[Tensor], like: Tensor, num_results: int) -> tuple[Tensor, Tensor]:
    """The same of many pieces, at a third of the time on a CPU; without gradients.

    Args:
        pieces: real [..., g, l], of at most CHUNK numbers for each leading index.
        like: real [..., S], what the pieces are views of.
        num_results: G, sum of all g.

    Returns:
        norms: float64 [..., G]; not finite where a value is not.
        peaks: like values, [..., G].
    """
    rows = like.shape[:-1]
    room = like.new_empty(rows.numel() * min(CHUNK, like.shape[-1]))
    peaks = like.new_empty(*rows, num_results, 1)
    squares = torch.empty_like(peaks)
    place = 0
    for piece in pieces:
        peak = peaks.narrow(-2, place, piece.shape[-2])
        square = squares.narrow(-2, place, piece.shape[-2])
        place += piece.shape[-2]
        if piece.shape[-1] == 2:  # a channel use; a reduction over an axis of two is slow
            _pair(piece, peak, square)
            continue
        magnitudes = torch.abs(piece, out=room[: piece.numel()].view(piece.shape))
        torch.amax(magnitudes, -1, keepdim=True, out=peak)
        torch.sum(magnitudes.mul_(_inverse(peak)).square_(), -1, keepdim=True, out=square)
    norms = squares.double().sqrt_().div_(_inverse(peaks))
    return norms.squeeze(-1), peaks.squeeze(-1)


def _inverse(peak: Tensor) -> Tensor:
    """1 / peak, finite for a peak of 0 or next to it too."""
    return peak.reciprocal().clamp_(max=1 / torch.finfo(peak.dtype).tiny)


def _pair(piece: Tensor, peak: Tensor, square: Tensor) -> None:
    """Write the peak of [..., g, 2] and the sum of squares over its square."""
    first, second = piece[..., :1], piece[..., 1:]
    torch.maximum(first.abs(), second.abs(), out=peak)
    inverse = _inverse(peak)
    torch.mul(first, inverse, out=square).square_()
    square.add_((second * inverse).square_())


def scale(symbols: Tensor, values: Tensor, segments: Segments) -> Tensor:
    """Multiply symbols [..., S] by values, broadcastable to [..., G], constant over each segment."""
    return symbols * values if values.shape[-1] == 1 else _SCALES[segments.kind](symbols, values, segments)


def scale_plainly(symbols: Tensor, values: Tensor, segments: Segments) -> Tensor:
    """What `scale` returns, for any segments."""
    return symbols * segments.expand(values)


def _scale_pieces(symbols: Tensor, values: Tensor, segments: Segments) -> Tensor:
    pieces = torch.split_with_sizes(symbols, segments.sizes, -1)
    return torch.cat([piece * value for piece, value in zip(pieces, values.split(1, -1), strict=True)], dim=-1)


def _scale_runs(symbols: Tensor, values: Tensor, segments: Segments) -> Tensor:
    if symbols.requires_grad or values.requires_grad:
        scaled = [run.symbols_of(symbols) * run.segments_of(values).unsqueeze(-1) for run in segments.runs]
        return torch.cat([piece.flatten(-2) for piece in scaled], dim=-1)
    shape = torch.broadcast_shapes(symbols.shape[:-1], values.shape[:-1])
    total = symbols.new_empty(*shape, symbols.shape[-1], dtype=torch.promote_types(symbols.dtype, values.dtype))
    for run in segments.runs:
        torch.mul(run.symbols_of(symbols), run.segments_of(values).unsqueeze(-1), out=run.symbols_of(total))
    return total


_SCALES = {"few": _scale_pieces, "runs": _scale_runs, "ragged": scale_plainly}


def scale_(symbols: Tensor, values: Tensor, segments: Segments) -> Tensor:
    """Do what `scale` does in place, without the memory of a second message; neither may require gradients."""
    if values.shape[-1] == 1:
        return symbols.mul_(values)
    if segments.kind == "ragged":
        return symbols.mul_(segments.expand(values))
    if segments.kind == "few":
        for piece, value in zip(torch.split_with_sizes(symbols, segments.sizes, -1), values.split(1, -1), strict=True):
            piece.mul_(value)
        return symbols
    for run in segments.runs:
        run.symbols_of(symbols).mul_(run.segments_of(values).unsqueeze(-1))
    return symbols


def superpose(coefficients: Tensor, symbols: Tensor, segments: Segments, air: Air, *, onto: Tensor) -> Tensor:
    """Add the devices' sum of coefficient times symbol to a signal; a second sum (C = 2) is the quadrature part.

    Symbols 2 i and 2 i + 1 are one channel use, so that the quadrature sum, turned by j, is added to the other symbol of
    its channel use.

    Args:
        coefficients: real [..., C, K, G], C = 1 or 2.
        symbols: real [..., K, S].
        segments: of the S symbols.
        air: adds up.
        onto: real [..., S], such as the noise; it is changed.

    Returns:
        `onto`.
    """
    if _fits_in_pieces(coefficients, symbols, segments, air) and onto.shape[:-1] == symbols.shape[:-2]:
        rows = onto.view(-1, onto.shape[-1]), coefficients.reshape(-1, *coefficients.shape[-3:]), symbols.flatten(0, -2)
        for y, c, u in zip(*rows[:2], rows[2].split(symbols.shape[-2]), strict=True):  # run after run, in the cache
            _superpose_in_pieces_(y, c, u, segments)
        return onto
    sums = superposed(coefficients, symbols, segments)
    total = sums.squeeze(-2) if sums.shape[-2] == 1 else sums[..., 0, :] + _times_j(sums[..., 1, :])
    return onto.add_(air.sum(total.unsqueeze(-2), dim=-2).squeeze(-2))


def superposed(coefficients: Tensor, symbols: Tensor, segments: Segments) -> Tensor:
    """Sum over the devices in this process of coefficient times symbol, the coefficient being constant over a segment.

    The symbols are read once and never copied where segments are few: each segment is one small matrix product.

    Args:
        coefficients: real [..., C, K, G], C sums at once (in-phase and quadrature part, antennas), K devices, G segments.
        symbols: real [..., K, S].
        segments: of the S symbols.

    Returns:
        real [..., C, S], the sums.
    """
    return _SUMS[segments.kind](coefficients, symbols, segments)


def superposed_plainly(coefficients: Tensor, symbols: Tensor, segments: Segments) -> Tensor:
    """What `superposed` adds up in this process, for any segments."""
    return (segments.expand(coefficients) * symbols.unsqueeze(-3)).sum(-2)


def _superposed_pieces(coefficients: Tensor, symbols: Tensor, segments: Segments) -> Tensor:
    columns = coefficients.unbind(-1)  # each [..., C, K]
    pieces = torch.split_with_sizes(symbols, segments.sizes, -1)
    differentiable = coefficients.requires_grad or symbols.requires_grad
    if differentiable or coefficients.ndim > 3 or symbols.ndim > 2 or symbols.shape[-1] < _LARGE:
        return torch.cat([c @ piece for c, piece in zip(columns, pieces, strict=True)], dim=-1)
    total = symbols.new_empty(len(coefficients), symbols.shape[-1])  # one long message: the same, written in place
    places = torch.split_with_sizes(total, segments.sizes, -1)
    for c, piece, place in zip(columns, pieces, places, strict=True):
        torch.mm(c, piece, out=place)
    return total


def _superposed_runs(coefficients: Tensor, symbols: Tensor, segments: Segments) -> Tensor:
    return torch.cat([_by_run(run, coefficients, symbols) for run in segments.runs], dim=-1)


_SUMS = {"few": _superposed_pieces, "runs": _superposed_runs, "ragged": superposed_plainly}


def _fits_in_pieces(coefficients: Tensor, symbols: Tensor, segments: Segments, air: Air) -> bool:
    """Whether a message is long, on a CPU, without gradients, and its devices all live here."""
    plain = not (coefficients.requires_grad or symbols.requires_grad) and symbols.device.type == "cpu"
    alike = coefficients.shape[:-3] == symbols.shape[:-2] and isinstance(air, LocalAir)
    return plain and alike and _of_a_round(symbols) > _LARGE and bool(segments.chunks)


def _superpose_in_pieces_(y: Tensor, coefficients: Tensor, symbols: Tensor, segments: Segments) -> Tensor:
    """Add what `superpose` adds in pieces that stay in a cache: no second message is formed.

    Args:
        y: real [S].
        coefficients: real [C, K, G].
        symbols: real [K, S].
        segments: of the S symbols.
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


def _times_j(values: Tensor) -> Tensor:
    """Multiply by j the complex numbers that lie as pairs (I, Q) in [..., S]; a lone last symbol is an I."""
    padded = torch.nn.functional.pad(values, (0, values.shape[-1] % 2)).unflatten(-1, (-1, 2))
    turned = torch.stack([-padded[..., 1], padded[..., 0]], dim=-1).flatten(-2)
    return turned[..., : values.shape[-1]]


def _by_run(run: Run, coefficients: Tensor, symbols: Tensor) -> Tensor:
    """The sums over a run of equal segments: [..., C, n]."""
    pieces = run.symbols_of(symbols)  # [..., K, g, l]
    c = run.segments_of(coefficients)  # [..., C, K, g]
    if run.length >= _VIEWED:  # a small matrix product per segment, on views
        return (c.movedim(-1, -3) @ pieces.movedim(-2, -3)).movedim(-3, -2).flatten(-2)
    return (c.unsqueeze(-1) * pieces.unsqueeze(-4)).sum(-3).flatten(-2)
