"""What schemes have in common: the message, the flat layout of a model's gradients, the contract of a compressor.

All gradients of a device lie in one row of d numbers, parameter after parameter, so that K devices are a matrix [K, d],
a parameter is a view of it, and nothing is copied to be sent. Several runs that are
computed together are [R, K, d], with a state in which theirs are stacked; see `compression.stacked`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class Message(NamedTuple):
    """Exactly what goes on the air.

    symbols: real [K, S]. layout: real symbols of each of the B blocks, summing to S.
    share_as: for each block, the block whose norm stands for it when energy is split; None for its own.
    bits: of each block's symbols in a digital message; None for 32 each.
    """

    symbols: Tensor
    layout: tuple[int, ...]
    share_as: tuple[int, ...] | None = None
    bits: tuple[int, ...] | None = None

    @property
    def num_bytes(self) -> float:
        """Bytes of one device's message, if it were sent digitally: 4 per real number, 1/8 per sign or index bit."""
        bits = self.bits or (32,) * len(self.layout)
        return sum(size * width for size, width in zip(self.layout, bits, strict=True)) / 8


class Compressor(Protocol):
    """A scheme: frozen parameters; all that changes is a state value that the caller keeps.

    The state is a NamedTuple of tensors (and lists of tensors), so that it can be saved. It holds only what the receiver
    and every device know.
    """

    @property
    def error_feedback(self) -> bool:
        """Whether devices keep what their message left out."""
        ...

    @property
    def momentum(self) -> float:
        """Fraction of what it was asked to send that a device without error feedback keeps: 0 but for Signum."""
        ...

    def init(
        self, shapes: Sequence[tuple[int, ...]], num_devices: int, *, device: torch.device, dtype: torch.dtype, seed: int
    ) -> Any:
        """Return the state before round 0 for parameters of these shapes."""
        ...

    def encode(self, gradients: Tensor, state: Any, *, round: int) -> Message:
        """Turn what each device asks to send, [K, d], into a message. The gradients are left alone."""
        ...

    def subtract_(self, memory: Tensor, sent: Tensor, delivered: Tensor, state: Any, *, round: int) -> None:
        """Subtract from [K, d], in place, what each device's own symbols decode to, as far as they were delivered.

        The memory holds what was encoded. `sent` [K, S] are the message's symbols, `delivered` [K, S] the part of them that
        reached the estimate: all of it, or a fraction of a silent or clipped device's.
        """
        ...

    def decode(
        self,
        estimate: Tensor,
        state: Any,
        *,
        round: int,
        noise_variance: Tensor | None = None,
        out: Sequence[Tensor] | None = None,
    ) -> tuple[list[Tensor], Any]:
        """Turn the receiver's estimate [S] into one gradient per parameter, and give the next state.

        Uses only what a receiver knows. `noise_variance` [B] is that of the noise on the estimate, per real symbol of each
        block; None if unknown. `out` is optional memory to decode into; use the tensors that are returned.
        """
        ...


def check_shapes(shapes: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes as plain tuples, refusing none at all and parameters without entries."""
    plain = tuple(tuple(int(size) for size in shape) for shape in shapes)
    if not plain:
        raise ValueError("shapes must name at least one parameter, got none; does the model have trainable parameters?")
    if any(math.prod(shape) == 0 for shape in plain):
        raise ValueError(f"every parameter must have at least one entry, got shapes {[s for s in plain if 0 in s]}")
    return plain


@lru_cache(maxsize=64)
def sizes_of(shapes: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """Numbers in each parameter; kept, since every round asks."""
    return tuple(map(math.prod, shapes))


def check_gradients(gradients: Tensor, shapes: tuple[tuple[int, ...], ...], runs: tuple[int, ...] = ()) -> None:
    """Refuse gradients that are not float32 or float64 [*runs, K, d]."""
    d = sum(sizes_of(shapes))
    if gradients.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"gradients must be float32 or float64, got {gradients.dtype}; convert them with .float()")
    if gradients.ndim != 2 + len(runs) or gradients.shape[:-2] != runs or gradients.shape[-1] != d:
        raise ValueError(
            f"gradients must be [{''.join(f'{r}, ' for r in runs)}num_devices, {d}], one row of all parameters per device, "
            f"got {list(gradients.shape)}"
        )


def in_process(state: Any, first: int, num_devices: int) -> Any:
    """The state for encoding devices first, first + 1, ... of num_devices: a scheme that one of them leads must know."""
    return state._replace(own=(first, num_devices)) if "own" in getattr(state, "_fields", ()) else state


def split_parameters(rows: Tensor, shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    """Views [..., *shape] of each parameter in rows [..., d]."""
    pieces = torch.split_with_sizes(rows, sizes_of(shapes), -1)
    return [piece.view((*rows.shape[:-1], *shape)) for piece, shape in zip(pieces, shapes, strict=True)]
