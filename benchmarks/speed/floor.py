"""How much must a round move at least? The floor of the table, from what a scheme cannot avoid to read and write."""

from __future__ import annotations

from laser_wireless.benchmarks.speed.shapes import Case
from laser_wireless.compression import (
    CountSketch,
    GaussianProjection,
    LowRank,
    RandomK,
    Sign,
    TopK,
    Uncompressed,
)


def numbers_moved(case: Case, num_symbols: int) -> float:
    """Four-byte numbers that a round reads or writes at least.

    The memories (K d) are read to encode; with error feedback, where a message holds part of every entry, they are read and
    written to settle, and where it holds whole entries, those alone are; without it they are cleared. The decoded gradient
    (d) is written, unless the estimate itself is one.

    Args:
        case: scheme and shapes.
        num_symbols: S, of each device's message.
    """
    compressor, k, d = case.compressor, case.num_devices, case.num_parameters
    match compressor:
        case Uncompressed() | Sign():
            return 2 * k * d
        case LowRank():
            return (3 * k + 1) * d
        case RandomK():
            return 2 * k * num_symbols + d
        case CountSketch():
            return (2 * k + 1) * d + 2 * compressor.rows * d  # the hashes are read to encode and to decode
        case TopK():
            return 2 * k * sum(compressor.counts(case.shapes)) + 2 * d  # the leader's memory is searched
        case GaussianProjection():
            return k * d + 2 * k * compressor.num_kept(d) + d
    raise TypeError(f"the floor of {type(compressor).__name__} is not known; add it to benchmarks/speed/floor.py")


def normals_drawn(case: Case, num_symbols: int) -> int:
    """Standard normals that a round draws at least: the receiver's noise. Left out where a copy hides it, S far below d."""
    return 0 if isinstance(case.compressor, LowRank | TopK) else num_symbols
