"""A-DSGD: the largest entries of each gradient, projected at random, recovered by approximate message passing.

Reference: Amiri and Gündüz, arXiv:1901.00844. V_k is what device k asks to send, its error memory plus its gradient, as one
vector of d numbers, cut into M interleaved segments of n entries: entry i is row i // M of segment i % M.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from laser_wireless.compression.amp import amp, oamp
from laser_wireless.compression.message import Message, check_gradients, check_shapes, sizes_of, split_parameters
from laser_wireless.compression.parameters import checked
from laser_wireless.compression.shared_draws import check_fraction, shared_generator

_FEWEST = 8  # symbols of a segment; below, a mean is as good as a symbol and is not removed
_DENSE = 1 << 26  # numbers of the sparse vectors [devices, d] that are projected at a time
_COLUMNS = 1 << 20  # numbers [n, segments] that are recovered at a time, with a prior of their own; about a cache's worth


class Plan(NamedTuple):
    """How d entries lie in segments, and in symbols: M segments of n entries become s symbols each, and a mean or none."""

    num_segments: int
    segment_size: int
    num_rows: int
    has_mean: bool

    @property
    def symbols_per_segment(self) -> int:
        """s, and one more for the mean."""
        return self.num_rows + self.has_mean


class GaussianProjectionState(NamedTuple):
    """What all parties know: the projection of this round.

    projection: [A], A [s, n] with entries N(0, 1/s); or for "hadamard" [left, right, signs, rows]: Hadamard matrices whose
        Kronecker product has the size of a segment, padded to a power of two; a sign for each of its entries; and the s
        rows that are kept.
    """

    shapes: tuple[tuple[int, ...], ...]
    projection: list[Tensor]
    seed: int


@dataclass(frozen=True, kw_only=True)
@checked
class GaussianProjection:
    """Send a random projection A top_k(V_k) of the k largest entries of each device's vector, as one block.

    All parameters are one vector of d numbers, as in the paper of origin. It is cut into M segments of n = ceil(d / M)
    entries (M = 1, or a prime, so that layers and matrix columns spread over all segments), each projected by the same
    A [s, n], s = max(1, floor(kappa n)): S = M (s + 1) real symbols per round, M s without mean removal. The receiver hears
    A times the mean of the devices' sparse vectors, whose supports differ, and recovers it by AMP ("gaussian") or OAMP
    ("hadamard"), knowing the noise level and learning a Bernoulli-Gaussian prior common to all segments (in large models,
    to a million entries at a time).

    Mean removal: a segment's mean over its s symbols is subtracted, and sent as a symbol of its own. The receiver knows that
    the others add up to zero, adds the mean back, and whitens: the mean's direction has noise s tau^2, all others tau^2.

    Biased, towards zero: recovery is exact only without noise and with few enough entries. k = s/2 and kappa = 0.1, the
    authors' sizes, lie beyond that limit. Of the energy of the entries that are kept, recovery without noise then misses
    0.85 if the gradient's entries are Gaussian, the largest of which are all alike, less the heavier their tails, and 0.53
    if the kept entries themselves are Gaussian, the source of `state_evolution`; least squares misses 0.9 of any. What
    arrives with no more energy than the known noise has decodes to zeros. With error feedback each device keeps what it did
    not select; all that it did select counts as delivered, as published, although the receiver may have missed part of it.

    A takes s n numbers, whatever the model's size, and the state holds it ("hadamard": signs and rows alone). Work and
    memory go in pieces, so that a round takes a few times the gradients' own memory.

    Differences from the paper: devices share one scale through the uplink, instead of sending one each. From the authors'
    code (of LASER): sparse recovery instead of minimum-norm least squares; one block for the model instead of one, with a
    dense matrix of its own, per parameter; mean removal; optionally a new matrix in each round.

    Args:
        fraction: kappa in (0, 1], symbols per entry.
        sparsity: kept entries per symbol: k = max(1, floor(kappa sparsity d)).
        segment_size: largest n; a model of up to this size is one segment.
        projection: "gaussian", entries N(0, 1/s); "hadamard", s random rows of a Hadamard matrix with random signs, scaled
            by 1/sqrt(s): quicker, and the better one for equal symbols.
        mean_removal: send the mean apart, where s >= 8.
        redraw: a new projection in each round, drawn by the CPU; a GPU waits for it.
        iterations: of (O)AMP; from 10 on, heavy-tailed gradients gain less than 1 %, entries near the limit more.
        error_feedback: keep what was not selected, and what a silent or clipped device could not send.
    """

    fraction: float = 0.1
    sparsity: float = 0.5
    segment_size: int = 8192
    projection: Literal["gaussian", "hadamard"] = "gaussian"
    mean_removal: bool = True
    redraw: bool = False
    iterations: int = 15
    error_feedback: bool = True
    momentum = 0.0

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        if not (self.sparsity > 0 and isfinite(self.sparsity)):
            raise ValueError(f"sparsity must be finite and > 0, kept entries per symbol, got {self.sparsity}")
        for name in ("segment_size", "iterations"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value}")

    def plan(self, d: int) -> Plan:
        """Lay out d entries."""
        m = 1 if d <= self.segment_size else _prime_from(-(-d // self.segment_size))
        n = -(-d // m)
        s = max(1, int(self.fraction * n))
        return Plan(m, n, s, self.mean_removal and s >= _FEWEST)

    def num_kept(self, d: int) -> int:
        """k, the entries that a device keeps of d."""
        return min(d, max(1, int(self.fraction * self.sparsity * d)))

    def init(
        self, shapes: Sequence[tuple[int, ...]], num_devices: int, *, device: torch.device, dtype: torch.dtype, seed: int
    ) -> GaussianProjectionState:
        """Draw the projection from `seed`."""
        plain = check_shapes(shapes)
        return GaussianProjectionState(plain, self._draw(plain, device, dtype, seed, round=0), seed)

    def encode(self, gradients: Tensor, state: GaussianProjectionState, *, round: int) -> Message:
        """Project each device's largest entries; one block, segment after segment."""
        check_gradients(gradients, state.shapes)
        d = gradients.shape[1]
        plan = self.plan(d)
        at_once = max(1, _DENSE // d)
        symbols = torch.cat([self._encode(part, plan, state) for part in gradients.split(at_once)])
        return Message(symbols, (symbols.shape[1],))

    def subtract_(
        self, memory: Tensor, sent: Tensor, delivered: Tensor, state: GaussianProjectionState, *, round: int
    ) -> None:
        """Subtract each device's kept entries, as much of each segment as was delivered.

        That part is <delivered, sent> / <sent, sent>. All that was kept counts as recovered, as published.
        """
        plan = self.plan(memory.shape[1])
        share = _share(*(symbols.view(len(memory), plan.num_segments, -1) for symbols in (sent, delivered)))  # [K, M]
        at_once = max(1, _DENSE // memory.shape[1])
        for rows, shares in zip(memory.split(at_once), share.split(at_once), strict=True):
            index = self._largest(rows)
            kept = rows.gather(1, index)
            rows.scatter_(1, index, kept - shares.gather(1, index % plan.num_segments) * kept)

    def decode(
        self,
        estimate: Tensor,
        state: GaussianProjectionState,
        *,
        round: int,
        noise_variance: Tensor | None = None,
        out: Sequence[Tensor] | None = None,
    ) -> tuple[list[Tensor], GaussianProjectionState]:
        """Recover the mean of the sparse vectors, segment by segment; a new projection follows if it is to be redrawn."""
        d = sum(sizes_of(state.shapes))
        plan = self.plan(d)
        y = estimate.view(plan.num_segments, -1).T  # [s or s + 1, M]
        at_once = max(1, _COLUMNS // plan.segment_size)
        x = torch.cat([self._recover(part, plan, state, noise_variance) for part in y.split(at_once, dim=1)], dim=1)
        gradients = split_parameters(x.reshape(-1)[:d], state.shapes)
        if not self.redraw:
            return gradients, state
        projection = self._draw(state.shapes, estimate.device, estimate.dtype, state.seed, round=round + 1)
        return gradients, state._replace(projection=projection)

    def _draw(
        self, shapes: tuple[tuple[int, ...], ...], device: torch.device, dtype: torch.dtype, seed: int, *, round: int
    ) -> list[Tensor]:
        """The projection of a round, on the CPU: one seed, one matrix on every device."""
        generator = shared_generator(seed, round)
        plan = self.plan(sum(sizes_of(shapes)))
        if self.projection == "gaussian":
            matrix = torch.randn(plan.num_rows, plan.segment_size, dtype=dtype, generator=generator)
            return [matrix.div_(plan.num_rows**0.5).to(device)]
        from scipy.linalg import hadamard  # here, so that importing the schemes stays light

        bits = (plan.segment_size - 1).bit_length()
        left, right = (torch.tensor(hadamard(1 << size), dtype=dtype) for size in (bits // 2, bits - bits // 2))
        signs = 2.0 * torch.randint(2, (1 << bits, 1), generator=generator).to(dtype) - 1
        rows = torch.randperm(1 << bits, generator=generator)[: plan.num_rows]
        return [tensor.to(device) for tensor in (left, right, signs / plan.num_rows**0.5, rows)]

    def _largest(self, vectors: Tensor) -> Tensor:
        """Places [K, k] of the entries largest in magnitude; bits of numbers >= 0 are ordered as these are, and quicker."""
        bits = vectors.detach().abs().view(torch.int32 if vectors.dtype == torch.float32 else torch.int64)
        return bits.topk(self.num_kept(vectors.shape[1]), dim=1, sorted=False).indices

    def _sparse(self, vectors: Tensor, plan: Plan) -> Tensor:
        """Largest entries of vectors [K, d] in segments [n, K M], zeros elsewhere."""
        index = self._largest(vectors)
        columns = len(vectors) * plan.num_segments
        first = torch.arange(0, columns, plan.num_segments, device=index.device).unsqueeze(1)
        place = index // plan.num_segments * columns + index % plan.num_segments + first
        x = vectors.new_zeros(plan.segment_size * columns)
        return x.scatter(0, place.flatten(), vectors.gather(1, index).flatten()).view(plan.segment_size, columns)

    def _encode(self, vectors: Tensor, plan: Plan, state: GaussianProjectionState) -> Tensor:
        """Symbols [K, S] of vectors [K, d]."""
        x = self._sparse(vectors, plan)
        y = _project(x, state).T.reshape(len(vectors), plan.num_segments, plan.num_rows)
        if plan.has_mean:
            mean = y.mean(2, keepdim=True)
            y = torch.cat([y - mean, mean], dim=2)
        return y.flatten(1)

    def _recover(self, symbols: Tensor, plan: Plan, state: GaussianProjectionState, noise_variance: Tensor | None) -> Tensor:
        """Segments [n, M] from what was received of them, [s or s + 1, M]."""
        white = Whitener(plan)
        noise = None if noise_variance is None else noise_variance / white.norm**2

        def forward(x: Tensor) -> Tensor:
            return white(_project(x, state))

        def adjoint(z: Tensor) -> Tensor:
            return _project_back(white(z), state)

        y = white(restore_mean(symbols)) if plan.has_mean else symbols
        if self.projection == "gaussian":
            return amp(y, forward, adjoint, noise_variance=noise, pooled=True, iterations=self.iterations)
        return oamp(
            y,
            forward,
            adjoint,
            noise_variance=noise,
            pooled=True,
            iterations=self.iterations,
            num_entries=plan.segment_size,
        )


class Whitener:
    """W / norm, where W = I + (1/sqrt(s) - 1) 11^T / s: makes the noise white where the mean came as a symbol of its own.

    The received mean has noise tau^2, so that the direction of ones, of length sqrt(s) mean, has s tau^2, all others tau^2.
    norm: sqrt((s - 1 + 1/s) / s), what W leaves of the length of a random vector.
    """

    def __init__(self, plan: Plan) -> None:
        s = plan.num_rows
        self.shrinkage = 1 - s**-0.5 if plan.has_mean else 0.0
        self.norm = ((s - 1 + 1 / s) / s) ** 0.5 if plan.has_mean else 1.0

    def __call__(self, y: Tensor) -> Tensor:
        """W y / norm, for y [s, M]."""
        if not self.shrinkage:
            return y
        return (y - self.shrinkage * y.mean(0, keepdim=True)) / self.norm


def restore_mean(received: Tensor) -> Tensor:
    """Measurements [s, M] from centred ones and their mean, [s + 1, M]; it is known that the former add up to 0."""
    centred, mean = received[:-1], received[-1:]
    return centred - centred.mean(0, keepdim=True) + mean


def _project(x: Tensor, state: GaussianProjectionState) -> Tensor:
    """A x: [n, M] to [s, M]."""
    if len(state.projection) == 1:
        return state.projection[0] @ x
    left, right, signs, rows = state.projection
    return _hadamard(x * signs[: len(x)], left, right)[rows]


def _project_back(z: Tensor, state: GaussianProjectionState) -> Tensor:
    """A^T z: [s, M] to [n, M], n padded to a power of two for "hadamard"."""
    if len(state.projection) == 1:
        return state.projection[0].T @ z
    left, right, signs, rows = state.projection
    full = z.new_zeros(len(signs), z.shape[1]).index_copy(0, rows, z)
    return _hadamard(full, left, right) * signs


def _hadamard(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """(left kron right) x for x [up to pq, M], zeros below it understood."""
    p, q, m = len(left), len(right), x.shape[1]
    if len(x) < p * q:
        x = torch.nn.functional.pad(x, (0, 0, 0, p * q - len(x)))
    x = torch.matmul(right, x.view(p, q, m))  # [p, q, M]
    return (left @ x.view(p, q * m)).view(p * q, m)


def _share(sent: Tensor, delivered: Tensor) -> Tensor:
    """<delivered, sent> / <sent, sent> over the last axis, 0 where nothing was sent; at any scale."""
    largest = sent.abs().amax(-1, keepdim=True)
    largest = largest.masked_fill(largest == 0, 1)
    sent, delivered = sent / largest, delivered / largest
    energy = (sent * sent).sum(-1)
    return (delivered * sent).sum(-1) / energy.masked_fill(energy == 0, 1)


def _prime_from(number: int) -> int:
    """The smallest prime >= number."""
    candidate = max(2, number)
    while any(candidate % divisor == 0 for divisor in range(2, int(candidate**0.5) + 1)):
        candidate += 1
    return candidate
