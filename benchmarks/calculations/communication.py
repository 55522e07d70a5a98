"""What does a scheme put on the air? Real symbols and bytes of one device's message, counted from the real compressor.

The count runs the compressor's own `encode` on tensors without memory, so that a model of any size takes a second or two.
Beside it stands the closed form that the papers state. A message that were sent digitally takes 4 bytes for a real number,
1/8 for a sign or a bit of an index; 1 MB is 10^6 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch

from laser_wireless.benchmarks.calculations.weightless import weightless
from laser_wireless.benchmarks.records import Row, read_csv
from laser_wireless.benchmarks.schemes import facts_of
from laser_wireless.benchmarks.speed.shapes import Shapes
from laser_wireless.compression import (
    Compressor,
    CountSketch,
    GaussianProjection,
    LowRank,
    RandomK,
    Sign,
    Uncompressed,
)

ROUNDS = (0, 1)
"""One round of each kind: LASER with one factor sends the column side in even rounds, the row side in odd ones."""


class Length(NamedTuple):
    """Length of one device's message in one round: real symbols, bytes if sent digitally, blocks."""

    num_symbols: int
    num_bytes: float
    num_blocks: int


def count(compressor: Compressor, shapes: Shapes, rounds: Sequence[int] = ROUNDS) -> list[Length]:
    """Count one device's message in each of the rounds.

    Args:
        compressor: the scheme; its `init` and `encode` run on tensors that have shapes and no values (`weightless`).
        shapes: of the model's parameters.
        rounds: 0, 1, ...

    Raises:
        ValueError: a layout does not add up to the symbols.
    """
    lengths = []
    with weightless():
        state = compressor.init(shapes, 1, device=torch.device("cpu"), dtype=torch.float32, seed=0)
        gradients = torch.empty(1, sum(map(prod, shapes)))
        for round in rounds:
            message = compressor.encode(gradients, state, round=round)
            if sum(message.layout) != message.symbols.shape[-1]:
                raise ValueError(f"{compressor}: a layout of {sum(message.layout)} for {message.symbols.shape[-1]} symbols")
            lengths.append(Length(message.symbols.shape[-1], message.num_bytes, len(message.layout)))
    return lengths


def claimed_symbols(compressor: Compressor, shapes: Shapes, round: int) -> int | None:
    """Real symbols of a round by the closed form, None for a scheme without one here.

    A parameter has d numbers, m its first axis, n = d / m; r is the rank. Z-SGD, Signum: d. LASER: r (m + n) with both
    factors, or r n (even rounds) and r m (odd rounds) with one; d where r (m + n) >= d, and for parameters of one dimension.
    Random-K: k = max(1, floor(kappa d)). Sketching: R max(1, floor(kappa d / R)), R rows. Top-K: k (1 + ceil(log2 d)).
    A-DSGD, of all parameters as one: floor(kappa d / M) and a mean for each of M segments.
    """
    claim = facts_of(compressor).symbols
    return None if claim is None else claim(compressor, shapes, round)


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


def published_schemes() -> dict[str, Compressor]:
    """The schemes of the published table of megabytes per iteration, LASER in three readings of its message."""
    return {
        "Z-SGD": Uncompressed(),
        "SIGNUM": Sign(),
        "RANDOM-K": RandomK(fraction=0.2),
        "SKETCHING": CountSketch(fraction=0.2),
        "A-DSGD": GaussianProjection(fraction=0.1),
        "LASER, rank 4, both factors": LowRank(rank=4, rule="both"),
        "LASER, rank 8, one factor": LowRank(rank=8),
        "LASER, rank 4, one factor": LowRank(rank=4),
    }


_LASER_OF_THE_TABLE = ("LASER, rank 4, both factors", "LASER, rank 8, one factor")  # those that weigh its 3 MB


def published_megabytes() -> dict[str, float]:
    """Megabytes per iteration of GPT-2 as published (Makkuva et al., slides), rounded there; name in `published_schemes`.

    The slides do not say how their LASER is sent; its 3 MB are those of rank 4 with both factors or rank 8 with one. A
    variant that weighs otherwise has no published number.
    """
    rows = read_csv(Path(__file__).parent.parent / "reference" / "talk-communication-cost.csv")
    values = {row["series"]: row["value"] for row in rows if row["value"] != ""}
    laser = values.pop("LASER")
    return {**values, **dict.fromkeys(_LASER_OF_THE_TABLE, laser)}


def _row(compressor: Compressor, shapes: Shapes, raw_bytes: int) -> Row:
    lengths = count(compressor, shapes)
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
