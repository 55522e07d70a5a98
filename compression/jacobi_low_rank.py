"""Ota-LC: both rank-r factors of each gradient matrix in every round, by one Jacobi step from the factors of the last one.

Reference: Guo, Liu, Simeone, Wen, "Efficient Wireless Federated Learning via Low-Rank Gradient Factorization",
arXiv:2401.07496v2. A parameter of two or more dimensions is a matrix of m rows (its first axis) and n columns (all others).
V_k is what device k asks to send: its error memory plus its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from laser_wireless.compression.matrices import factored, matrices_of, on_columns, products, spread, subtract_product_
from laser_wireless.compression.message import Message, check_gradients, check_shapes, split_parameters
from laser_wireless.compression.parameters import checked
from laser_wireless.compression.shared_draws import shared_generator

_CANCELLED = 1e-3  # norm of a step's end between two factors of norm 1 that point to opposite sides


class JacobiLowRankState(NamedTuple):
    """What all parties know: of each compressed matrix factors P [..., m, r] and Q [..., n, r], Frobenius norm 1 each."""

    shapes: tuple[tuple[int, ...], ...]
    rows: list[Tensor]
    columns: list[Tensor]
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
@checked
class JacobiLowRank:
    """Ota-LC: r (m + n) symbols of a matrix in every round, linear in the gradients, so that the air does the averaging.

    The mean matrix V is to be P Q^T with the least ||P Q^T - V||^2 + lambda (||P||^2 + ||Q||^2). From the factors P, Q of
    the last round, known to all as they were received, a Jacobi step improves both at once, each with the other one fixed:

        P' = V Q (Q^T Q + lambda I)^-1,    Q' = V^T P (P^T P + lambda I)^-1

    Device k sends P'_k and Q'_k of its own V_k; their means are P' and Q'. The receiver estimates
    (P' Q^T + P Q'^T) / 2 = (V Pi_Q + Pi_P V) / 2, where Pi_Q = Q (Q^T Q + lambda I)^-1 Q^T is the projection on the known
    columns but for lambda: V itself, once P and Q span a V of rank r. Noise enters linearly: E||error||^2 =
    (m tau_P^2 + n tau_Q^2) / 4 for noise of variance tau^2 on the symbols of P' and Q'. Over one block of its own, with r
    equal singular values, that is r (m + n) / (2 m n) of Z-SGD's, the mean of LASER's two rounds with one factor each, for
    the symbols of both; the more unequal the singular values s, the less: (sum s)^2 / sum s^2 stands for r.

    Parameters of one dimension, and matrices with r (m + n) >= m n, are sent raw. Devices keep what their own part of the
    estimate leaves of V_k; channel noise does not enter. Biased by what the factors do not span. From the paper are one
    Jacobi step a round, its warm start, the averaging over the air and error feedback; its constants are not reproduced. Of
    this class's own:

    - The estimate is of first order in the step. The product of the new factors is of second order in V: the mean of the
      devices' products is not the product of their means, and a memory would not add up with what was decoded.
    - Only what the factors span counts, so they are kept at norm 1, and lambda is a fraction of their mean square
      singular value: scaling a gradient scales its estimate, and there is no start of the wrong size.
    - One antenna or several is the uplink's affair, not the scheme's.

    Args:
        rank: r >= 1; min(r, m, n) is used.
        step: in (0, 1], how far the kept factors go from the last ones to the received ones, both at norm 1; 1 is a whole
            Jacobi step.
        regulariser: > 0, lambda r for factors of norm 1.
        error_feedback: keep what compression (and a silent or clipped device) left out.
    """

    rank: int = 4
    step: float = 1.0
    regulariser: float = 1e-3
    error_feedback: bool = True
    momentum = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be an integer >= 1, got {self.rank}")
        if not 0 < self.step <= 1:
            raise ValueError(f"step must lie in (0, 1], got {self.step}")
        if not 0 < self.regulariser < math.inf:
            raise ValueError(
                "regulariser must be finite and > 0 (a fraction of the factors' mean square singular value), "
                f"got {self.regulariser}"
            )

    def matrix_of(self, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
        """(m, n, r) of a parameter that is compressed, None for one that is sent raw."""
        return factored(shape, self.rank)

    def init(
        self, shapes: Sequence[tuple[int, ...]], num_devices: int, *, device: torch.device, dtype: torch.dtype, seed: int
    ) -> JacobiLowRankState:
        """Return random factors, drawn from `seed`."""
        shapes = check_shapes(shapes)
        generator = shared_generator(seed, 0)  # on the CPU: one seed, one start on every device
        rows: list[Tensor] = []
        columns: list[Tensor] = []
        for matrix in filter(None, map(self.matrix_of, shapes)):
            for side, factors in zip(matrix[:2], (rows, columns), strict=True):
                drawn = torch.randn(side, matrix[2], dtype=dtype, generator=generator)
                factors.append((drawn / torch.linalg.matrix_norm(drawn)).to(device))
        return JacobiLowRankState(tuple(shapes), rows, columns)

    def encode(self, gradients: Tensor, state: JacobiLowRankState, *, round: int) -> Message:
        """Return each device's P'_k and Q'_k^T, and raw parameters, in the parameters' order."""
        check_gradients(gradients, state.shapes, state.runs)
        dual = state._replace(
            rows=[self._dual(factor) for factor in state.rows], columns=[self._dual(factor) for factor in state.columns]
        )
        blocks: list[Tensor] = []
        for values, factors in self._walk(gradients, dual):
            if factors is None:
                blocks.append(values)
            else:
                blocks += [on_columns(values, factors.column), torch.bmm(factors.row.mT, values)]
        flat = [block.flatten(1) for block in blocks]
        layout = tuple(block.shape[1] for block in flat)
        return Message(torch.cat(flat, dim=1).view(*gradients.shape[:-1], -1), layout)

    def subtract_(self, memory: Tensor, sent: Tensor, delivered: Tensor, state: JacobiLowRankState, *, round: int) -> None:
        """Subtract each device's own part of the estimate, and what was sent raw."""
        received = iter(torch.split_with_sizes(delivered.flatten(0, -2), self.layout(state.shapes), 1))
        for values, factors in self._walk(memory, state):
            if factors is None:
                values.sub_(next(received))
            else:
                left, right = _estimate(*_received(received, factors), factors)
                subtract_product_(values, left, right, num_devices=memory.shape[-2])

    def decode(
        self,
        estimate: Tensor,
        state: JacobiLowRankState,
        *,
        round: int,
        noise_variance: Tensor | None = None,
        out: Sequence[Tensor] | None = None,
    ) -> tuple[list[Tensor], JacobiLowRankState]:
        """Multiply received by known factors; go from the known ones to the received ones unless nothing was received."""
        runs = estimate.shape[:-1]
        received = iter(torch.split_with_sizes(estimate.view(-1, estimate.shape[-1]), self.layout(state.shapes), 1))
        gradients: list[Tensor] = []
        rows: list[Tensor] = []
        columns: list[Tensor] = []
        memory = [None] * len(state.shapes) if out is None else out
        for shape, factors, place in zip(state.shapes, self._factors(state, (*runs, 1)), memory, strict=True):
            if factors is None:
                gradients.append(next(received).view((*runs, *shape)))
                continue
            row, column = _received(received, factors)
            left, right = _estimate(row, column, factors)
            target = (
                None if place is None or torch.is_grad_enabled() else place.view(len(left), left.shape[1], right.shape[2])
            )
            gradients.append(products(left, right, target).view(*runs, *shape))
            rows.append(self._moved(factors.row, row).view(*runs, *row.shape[1:]))
            columns.append(self._moved(factors.column, column).view(*runs, *column.shape[1:]))
        return gradients, state._replace(rows=rows, columns=columns)

    def layout(self, shapes: tuple[tuple[int, ...], ...]) -> list[int]:
        """Real symbols of each block of a message."""
        sizes: list[int] = []
        for shape, matrix in zip(shapes, matrices_of(self, shapes), strict=True):
            sizes += [math.prod(shape)] if matrix is None else [side * matrix[2] for side in matrix[:2]]
        return sizes

    def _dual(self, factor: Tensor) -> Tensor:
        """F (F^T F + lambda I)^-1 for F [..., m, r]; its transpose times F is the identity but for lambda."""
        flat = factor.reshape(-1, *factor.shape[-2:])  # one kernel for one run or several: they round alike
        rank = factor.shape[-1]
        ridge = self.regulariser / rank * torch.eye(rank, dtype=factor.dtype, device=factor.device)
        inverse = torch.linalg.inv_ex(torch.bmm(flat.mT, flat) + ridge)[0]  # positive definite; reads nothing back
        return torch.bmm(flat, inverse).view(factor.shape)

    def _moved(self, before: Tensor, received: Tensor) -> Tensor:
        """The next factor [R, m, r], of norm 1; the one before where nothing was received, or both cancel."""
        received = received.detach()
        largest = received.abs().amax((-2, -1), keepdim=True)
        nothing = largest == 0
        moved = torch.lerp(before, _of_norm_one(received / (largest + nothing)), self.step)
        keeps = nothing | (torch.linalg.vector_norm(moved, dim=(-2, -1), keepdim=True) < _CANCELLED)
        return torch.where(keeps, before, _of_norm_one(moved)).contiguous()

    def _factors(self, state: JacobiLowRankState, leading: Sequence[int]) -> Iterator[_Factors | None]:
        """For each parameter its factors, spread over all leading axes [..., K] and flat; None if it is sent raw."""
        pairs = zip(state.rows, state.columns, strict=True)
        factors = (_Factors(spread(row, leading), spread(column, leading)) for row, column in pairs)
        return (next(factors) if matrix else None for matrix in matrices_of(self, state.shapes))

    def _walk(self, rows: Tensor, state: JacobiLowRankState) -> Iterator[tuple[Tensor, _Factors | None]]:
        """Each parameter's view of [..., K, d], [L, m, n] or (sent raw) [L, size], and its factors; L = prod(..., K)."""
        flat = rows.view(-1, rows.shape[-1])
        for values, factors in zip(split_parameters(flat, state.shapes), self._factors(state, rows.shape[:-1]), strict=True):
            if factors is None:
                yield values.view(len(flat), -1), None
            else:
                yield values.view(len(flat), factors.row.shape[1], factors.column.shape[1]), factors


class _Factors(NamedTuple):
    """Factors of one matrix, for each of L devices or runs: row [L, m, r], column [L, n, r]."""

    row: Tensor
    column: Tensor


def _received(blocks: Iterator[Tensor], factors: _Factors) -> tuple[Tensor, Tensor]:
    """P' [L, m, r] and Q' [L, n, r] from their blocks [L, size]."""
    row, column = next(blocks), next(blocks)
    return row.view(len(row), factors.row.shape[1], -1), column.view(len(column), -1, factors.column.shape[1]).mT


def _estimate(row: Tensor, column: Tensor, known: _Factors) -> tuple[Tensor, Tensor]:
    """Two factors [L, m, 2r], [L, 2r, n] of the estimate (P' Q^T + P Q'^T) / 2."""
    return torch.cat([row, known.row], dim=2), torch.cat([known.column, column], dim=2).mT / 2


def _of_norm_one(factor: Tensor) -> Tensor:
    """A factor [R, m, r] over its Frobenius norm; zero stays zero."""
    norm = torch.linalg.vector_norm(factor, dim=(-2, -1), keepdim=True)
    return factor / (norm + (norm == 0))
