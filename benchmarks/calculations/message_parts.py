"""One parameter's part of a message: which blocks of which norms, and what their noise becomes on the decoded parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.theory.influence import inverse_count
from laser_wireless.benchmarks.theory.signs import GAUSSIAN_FLATNESS
from laser_wireless.benchmarks.theory.sparse import gaussian_top_share
from laser_wireless.compression import Compressor, CountSketch, LowRank, RandomK, Sign, TopK, Uncompressed
from laser_wireless.compression.shared_draws import portion


class Part(NamedTuple):
    """One parameter's blocks of a message.

    sizes: symbols. norms: expected, of one device. share_as: the block of the part whose norm stands for it. noise: from
    the noise variances of the blocks to the noise energy on the decoded parameter. signal: squared norm of what is decoded
    without noise and compression.
    """

    sizes: tuple[int, ...]
    norms: tuple[float, ...]
    share_as: tuple[int, ...]
    noise: Callable[[Sequence[float]], float]
    signal: float


def part_of(compressor: Compressor, shape: tuple[int, ...], norm: float, *, round: int = 0, captured: float = 1.0) -> Part:
    """What a scheme sends of one parameter, and how it decodes the noise.

    Raises:
        BadConfiguration: a scheme that does not send its parameters in blocks of their own.
    """
    form = _PARTS.get(type(compressor))
    if form is None:
        raise BadConfiguration(
            f"schemes: noise by parameter is known for {', '.join(kind.__name__ for kind in _PARTS)}, not for "
            f"{type(compressor).__name__}; `laser theory influence` may know its factor"
        )
    return form(compressor, shape, norm, round, captured)


def _plain(size: int, norm: float, signal: float | None = None, gain: float = 1.0) -> Part:
    """One block of which the decoded parameter is gain times a copy of the symbols."""
    return Part((size,), (norm,), (0,), lambda t: gain * size * t[0], norm**2 if signal is None else signal)


def _low_rank(scheme: LowRank, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    matrix = scheme.matrix_of(shape)
    if matrix is None:
        return _plain(math.prod(shape), norm)
    m, n, r = matrix
    sent = captured * norm**2
    if scheme.rule == "alternating":
        return _plain(r * (m if round % 2 else n), math.sqrt(sent), norm**2)

    def noise(t: Sequence[float]) -> float:  # P Z_q + Z_p Q + Z_p Z_q, P orthonormal and Q of squared norm `sent`
        return r * n * t[1] + m * sent * t[0] + m * r * n * t[0] * t[1]

    return Part((r * m, r * n), (math.sqrt(r), math.sqrt(sent)), (1, 1), noise, norm**2)


def _sign(scheme: Sign, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    size = math.prod(shape)
    if scheme.rule == "vote":  # before the vote: noise on the mean of signs, over the energy of signs
        return _plain(size, math.sqrt(size))
    return _plain(size, math.sqrt(GAUSSIAN_FLATNESS) * norm, norm**2)


def _random_k(scheme: RandomK, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    size = math.prod(shape)
    kept = portion(scheme.fraction, size)
    return _plain(kept, norm * math.sqrt(kept / size), norm**2, (size / kept) ** 2 if scheme.rescale else 1.0)


def _count_sketch(scheme: CountSketch, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    size, rows = math.prod(shape), scheme.rows
    if rows > 1 and (scheme.divide_by_count or (scheme.read == "median" and rows > 2)):
        raise BadConfiguration(f"schemes: no closed form for the noise of {scheme}; use one row, or the mean without counts")
    width = max(1, portion(scheme.fraction, size) // rows)
    reads = width * inverse_count(size, width) if scheme.divide_by_count else size / rows
    return _plain(rows * width, norm * math.sqrt(rows), norm**2, reads / (rows * width))


def _top_k(scheme: TopK, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    size = math.prod(shape)
    kept, bits = portion(scheme.fraction, size), (size - 1).bit_length()
    values = norm * math.sqrt(gaussian_top_share(kept / size))
    if not bits:
        return _plain(kept, values, norm**2)
    return Part((kept, kept * bits), (values, math.sqrt(kept * bits)), (0, 0), lambda t: kept * t[0], norm**2)


def _uncompressed(scheme: Uncompressed, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    return _plain(math.prod(shape), norm)


_PARTS: dict[type, Callable[[Any, tuple[int, ...], float, int, float], Part]] = {
    Uncompressed: _uncompressed,
    LowRank: _low_rank,
    Sign: _sign,
    RandomK: _random_k,
    CountSketch: _count_sketch,
    TopK: _top_k,
}
