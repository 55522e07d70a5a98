"""Facts of `JacobiLowRank`."""

import math

from laser_wireless.benchmarks.schemes.facts import Facts, Part, Shapes, one_block
from laser_wireless.benchmarks.theory.influence import jacobi_factors, uncompressed
from laser_wireless.benchmarks.theory.one_block import Influence, OneBlock
from laser_wireless.compression import JacobiLowRank


def _symbols(scheme: JacobiLowRank, shapes: Shapes, round: int) -> int:
    total = 0
    for shape in shapes:
        d = math.prod(shape)
        sides = (shape[0], d // shape[0]) if len(shape) > 1 else (1, d)
        total += min(d, min(scheme.rank, *sides) * sum(sides))
    return total


def _influence(scheme: JacobiLowRank, block: OneBlock, round: int, captured: float) -> Influence:
    matrix = scheme.matrix_of((block.m, block.n))
    if matrix is None:
        return uncompressed(block)
    return jacobi_factors(block, matrix[2], regulariser=scheme.regulariser, captured=captured)


def _part(scheme: JacobiLowRank, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    matrix = scheme.matrix_of(shape)
    if matrix is None:
        return one_block(math.prod(shape), norm)
    m, n, r = matrix
    sent = math.sqrt(r * captured) * norm / (1 + scheme.regulariser)  # r equal singular values
    return Part((m * r, n * r), (sent, sent), (0, 1), lambda t: (m * t[0] + n * t[1]) / 4, norm**2)


FACTS = Facts(
    symbols=_symbols,
    influence=_influence,
    part=_part,
    numbers_moved=lambda scheme, shapes, num_devices, num_symbols: (3 * num_devices + 1) * sum(map(math.prod, shapes)),
    draws_are_hidden=True,
    factors=lambda scheme, shape: scheme.matrix_of(shape),
    named_by=("rank",),
)
