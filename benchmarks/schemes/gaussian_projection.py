"""Facts of `GaussianProjection`."""

import math

from laser_wireless.benchmarks.schemes.facts import Facts, Shapes
from laser_wireless.benchmarks.theory.one_block import Influence, OneBlock
from laser_wireless.benchmarks.theory.sparse import gaussian_projection
from laser_wireless.compression import GaussianProjection
from laser_wireless.compression.shared_draws import portion


def _symbols(scheme: GaussianProjection, shapes: Shapes, round: int) -> int:
    d = sum(map(math.prod, shapes))
    num_segments = scheme.plan(d).num_segments
    rows = portion(scheme.fraction, math.ceil(d / num_segments))
    return num_segments * (rows + (scheme.mean_removal and rows >= 8))


def _influence(scheme: GaussianProjection, block: OneBlock, round: int, captured: float) -> Influence:
    return gaussian_projection(
        block,
        scheme.fraction,
        scheme.sparsity,
        orthogonal=scheme.projection == "hadamard",
        iterations=scheme.iterations,
    )


def _numbers_moved(scheme: GaussianProjection, shapes: Shapes, num_devices: int, num_symbols: int) -> float:
    d = sum(map(math.prod, shapes))
    return num_devices * d + 2 * num_devices * scheme.num_kept(d) + d


FACTS = Facts(symbols=_symbols, influence=_influence, numbers_moved=_numbers_moved)
