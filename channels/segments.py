"""Segments: the pieces of a message over which both the scaling and the fading are constant.

A message of S real symbols lies in B blocks (one scale each) and on a grid of cells (one gain each): T time slots times
F frequency blocks, filled slot by slot. Cutting at the borders of both gives G segments, each in one block and one cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from laser_wireless.channels.constants import constant, values_are_traced

_FEW = 512  # up to here a Python loop over segments, or over runs of them, beats one gather over all symbols
_WORTH_A_CALL = 1 << 12  # symbols per device and run, on average, for which a loop over any number of runs pays
CHUNK = 1 << 14  # symbols per device that stay in a CPU's cache between two passes


class Run(NamedTuple):
    """Segments first to first + number - 1, each of `length` symbols, the first of them at symbol `start`."""

    first: int
    number: int
    length: int
    start: int

    def segments_of(self, values: Tensor) -> Tensor:
        """The run's part of values [..., G] or [..., 1]: [..., number] or [..., 1]."""
        return values if values.shape[-1] == 1 else values.narrow(-1, self.first, self.number)

    def symbols_of(self, symbols: Tensor) -> Tensor:
        """The run's part of symbols [..., S] as a view [..., number, length]."""
        return symbols.narrow(-1, self.start, self.number * self.length).unflatten(-1, (self.number, self.length))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How S real symbols lie on T time slots x F frequency blocks.

    Args:
        num_slots: T.
        num_frequency_blocks: F.
        symbols_per_cell: real symbols in each cell, slot after slot and within a slot block after block; one number if
            all cells but perhaps the last are equally full, else T F numbers.
        slot_s: seconds from the start of one slot to the start of the next, None where no time is known.
        block_hz: hertz between the centres of neighbouring frequency blocks, None where no frequency is known.
    """

    num_slots: int
    num_frequency_blocks: int = 1
    symbols_per_cell: int | tuple[int, ...]
    slot_s: float | None = None
    block_hz: float | None = None

    @property
    def num_cells(self) -> int:
        """T F."""
        return self.num_slots * self.num_frequency_blocks


@dataclass(frozen=True)
class Segments:
    """G segments of a message of S symbols in B blocks.

    Args:
        block_sizes: real symbols of each block, B numbers.
        grid: where the symbols lie.
    """

    block_sizes: tuple[int, ...]
    grid: Grid

    @property
    def num_symbols(self) -> int:
        """S."""
        return sum(self.block_sizes)

    @cached_property
    def _ends(self) -> np.ndarray:
        """Where each segment ends."""
        blocks = np.cumsum(self.block_sizes)
        per_cell = self.grid.symbols_per_cell
        if isinstance(per_cell, int):
            cells = np.arange(1, self.grid.num_cells + 1, dtype=np.int64) * per_cell
        else:
            cells = np.cumsum(per_cell)
        return np.union1d(blocks, cells[cells < self.num_symbols])

    @cached_property
    def _lengths(self) -> np.ndarray:
        """Symbols of each segment."""
        return np.diff(self._ends, prepend=0)

    @cached_property
    def _cells(self) -> np.ndarray:
        """In which cell of the grid each segment lies."""
        per_cell = self.grid.symbols_per_cell
        if isinstance(per_cell, int):
            return (self._ends - 1) // per_cell
        return np.searchsorted(np.cumsum(per_cell), self._ends)

    @cached_property
    def _blocks(self) -> np.ndarray:
        """In which block each segment lies."""
        return np.searchsorted(np.cumsum(self.block_sizes), self._ends)

    @cached_property
    def _straddled(self) -> np.ndarray:
        """Segments that end within a pair."""
        return np.flatnonzero(self._ends[:-1] % 2)

    @cached_property
    def _straddling(self) -> np.ndarray:
        """The first symbol of each such pair."""
        return self._ends[self._straddled] - 1

    @cached_property
    def _tensors(self) -> dict[tuple[str, torch.device, torch.dtype], Tensor]:
        return {}

    def _on(self, name: str, device: torch.device, dtype: torch.dtype = torch.int64) -> Tensor:
        """One of the arrays above as a tensor, made once for each device."""
        if values_are_traced():
            return torch.as_tensor(getattr(self, name), dtype=dtype, device=device)
        key = (name, device, dtype)
        if key not in self._tensors:
            with torch.inference_mode(False):
                self._tensors[key] = torch.as_tensor(getattr(self, name), dtype=dtype, device=device)
        return self._tensors[key]

    @cached_property
    def are_blocks(self) -> bool:
        """Whether each block is one segment."""
        return self.num_segments == len(self.block_sizes)

    @cached_property
    def few(self) -> bool:
        """Whether a loop over the segments is cheap."""
        return self.num_segments <= _FEW

    @cached_property
    def kind(self) -> Literal["few", "runs", "ragged"]:
        """Which quick form of arithmetic they allow: segment by segment, run by run, or none."""
        if self.few:
            return "few"
        return "runs" if self.runs else "ragged"

    @cached_property
    def runs(self) -> list[Run]:
        """Runs of equal segments, in pieces of about 2^14 symbols that stay in a cache; empty where there are too many."""
        borders = np.flatnonzero(np.diff(self._lengths, prepend=-1, append=-1))  # where a run begins, and the end
        if len(borders) > max(_FEW, self.num_symbols // _WORTH_A_CALL):
            return []
        runs = []
        for first, last in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
            length = int(self._lengths[first])
            step = max(1, CHUNK // length)
            for begin in range(first, last, step):
                start = int(self._ends[begin]) - length
                runs.append(Run(begin, min(step, last - begin), length, start))
        return runs

    @cached_property
    def chunks(self) -> list[Run]:
        """The message in pieces of at most 2^14 symbols, longer segments in parts; empty where `runs` is."""
        whole = self.runs
        if self.few and not whole:
            whole = [Run(i, 1, n, end - n) for i, (n, end) in enumerate(zip(self.sizes, self._ends.tolist(), strict=True))]
        chunks = []
        for run in whole:
            if run.length <= CHUNK:
                chunks.append(run)
                continue
            for start in range(0, run.length, CHUNK):
                chunks.append(Run(run.first, 1, min(CHUNK, run.length - start), run.start + start))
        return chunks

    @cached_property
    def parts(self) -> list[int]:
        """Of how many chunks each segment consists."""
        return (-(-self._lengths // CHUNK)).tolist()

    @cached_property
    def num_segments(self) -> int:
        """G."""
        return len(self._ends)

    @cached_property
    def sizes(self) -> list[int]:
        """Real symbols of each segment; only for few segments."""
        return self._lengths.tolist()

    @cached_property
    def straddles(self) -> bool:
        """Whether a pair of real symbols, one channel use, lies in two segments."""
        return bool((self._ends[:-1] % 2).any())

    def straddled_like(self, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """The segments that end within a pair, and the first symbol of each such pair: int64 [n] each."""
        return self._on("_straddled", symbols.device), self._on("_straddling", symbols.device)

    def lengths_like(self, values: Tensor) -> Tensor:
        """Symbols of each segment: [G], dtype and device of `values`."""
        return self._on("_lengths", values.device, values.dtype)

    def lengths_on(self, device: torch.device) -> Tensor:
        """Symbols of each segment: int64 [G]."""
        return self._on("_lengths", device)

    def gains_of(self, cells: Tensor) -> Tensor:
        """Spread gains [..., T F] or [..., 1] of the cells over the segments: [..., G] or [..., 1]."""
        if cells.shape[-1] == 1:
            return cells
        if isinstance(self.grid.symbols_per_cell, int):
            all_in_use = (self.grid.num_cells - 1) * self.grid.symbols_per_cell < self.num_symbols
            if all_in_use and self.grid.num_cells == self.num_segments:
                return cells  # no block ends within a cell
        return cells[..., self._on("_cells", cells.device)]

    def sum_in_blocks(self, values: Tensor) -> Tensor:
        """Add up values [..., G] of the segments within each block: [..., B]."""
        if self.are_blocks:
            return values
        total = values.new_zeros(*values.shape[:-1], len(self.block_sizes))
        return total.index_add(-1, self._on("_blocks", values.device), values)

    def from_blocks(self, values: Tensor) -> Tensor:
        """Spread values [..., B] of the blocks over their segments: [..., G]."""
        return values if self.are_blocks else values[..., self._on("_blocks", values.device)]

    def expand(self, values: Tensor) -> Tensor:
        """Spread values [..., G] of the segments over their symbols: [..., S]."""
        if self.num_segments == self.num_symbols:
            return values
        return torch.repeat_interleave(values, self.lengths_on(values.device), dim=-1, output_size=self.num_symbols)

    def mean_over_symbols(self, values: Tensor) -> Tensor:
        """Mean of values [..., G] or [..., 1] over the S symbols: [...]."""
        if values.shape[-1] == 1:
            return values.squeeze(-1)
        return (values * self.lengths_like(values)).sum(-1) / self.num_symbols  # all of 1: exactly 1

    def mean_in_blocks(self, values: Tensor) -> Tensor:
        """Mean of values [..., G] or [..., 1] over the symbols of each block: [..., B]."""
        if values.shape[-1] == 1:
            return values.expand(*values.shape[:-1], len(self.block_sizes))
        if self.are_blocks:
            return values
        lengths = self.lengths_like(values)
        sizes = constant(self.block_sizes, dtype=values.dtype, device=values.device)
        return self.sum_in_blocks(values * lengths) / sizes


@lru_cache(maxsize=64)
def segments_of(block_sizes: tuple[int, ...], grid: Grid) -> Segments:
    """The segments of a layout on a grid; kept, since a run meets the same few layouts in every round."""
    return Segments(block_sizes, grid)
