"""How much must a round move at least? The floor of the table, from what a scheme cannot avoid to read and write."""

from __future__ import annotations

from laser_wireless.benchmarks.schemes import facts_of
from laser_wireless.benchmarks.speed.shapes import Case


def numbers_moved(case: Case, num_symbols: int) -> float:
    """Four-byte numbers that a round reads or writes at least.

    The memories (K d) are read to encode; with error feedback, where a message holds part of every entry, they are read and
    written to settle, and where it holds whole entries, those alone are; without it they are cleared. The decoded gradient
    (d) is written, unless the estimate itself is one.

    Args:
        case: scheme and shapes.
        num_symbols: S, of each device's message.
    """
    form = facts_of(case.compressor).numbers_moved
    if form is None:
        name = type(case.compressor).__name__
        raise TypeError(f"the floor of {name} is not known; give numbers_moved in its facts (benchmarks/schemes)")
    return form(case.compressor, case.shapes, case.num_devices, num_symbols)


def normals_drawn(case: Case, num_symbols: int) -> int:
    """Standard normals that a round draws at least: the receiver's noise. Left out where a copy hides it, S far below d."""
    return 0 if facts_of(case.compressor).draws_are_hidden else num_symbols
