"""Facts of `Sign`."""

import math

from laser_wireless.benchmarks.schemes.facts import Facts, Part, one_block
from laser_wireless.benchmarks.theory.signs import GAUSSIAN_FLATNESS, sign_mean, sign_vote
from laser_wireless.compression import Sign


def _part(scheme: Sign, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    size = math.prod(shape)
    if scheme.rule == "vote":  # before the vote: noise on the mean of signs, over the energy of signs
        return one_block(size, math.sqrt(size))
    return one_block(size, math.sqrt(GAUSSIAN_FLATNESS) * norm, norm**2)


FACTS = Facts(
    symbols=lambda scheme, shapes, round: sum(map(math.prod, shapes)),
    influence=lambda scheme, block, round, captured: (sign_vote if scheme.rule == "vote" else sign_mean)(block),
    part=_part,
    numbers_moved=lambda scheme, shapes, num_devices, num_symbols: 2 * num_devices * sum(map(math.prod, shapes)),
)
