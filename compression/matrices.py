"""Parameters as matrices of m rows (their first axis) and n columns (all others), and products with thin factors of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Protocol

import torch
from torch import Tensor

_SMALL = 1 << 18  # numbers; below, a product beside the memory is quicker than one added in place


class _Factoring(Protocol):
    def matrix_of(self, shape: tuple[int, ...], /) -> tuple[int, int, int] | None: ...


def factored(shape: tuple[int, ...], rank: int) -> tuple[int, int, int] | None:
    """(m, n, r) of a parameter whose two factors are shorter than itself, r (m + n) < m n; None for any other."""
    if len(shape) < 2:
        return None
    m, n = shape[0], prod(shape[1:])
    r = min(rank, m, n)
    return (m, n, r) if r * (m + n) < m * n else None


@lru_cache(maxsize=64)
def matrices_of(compressor: _Factoring, shapes: tuple[tuple[int, ...], ...]) -> list[tuple[int, int, int] | None]:
    """`matrix_of` each shape; kept, since every stage of every round asks."""
    return [compressor.matrix_of(shape) for shape in shapes]


def spread(factor: Tensor, leading: Sequence[int]) -> Tensor:
    """A factor [..., m, r] for each device of its run: [L, m, r] for L = prod(..., K); a view if there is one run."""
    return factor.unsqueeze(-3).expand(*leading, -1, -1).flatten(0, -3)


def on_columns(values: Tensor, factor: Tensor) -> Tensor:
    """V Q for V [L, m, n] and Q [L, n, r], as (Q^T V^T)^T: on a CPU a thin first factor is two to four times quicker."""
    return torch.bmm(factor.mT, values.mT).mT


def products(left: Tensor, right: Tensor, out: Tensor | None) -> Tensor:
    """left right [R, m, n] of R runs, each by itself and from factors at the start of their memory.

    The factors are small beside the product; kernels on several threads round by where in memory they lie.
    """
    if len(left) == 1 or left.requires_grad or left.device.type != "cpu":
        return torch.bmm(left.clone(), right.clone(), out=out)
    results = left.new_empty(len(left), left.shape[1], right.shape[2]) if out is None else out
    for run in zip(*(factor.split(1) for factor in (left, right, results)), strict=True):
        torch.bmm(run[0].clone(), run[1].clone(), out=run[2])
    return results


def subtract_product_(values: Tensor, left: Tensor, right: Tensor, *, num_devices: int) -> None:
    """Subtract left right from values [L, m, n], in place, the same way for each of L / num_devices runs."""
    if num_devices * values[0].numel() <= _SMALL:  # of one run, whatever runs are beside it
        values.sub_(torch.bmm(left, right))
    else:
        values.baddbmm_(left, right, alpha=-1)
