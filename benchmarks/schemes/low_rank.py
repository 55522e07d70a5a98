"""Facts of `LowRank`."""

import math
from collections.abc import Sequence

from laser_wireless.benchmarks.schemes.facts import Facts, Part, Shapes, one_block
from laser_wireless.benchmarks.theory.influence import both_factors, bound_of_the_paper, one_factor, uncompressed
from laser_wireless.benchmarks.theory.one_block import Influence, OneBlock
from laser_wireless.compression import LowRank


def _symbols(scheme: LowRank, shapes: Shapes, round: int) -> int:
    total = 0
    for shape in shapes:
        d = math.prod(shape)
        m, n = (shape[0], d // shape[0]) if len(shape) > 1 else (1, d)
        r = min(scheme.rank, m, n)
        one_side = r * (m if round % 2 else n)
        total += d if r * (m + n) >= d else r * (m + n) if scheme.rule == "both" else one_side
    return total


def _influence(scheme: LowRank, block: OneBlock, round: int, captured: float) -> Influence:
    matrix = scheme.matrix_of((block.m, block.n))
    if matrix is None:
        return uncompressed(block)
    if scheme.rule == "both":
        return both_factors(block, matrix[2], captured=captured)
    return one_factor(block, matrix[2], sends="rows" if round % 2 else "columns", captured=captured)


def _part(scheme: LowRank, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    matrix = scheme.matrix_of(shape)
    if matrix is None:
        return one_block(math.prod(shape), norm)
    m, n, r = matrix
    sent = captured * norm**2
    if scheme.rule == "alternating":
        return one_block(r * (m if round % 2 else n), math.sqrt(sent), norm**2)

    def noise(t: Sequence[float]) -> float:  # P Z_q + Z_p Q + Z_p Z_q, P orthonormal and Q of squared norm `sent`
        return r * n * t[1] + m * sent * t[0] + m * r * n * t[0] * t[1]

    return Part((r * m, r * n), (math.sqrt(r), math.sqrt(sent)), (1, 1), noise, norm**2)


def _bound(scheme: LowRank, block: OneBlock, captured: float) -> float | None:
    """Of both factors."""
    matrix = scheme.matrix_of((block.m, block.n)) if scheme.rule == "both" else None
    return captured * bound_of_the_paper(block, matrix[2]) if matrix else None


FACTS = Facts(
    symbols=_symbols,
    influence=_influence,
    part=_part,
    numbers_moved=lambda scheme, shapes, num_devices, num_symbols: (3 * num_devices + 1) * sum(map(math.prod, shapes)),
    draws_are_hidden=True,
    alternates=lambda scheme: scheme.rule == "alternating",
    paper_bound=_bound,
    factors=lambda scheme, shape: scheme.matrix_of(shape),
    has_plain_round=True,
    named_by=("rank",),
)
