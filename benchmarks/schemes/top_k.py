"""Facts of `TopK`."""

import math

from laser_wireless.benchmarks.schemes.facts import Facts, Part, Shapes, one_block
from laser_wireless.benchmarks.theory.sparse import gaussian_top_share, top_k
from laser_wireless.compression import TopK
from laser_wireless.compression.shared_draws import portion


def _symbols(scheme: TopK, shapes: Shapes, round: int) -> int:
    return sum(portion(scheme.fraction, math.prod(s)) * (1 + math.ceil(math.log2(math.prod(s)))) for s in shapes)


def _part(scheme: TopK, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    size = math.prod(shape)
    kept, bits = portion(scheme.fraction, size), (size - 1).bit_length()
    values = norm * math.sqrt(gaussian_top_share(kept / size))
    if not bits:
        return one_block(kept, values, norm**2)
    return Part((kept, kept * bits), (values, math.sqrt(kept * bits)), (0, 0), lambda t: kept * t[0], norm**2)


def _numbers_moved(scheme: TopK, shapes: Shapes, num_devices: int, num_symbols: int) -> float:
    return 2 * num_devices * sum(scheme.counts(shapes)) + 2 * sum(map(math.prod, shapes))  # the leader's memory is searched


FACTS = Facts(
    symbols=_symbols,
    influence=lambda scheme, block, round, captured: top_k(block, scheme.fraction),
    part=_part,
    numbers_moved=_numbers_moved,
    draws_are_hidden=True,
)
