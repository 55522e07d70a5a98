"""Facts of `CountSketch`."""

import math
from fractions import Fraction

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.schemes.facts import Facts, Part, Shapes, one_block
from laser_wireless.benchmarks.theory.influence import count_sketch, inverse_count
from laser_wireless.benchmarks.theory.one_block import Influence, OneBlock
from laser_wireless.compression import CountSketch
from laser_wireless.compression.shared_draws import portion


def _symbols(scheme: CountSketch, shapes: Shapes, round: int) -> int:
    rows = scheme.rows
    return sum(rows * portion(scheme.fraction, Fraction(math.prod(shape), rows)) for shape in shapes)


def _influence(scheme: CountSketch, block: OneBlock, round: int, captured: float) -> Influence:
    if scheme.read == "median" and scheme.rows > 2:
        return Influence(math.nan, math.nan, False, "no closed form for the median of rows")
    width = max(1, portion(scheme.fraction, block.d) // scheme.rows)
    return count_sketch(block, width, rows=scheme.rows, divide_by_count=scheme.divide_by_count)


def _part(scheme: CountSketch, shape: tuple[int, ...], norm: float, round: int, captured: float) -> Part:
    size, rows = math.prod(shape), scheme.rows
    if rows > 1 and (scheme.divide_by_count or (scheme.read == "median" and rows > 2)):
        raise BadConfiguration(f"schemes: no closed form for the noise of {scheme}; use one row, or the mean without counts")
    width = max(1, portion(scheme.fraction, size) // rows)
    reads = width * inverse_count(size, width) if scheme.divide_by_count else size / rows
    return one_block(rows * width, norm * math.sqrt(rows), norm**2, reads / (rows * width))


def _numbers_moved(scheme: CountSketch, shapes: Shapes, num_devices: int, num_symbols: int) -> float:
    d = sum(map(math.prod, shapes))
    return (2 * num_devices + 1) * d + 2 * scheme.rows * d  # the hashes are read to encode and to decode


FACTS = Facts(symbols=_symbols, influence=_influence, part=_part, numbers_moved=_numbers_moved)
