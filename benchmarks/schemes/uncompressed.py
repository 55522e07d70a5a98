"""Facts of `Uncompressed`."""

from math import prod

from laser_wireless.benchmarks.schemes.facts import Facts, one_block
from laser_wireless.benchmarks.theory.influence import uncompressed

FACTS = Facts(
    symbols=lambda scheme, shapes, round: sum(map(prod, shapes)),
    influence=lambda scheme, block, round, captured: uncompressed(block),
    part=lambda scheme, shape, norm, round, captured: one_block(prod(shape), norm),
    numbers_moved=lambda scheme, shapes, num_devices, num_symbols: 2 * num_devices * sum(map(prod, shapes)),
    has_plain_round=True,
)
