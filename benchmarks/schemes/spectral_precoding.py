"""Facts of `SpectralPrecoding`."""

from math import prod

from laser_wireless.benchmarks.schemes.facts import Facts
from laser_wireless.benchmarks.theory.influence import precoded
from laser_wireless.compression import SpectralPrecoding


def _directions(scheme: SpectralPrecoding, m: int, n: int) -> int:
    matrix = scheme.matrix_of((m, n))
    return matrix[2] if matrix else 0


FACTS = Facts(
    symbols=lambda scheme, shapes, round: sum(map(prod, shapes)),
    influence=lambda scheme, block, round, captured: precoded(
        block, _directions(scheme, block.m, block.n), precoding=scheme.precoding, captured=captured
    ),
    numbers_moved=lambda scheme, shapes, num_devices, num_symbols: (5 * num_devices + 3) * sum(map(prod, shapes)),
    named_by=("precoding",),
)
