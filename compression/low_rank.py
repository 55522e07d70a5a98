"""LASER: rank-r factors of each gradient matrix, sent over the analog uplink.

Reference: Makkuva, Bondaschi, Vogels, Jaggi, Kim, Gastpar, "LASER", ICML 2024, arXiv:2310.13033; the factors are those of
PowerSGD (Vogels, Karimireddy, Jaggi, arXiv:1905.13727). A parameter of two or more dimensions is a matrix of m rows (its
first axis) and n columns (all others). V_k is what device k asks to send: its error memory plus its gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from laser_wireless.compression.matrices import factored, matrices_of, on_columns, products, spread, subtract_product_
from laser_wireless.compression.message import Message, check_gradients, check_shapes, split_parameters
from laser_wireless.compression.orthonormal import orthonormal
from laser_wireless.compression.parameters import checked
from laser_wireless.compression.shared_draws import shared_generator


class LowRankState(NamedTuple):
    """What all parties know: of each compressed matrix orthonormal bases of rows [..., m, r] and columns [..., n, r]."""

    shapes: tuple[tuple[int, ...], ...]
    rows: list[Tensor]
    columns: list[Tensor]
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
@checked
class LowRank:
    """LASER with one of two transmission rules.

    "alternating", one factor a round, as in the authors' code. Even rounds: U_k = P^T V_k is sent (r n symbols), P the
    orthonormalised factor of the round before, known to all; the receiver decodes P mean(U_k) and both sides keep the
    received factor, orthonormalised, as the next basis. Odd rounds: V_k Q is sent (r m symbols). Noise enters the
    estimate linearly: E||error||^2 = r n tau^2 or r m tau^2, r/m or r/n of Z-SGD's.

    "both", both factors in one message, as in the paper: W_k = V_k Q is orthonormalised by device k itself into P_k, and
    P_k (r m symbols) and Q_k^T = P_k^T V_k (r n) are sent; the receiver multiplies the two averages. For one device,
    SNR = P / (m n sigma^2) and energy P/2 for each factor, the channel influence factor is
    2 r (m + n) / (m n SNR) + 4 r^2 / (m n SNR^2). With several devices the product of averages is not the average of the
    products unless the devices' column spaces agree: a bias that the memory does not see.

    Parameters of one dimension, and matrices with r (m + n) >= m n, are sent raw. The devices' own approximation errors
    stay in their memory; channel noise does not. Differences from the authors' code: every matrix is orthonormalised by
    itself, the choice of what to compress uses the matrix's sides, and blocks of zeros are safe.

    Args:
        rank: r >= 1; min(r, m, n) is used.
        rule: what travels in a round.
        error_feedback: keep what compression (and a silent or clipped device) left out.
    """

    rank: int = 4
    rule: Literal["alternating", "both"] = "alternating"
    error_feedback: bool = True
    momentum = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be an integer >= 1, got {self.rank}")

    def matrix_of(self, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
        """(m, n, r) of a parameter that is compressed, None for one that is sent raw."""
        return factored(shape, self.rank)

    def init(
        self, shapes: Sequence[tuple[int, ...]], num_devices: int, *, device: torch.device, dtype: torch.dtype, seed: int
    ) -> LowRankState:
        """Return random orthonormal bases, drawn from `seed`."""
        shapes = check_shapes(shapes)
        generator = shared_generator(seed, 0)  # on the CPU: one seed, one start on every device
        rows, columns = [], []
        for matrix in filter(None, map(self.matrix_of, shapes)):
            m, n, r = matrix
            rows.append(orthonormal(torch.randn(m, r, dtype=dtype, generator=generator).to(device)))
            columns.append(orthonormal(torch.randn(n, r, dtype=dtype, generator=generator).to(device)))
        return LowRankState(tuple(shapes), rows, columns)

    def encode(self, gradients: Tensor, state: LowRankState, *, round: int) -> Message:
        """Return the factors and raw parameters, in the parameters' order."""
        check_gradients(gradients, state.shapes, state.runs)
        blocks: list[Tensor] = []
        share_as: list[int] = []
        for values, basis in self._walk(gradients, state):
            if basis is None:
                blocks.append(values)
            elif self.rule == "both":
                seen = on_columns(values, basis.column)  # [L, m, r]
                runs = seen.split(gradients.shape[-2])  # each from memory of its own: rounded by where it lies
                left = torch.cat([orthonormal(run) for run in runs]) if state.runs else orthonormal(seen)
                right = torch.bmm(left.mT, values)
                has_columns = (
                    right.abs().amax((1, 2), keepdim=True) != 0
                )  # NaN too; a zero matrix has no column space to send
                blocks += [left * has_columns, right]
                share_as.append(len(blocks) - 1)  # a basis has norm sqrt(r): the matrix's own norm is its partner's
            elif round % 2 == 0:
                blocks.append(torch.bmm(basis.row.mT, values))
            else:
                blocks.append(on_columns(values, basis.column))
            share_as.append(len(blocks) - 1)
        flat = [block.flatten(1) for block in blocks]
        layout = tuple(block.shape[1] for block in flat)
        symbols = torch.cat(flat, dim=1).view(*gradients.shape[:-1], -1)
        return Message(symbols, layout, tuple(share_as) if self.rule == "both" else None)

    def subtract_(self, memory: Tensor, sent: Tensor, delivered: Tensor, state: LowRankState, *, round: int) -> None:
        """Subtract each device's own low-rank approximation, and what was sent raw."""
        received = iter(torch.split_with_sizes(delivered.flatten(0, -2), self.layout(state.shapes, round), 1))
        for values, basis in self._walk(memory, state):
            left, right = self._factors(received, basis, round)
            if right is None:
                values.sub_(left)
            else:
                subtract_product_(values, left, right, num_devices=memory.shape[-2])

    def decode(
        self,
        estimate: Tensor,
        state: LowRankState,
        *,
        round: int,
        noise_variance: Tensor | None = None,
        out: Sequence[Tensor] | None = None,
    ) -> tuple[list[Tensor], LowRankState]:
        """Multiply the factors out; received factors become the next bases unless nothing at all was received."""
        runs = estimate.shape[:-1]
        received = iter(torch.split_with_sizes(estimate.view(-1, estimate.shape[-1]), self.layout(state.shapes, round), 1))
        gradients: list[Tensor] = []
        rows: list[Tensor] = []
        columns: list[Tensor] = []
        memory = [None] * len(state.shapes) if out is None else out
        for shape, basis, place in zip(state.shapes, self._bases(state, (*runs, 1)), memory, strict=True):
            left, right = self._factors(received, basis, round)
            if right is None or basis is None:
                gradients.append(left.view((*runs, *shape)))
                continue
            target = (
                None if place is None or torch.is_grad_enabled() else place.view(len(left), left.shape[1], right.shape[2])
            )
            gradients.append(products(left, right, target).view(*runs, *shape))
            send_columns = self.rule == "both" or round % 2 == 0
            row, column = (side.view(*runs, *side.shape[1:]) for side in basis)
            columns.append(_next_basis(right.mT.view(column.shape), column) if send_columns else column)
            rows.append(row if send_columns else _next_basis(left.view(row.shape), row))
        return gradients, state._replace(rows=rows, columns=columns)

    def layout(self, shapes: tuple[tuple[int, ...], ...], round: int) -> list[int]:
        """Real symbols of each block of a round's message."""
        sizes: list[int] = []
        for shape, matrix in zip(shapes, matrices_of(self, shapes), strict=True):
            if matrix is None:
                sizes.append(prod(shape))
                continue
            m, n, r = matrix
            sizes += [r * m, r * n] if self.rule == "both" else [r * n if round % 2 == 0 else r * m]
        return sizes

    def _bases(self, state: LowRankState, leading: Sequence[int]) -> Iterator[_Basis | None]:
        """For each parameter its bases, spread over all leading axes [..., K] and flat; None if it is sent raw."""
        bases = (_Basis(*(spread(side, leading) for side in sides)) for sides in zip(state.rows, state.columns, strict=True))
        return (next(bases) if matrix else None for matrix in matrices_of(self, state.shapes))

    def _walk(self, rows: Tensor, state: LowRankState) -> Iterator[tuple[Tensor, _Basis | None]]:
        """For each parameter its view of [..., K, d], [L, m, n] or (sent raw) [L, size], and its bases, L = prod(..., K)."""
        flat = rows.view(-1, rows.shape[-1])
        for values, basis in zip(split_parameters(flat, state.shapes), self._bases(state, rows.shape[:-1]), strict=True):
            if basis is None:
                yield values.view(len(flat), -1), None
            else:
                yield values.view(len(flat), basis.row.shape[1], basis.column.shape[1]), basis

    def _factors(self, blocks: Iterator[Tensor], basis: _Basis | None, round: int) -> tuple[Tensor, Tensor | None]:
        """The two factors [L, m, r], [L, r, n] of a parameter from its blocks [L, size]; a raw one and None."""
        block = next(blocks)
        if basis is None:
            return block, None
        m, n = basis.row.shape[1], basis.column.shape[1]
        if self.rule == "both":
            return block.view(len(block), m, -1), next(blocks).view(len(block), -1, n)
        if round % 2 == 0:
            return basis.row, block.view(len(block), -1, n)
        return block.view(len(block), m, -1), basis.column.mT


class _Basis(NamedTuple):
    """Orthonormal bases of one matrix, for each of L devices or runs: row [L, m, r], column [L, n, r]."""

    row: Tensor
    column: Tensor


def _next_basis(received: Tensor, before: Tensor) -> Tensor:
    """Orthonormalise a received factor; keep the basis of before where nothing was received (an outage)."""
    received = received.detach()
    largest = received.abs().amax((-2, -1), keepdim=True)
    nothing = largest == 0
    scaled = (received / (largest + nothing)).reshape(-1, *received.shape[-2:])
    runs = [torch.linalg.qr(one.clone())[0] for one in scaled]  # each from memory of its own: rounded by where it lies
    basis = torch.stack(runs).view(received.shape)
    return torch.where(nothing, before, basis).contiguous()  # one layout, alone or beside other runs: kernels round by it
