"""What does a scheme put on the air? Real symbols and bytes of one device's message, counted from the real compressor.

The count runs the compressor's own `encode` on tensors without memory, so any model of any size takes about a second.
Beside it stands the closed form that the papers state. A message that were sent digitally takes 4 bytes for a real number,
1/8 for a sign or a bit of an index; 1 MB is 10^6 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

import torch
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.speed.shapes import Shapes
from laser_wireless.compression import Compressor, LowRank, Message, Uncompressed
from torch._subclasses.fake_tensor import FakeTensorMode

ROUNDS = (0, 1)
"""One round of each kind: LASER with one factor sends the column side in even rounds, the row side in odd ones."""


class Length(NamedTuple):
    """Length of one device's message in one round: real symbols, bytes if sent digitally, blocks."""

    num_symbols: int
    num_bytes: float
    num_blocks: int


def layout_of(compressor: Compressor, shapes: Shapes, round: int) -> Message:
    """A round's message of one device; its symbols have a shape and no values, only the layout is of use."""
    with FakeTensorMode():
        state = compressor.init(shapes, 1, device=torch.device("cpu"), dtype=torch.float32, seed=0)
        gradients = torch.empty(1, sum(map(prod, shapes)))
        return compressor.encode(gradients, state, round=round)


def count(compressor: Compressor, shapes: Shapes, round: int) -> Length:
    """Count one device's message of a round.

    Args:
        compressor: the scheme.
        shapes: of the model's parameters.
        round: 0, 1, ...

    Raises:
        ValueError: the layout does not add up to the symbols.
    """
    message = layout_of(compressor, shapes, round)
    if sum(message.layout) != message.symbols.shape[-1]:
        raise ValueError(f"{compressor}: a layout of {sum(message.layout)} for {message.symbols.shape[-1]} symbols")
    return Length(message.symbols.shape[-1], message.num_bytes, len(message.layout))


def claimed_symbols(compressor: Compressor, shapes: Shapes, round: int) -> int | None:
    """Real symbols of a round by the closed form, None for a scheme without one here.

    A parameter has d numbers, m its first axis, n = d / m; r is the rank. Z-SGD: d. LASER: r (m + n) with both factors, or
    r n (even rounds) and r m (odd rounds) with one; d where r (m + n) >= d, and for parameters of one dimension.
    """
    claim = _CLAIMS.get(type(compressor))
    return None if claim is None else sum(claim(compressor, tuple(shape), round) for shape in shapes)


def _low_rank(compressor: LowRank, shape: tuple[int, ...], round: int) -> int:
    d = prod(shape)
    if len(shape) < 2:
        return d
    m, n = shape[0], d // shape[0]
    r = min(compressor.rank, m, n)
    both = r * (m + n)
    return d if both >= d else both if compressor.rule == "both" else r * (m if round % 2 else n)


_CLAIMS: dict[type, Callable[[Any, tuple[int, ...], int], int]] = {
    Uncompressed: lambda compressor, shape, round: prod(shape),
    LowRank: _low_rank,
}


def communication_table(shapes: Shapes, schemes: Mapping[str, Compressor]) -> list[Row]:
    """What each scheme sends per iteration, for one device.

    Args:
        shapes: of the model's parameters.
        schemes: name -> compressor.

    Returns:
        rows with scheme, compressor, symbols_even and symbols_odd (real symbols of the two kinds of round), symbols (their
        mean), claimed (mean of the closed form; empty where there is none), megabytes (mean, if sent digitally) and
        times_less (bytes of the raw gradient over bytes of the message).
    """
    raw_bytes = 4 * sum(map(prod, shapes))
    return [{"scheme": name, **_row(compressor, shapes, raw_bytes)} for name, compressor in schemes.items()]


def _row(compressor: Compressor, shapes: Shapes, raw_bytes: int) -> Row:
    lengths = [count(compressor, shapes, round) for round in ROUNDS]
    claims = [claimed_symbols(compressor, shapes, round) for round in ROUNDS]
    num_bytes = _mean([length.num_bytes for length in lengths])
    return {
        "compressor": str(compressor),
        "symbols_even": lengths[0].num_symbols,
        "symbols_odd": lengths[1].num_symbols,
        "symbols": _mean([length.num_symbols for length in lengths]),
        "claimed": "" if None in claims else _mean([claim for claim in claims if claim is not None]),
        "megabytes": float(num_bytes / 10**6),
        "times_less": float(raw_bytes / num_bytes),
    }


def _mean(values: Sequence[float]) -> float:
    """The mean of the two kinds of round, exactly; whole if it is."""
    mean = sum(map(Fraction, values), Fraction()) / len(values)
    return int(mean) if mean.denominator == 1 else float(mean)
