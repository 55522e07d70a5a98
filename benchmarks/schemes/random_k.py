"""Facts of `RandomK`."""

import math

from laser_wireless.benchmarks.schemes.facts import Facts, Part, Shapes, one_block
from laser_wireless.benchmarks.theory.influence import random_k
from laser_wireless.compression import RandomK
from laser_wireless.compression.shared_draws import portion


def _symbols(scheme: RandomK, shapes: Shapes, round: int) -> int:
    return sum(portion(scheme.fraction, math.prod(shape)) for shape in shapes)


def _part(scheme: RandomK, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    size = math.prod(shape)
    kept = portion(scheme.fraction, size)
    return one_block(kept, norm * math.sqrt(kept / size), norm**2, (size / kept) ** 2 if scheme.rescale else 1.0)


FACTS = Facts(
    symbols=_symbols,
    influence=lambda scheme, block, round, captured: random_k(block, scheme.fraction, rescale=scheme.rescale),
    part=_part,
    numbers_moved=lambda scheme, shapes, num_devices, num_symbols: (
        2 * num_devices * num_symbols + sum(map(math.prod, shapes))
    ),
)
