"""Count sketch: every entry is added, with a random sign, to a random bucket; the buckets are sent.

References: Charikar, Chen, Farach-Colton (2002); for gradients Ivkin et al., arXiv:1903.04488; over the air in Makkuva et
al., arXiv:2310.13033 ("sketching").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from laser_wireless.compression.message import Message, check_gradients, check_shapes, sizes_of, split_parameters
from laser_wireless.compression.parameters import checked
from laser_wireless.compression.shared_draws import check_fraction, portion, shared_generator

_CHUNK = 1 << 24  # entries of a row that are hashed at a time, for the memory's sake


class CountSketchState(NamedTuple):
    """What all parties know: this round's hashes, each 2 bucket + (1 where the sign is -1); a seed for each run.

    hashes: int32 or int64 [..., rows, d].
    """

    shapes: tuple[tuple[int, ...], ...]
    seed: int | tuple[int, ...]
    hashes: Tensor
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
@checked
class CountSketch:
    """Send sketches of R rows, w = max(1, floor(kappa d_b / R)) buckets each: S = sum_b R w_b real symbols per round.

    u[r, t] = sum over entries j with h_r(j) = t of eps_r(j) v_j; hashes h and signs eps are independent, uniform, shared by
    seed and fresh in each round. Linear, so that the mean of sketches is the sketch of the mean. Entry j is read as
    eps_r(j) u_hat[r, h_r(j)], and the rows' readings are combined:

    "mean": unbiased over the hashes, E||g_hat - g||^2 = (d_b - 1) / (R w) ||g||^2 for each parameter, and the channel adds
    d_b tau^2 / R: with equal energy as much noise as uncompressed, since a sketch has R times the gradient's energy and
    every entry reads a noisy bucket. A row's sketch has E||u||^2 = ||g||^2.
    "median": of the rows; holds against few large entries, biased for skewed ones, not linear.

    divide_by_count divides each bucket by the number n of its entries (count-mean). With one row this is the projection
    onto the sketch's row space: biased, E g_hat = E[1/n] g, but a contraction, ||g_hat - g|| <= ||g||, so that error
    feedback converges (also for the mean of rows); the noise falls as well. Without it the sketch is no contraction and
    error feedback diverges, as the authors' code remarks.

    Differences from the authors' code: rows, readings and the count's division are options, and the seed is the run's. On
    CUDA the buckets' sums come in any order; set torch.use_deterministic_algorithms for equal bits.

    Args:
        fraction: kappa in (0, 1], buckets of all rows together over entries.
        rows: R >= 1.
        read: how the rows' readings are combined.
        divide_by_count: divide buckets by the number of their entries.
        error_feedback: keep what a device's own sketch does not read back.
    """

    fraction: float = 0.2
    rows: int = 1
    read: Literal["mean", "median"] = "mean"
    divide_by_count: bool = False
    error_feedback: bool = False
    momentum = 0.0

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        if self.rows < 1:
            raise ValueError(f"rows must be an integer >= 1, got {self.rows}")

    def widths(self, shapes: tuple[tuple[int, ...], ...]) -> list[int]:
        """Buckets w of one row, for each parameter."""
        return [max(1, portion(self.fraction, size) // self.rows) for size in sizes_of(shapes)]

    def init(
        self, shapes: Sequence[tuple[int, ...]], num_devices: int, *, device: torch.device, dtype: torch.dtype, seed: int
    ) -> CountSketchState:
        """Return the state before round 0, with its hashes drawn."""
        return CountSketchState(plain := check_shapes(shapes), seed, self._drawn(plain, seed, 0, device))

    def encode(self, gradients: Tensor, state: CountSketchState, *, round: int) -> Message:
        """Sum each device's entries into its buckets, row after row for each parameter."""
        check_gradients(gradients, state.shapes, state.runs)
        layout = tuple(self.rows * width for width in self.widths(state.shapes))
        sketch = gradients.new_zeros(*gradients.shape[:-1], sum(layout))
        for row in state.hashes.unbind(-2):
            for start, hashes in _pieces(row.unsqueeze(-2)):
                signed = gradients[..., start : start + hashes.shape[-1]] * _signs(hashes, gradients.dtype)
                sketch.scatter_add_(-1, _buckets(hashes).expand(signed.shape), signed)
        return Message(sketch, layout)

    def subtract_(self, memory: Tensor, sent: Tensor, delivered: Tensor, state: CountSketchState, *, round: int) -> None:
        """Subtract what each device's own sketch reads back."""
        for start, values in self._read(delivered, state):
            memory[..., start : start + values.shape[-1]] -= values

    def decode(
        self,
        estimate: Tensor,
        state: CountSketchState,
        *,
        round: int,
        noise_variance: Tensor | None = None,
        out: Sequence[Tensor] | None = None,
    ) -> tuple[list[Tensor], CountSketchState]:
        """Read every entry, and draw the next round's hashes."""
        pieces = [values for _, values in self._read(estimate.unsqueeze(-2), state)]
        row = torch.cat(pieces, dim=-1).squeeze(-2)
        hashes = self._drawn(state.shapes, state.seed, round + 1, estimate.device)
        return split_parameters(row, state.shapes), state._replace(hashes=hashes)

    def _read(self, sketch: Tensor, state: CountSketchState) -> Iterator[tuple[int, Tensor]]:
        """Readings of sketches [..., K, S], a piece [..., K, size] at a time, with where in the row it starts."""
        if self.divide_by_count:
            sketch = sketch / self._counts(sketch, state).clamp(min=1)
        for start, hashes in _pieces(state.hashes):
            rows = [
                sketch.gather(-1, _buckets(row).expand(*sketch.shape[:-1], -1)) * _signs(row, sketch.dtype)
                for row in hashes.unsqueeze(-2).unbind(-3)
            ]
            yield start, _combined(rows, self.read)

    def _counts(self, sketch: Tensor, state: CountSketchState) -> Tensor:
        """How many entries each bucket of sketches [..., K, S] has, [..., 1, S]."""
        counts = sketch.new_zeros(*state.runs, sketch.shape[-1])
        for row in state.hashes.unbind(-2):
            for _, hashes in _pieces(row):
                counts.scatter_add_(-1, _buckets(hashes), counts.new_ones(()).expand(hashes.shape))
        return counts.unsqueeze(-2)

    def _drawn(
        self, shapes: tuple[tuple[int, ...], ...], seed: int | tuple[int, ...], round: int, device: torch.device
    ) -> Tensor:
        """The hashes of a round, [rows, d]; [R, rows, d] of several runs."""
        if isinstance(seed, tuple):
            return torch.stack([self._drawn(shapes, one, round, device) for one in seed])
        generator = shared_generator(seed, round, device)
        sizes, widths = sizes_of(shapes), self.widths(shapes)
        largest = 2 * self.rows * sum(widths)
        dtype = torch.int32 if largest < 1 << 31 else torch.int64
        hashes = torch.empty(self.rows, sum(sizes), dtype=dtype, device=device)
        start = bucket = 0
        for size, width in zip(sizes, widths, strict=True):
            for row in range(self.rows):
                place = hashes[row, start : start + size]
                torch.randint(0, 2 * width, (size,), generator=generator, dtype=dtype, device=device, out=place)
                place.add_(2 * bucket)
                bucket += width
            start += size
        return hashes


def _pieces(hashes: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Cut hashes [..., d] into pieces, each with its start."""
    return ((start, hashes[..., start : start + _CHUNK]) for start in range(0, hashes.shape[-1], _CHUNK))


def _buckets(hashes: Tensor) -> Tensor:
    return (hashes >> 1).long()


def _signs(hashes: Tensor, dtype: torch.dtype) -> Tensor:
    return (1 - 2 * (hashes & 1)).to(dtype)


def _combined(rows: list[Tensor], read: str) -> Tensor:
    """Mean or median of the rows' readings; for an even number the median is halfway between the middle two."""
    if len(rows) == 1:
        return rows[0]
    readings = torch.stack(rows, dim=-3)  # a run's own lie together: where means are taken at once decides their rounding
    if read == "mean":
        return readings.mean(-3)
    ordered = readings.sort(-3).values
    return (ordered.select(-3, (len(rows) - 1) // 2) + ordered.select(-3, len(rows) // 2)) / 2
