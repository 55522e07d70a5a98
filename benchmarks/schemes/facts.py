"""What the benchmarks know of a scheme; what is not known is None, and is said where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from laser_wireless.benchmarks.theory.one_block import Influence, OneBlock

Shapes = tuple[tuple[int, ...], ...]


class Part(NamedTuple):
    """One parameter's blocks of a message.

    sizes: symbols. norms: expected, of one device. share_as: the block of the part whose norm stands for it. noise: from
    the noise variances of the blocks to the noise energy on the decoded parameter. signal: squared norm of what is decoded
    without noise and compression.
    """

    sizes: tuple[int, ...]
    norms: tuple[float, ...]
    share_as: tuple[int, ...]
    noise: Callable[[Sequence[float]], float]
    signal: float


def one_block(size: int, norm: float, signal: float | None = None, gain: float = 1.0) -> Part:
    """One block of which the decoded parameter is gain times a copy of the symbols."""
    return Part((size,), (norm,), (0,), lambda t: gain * size * t[0], norm**2 if signal is None else signal)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of one scheme, functions of its object.

    Args:
        symbols: (scheme, shapes, round) -> real symbols of a device's message, by the closed form.
        influence: (scheme, block, round, captured) -> influence factor of one block; see `benchmarks.theory`.
        part: (scheme, shape, norm, round, captured) -> what it sends of one parameter.
        numbers_moved: (scheme, shapes, num_devices, num_symbols) -> numbers that a round reads or writes at least.
        draws_are_hidden: whether a copy hides the receiver's noise, S being far below d.
        alternates: (scheme) -> whether even and odd rounds send something else.
        paper_bound: (scheme, block, captured) -> the paper's bound on the channel's part of the influence.
        factors: (scheme, shape) -> m, n and rank of a parameter that is sent in factors, None for one that is not.
        has_plain_round: whether `speed.plain` writes its round out.
        named_by: parameters that its name in a table shows even at their defaults.
    """

    symbols: Callable[[Any, Shapes, int], int] | None = None
    influence: Callable[[Any, OneBlock, int, float], Influence] | None = None
    part: Callable[[Any, tuple[int, ...], float, int, float], Part] | None = None
    numbers_moved: Callable[[Any, Shapes, int, int], float] | None = None
    draws_are_hidden: bool = False
    alternates: Callable[[Any], bool] = lambda scheme: False
    paper_bound: Callable[[Any, OneBlock, float], float | None] | None = None
    factors: Callable[[Any, tuple[int, ...]], tuple[int, int, int] | None] = lambda scheme, shape: None
    has_plain_round: bool = False
    named_by: tuple[str, ...] = ()
