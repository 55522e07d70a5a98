"""The influence factor of a compressor object: which closed form is its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from laser_wireless.benchmarks.theory.influence import both_factors, count_sketch, one_factor, random_k, uncompressed
from laser_wireless.benchmarks.theory.one_block import Influence, OneBlock
from laser_wireless.benchmarks.theory.signs import sign_mean, sign_vote
from laser_wireless.benchmarks.theory.sparse import gaussian_projection, top_k
from laser_wireless.compression import (
    Compressor,
    CountSketch,
    GaussianProjection,
    LowRank,
    RandomK,
    Sign,
    TopK,
    Uncompressed,
)
from laser_wireless.compression.shared_draws import portion


def influence_of(compressor: Compressor, block: OneBlock, *, round: int = 0, captured: float = 1.0) -> Influence:
    """Influence factor of a scheme; entries are taken for Gaussian where their law matters (signs, largest entries).

    Args:
        compressor: the scheme.
        block: what is sent.
        round: its parity tells which factor LASER sends.
        captured: fraction of the squared norm in LASER's rank-r approximation.

    Returns:
        the factor; NaN, and why, where there is no closed form.
    """
    form = _FORMS.get(type(compressor))
    if form is None:
        return Influence(math.nan, math.nan, False, "no closed form is known here for this scheme")
    return form(compressor, block, round, captured)


def _low_rank(scheme: LowRank, block: OneBlock, round: int, captured: float) -> Influence:
    matrix = scheme.matrix_of((block.m, block.n))
    if matrix is None:
        return uncompressed(block)
    if scheme.rule == "both":
        return both_factors(block, matrix[2], captured=captured)
    return one_factor(block, matrix[2], sends="rows" if round % 2 else "columns", captured=captured)


def _count_sketch(scheme: CountSketch, block: OneBlock, round: int, captured: float) -> Influence:
    if scheme.read == "median" and scheme.rows > 2:
        return Influence(math.nan, math.nan, False, "no closed form for the median of rows")
    width = max(1, portion(scheme.fraction, block.d) // scheme.rows)
    return count_sketch(block, width, rows=scheme.rows, divide_by_count=scheme.divide_by_count)


_FORMS: dict[type, Callable[[Any, OneBlock, int, float], Influence]] = {
    Uncompressed: lambda scheme, block, round, captured: uncompressed(block),
    LowRank: _low_rank,
    Sign: lambda scheme, block, round, captured: (sign_vote if scheme.rule == "vote" else sign_mean)(block),
    RandomK: lambda scheme, block, round, captured: random_k(block, scheme.fraction, rescale=scheme.rescale),
    CountSketch: _count_sketch,
    TopK: lambda scheme, block, round, captured: top_k(block, scheme.fraction),
    GaussianProjection: lambda scheme, block, round, captured: gaussian_projection(
        block,
        scheme.fraction,
        scheme.sparsity,
        orthogonal=scheme.projection == "hadamard",
        iterations=scheme.iterations,
    ),
}
