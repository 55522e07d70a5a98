"""A round: its number, the random streams that it draws from, and who adds up.

There is one generator per purpose, derived from (seed, stream, round): two schemes with one seed meet the same gains and the
same noise, a resumed run continues bit for bit, and every process of a distributed run can redraw what the others drew.
torch's global generator is never touched.

An `Air` says where the devices are: rows of one tensor (`LocalAir`), or of those that the processes of a group hold. Their
sum, and whatever they must agree on, goes through it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


def _mix(value: int) -> int:
    """Permute the 32-bit integers (the finaliser of MurmurHash3): neighbours map to unrelated values."""
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & _MASK
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & _MASK
    return value ^ (value >> 16)


@dataclass(frozen=True)
class Streams:
    """Source of the generators of one run.

    torch's CPU generator keeps only 32 bits of a seed. Within one (seed, stream) the map round -> 32-bit seed is a
    bijection, so no two rounds of a run ever share their noise.

    Args:
        seed: of the run, a non-negative integer.
    """

    seed: int
    _generators: dict[tuple[str, str], tuple[torch.Generator, int, int]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be an integer >= 0, got {self.seed!r}")

    def generator(self, stream: str, round: int, device: torch.device | str = "cpu") -> torch.Generator:
        """Return the generator of `stream` at `round`, freshly seeded.

        The object is reused: a later call for the same stream and device reseeds the generator returned earlier.

        Args:
            stream: purpose of the draws, such as "noise", "gains", "data".
            round: 0, 1, 2, ...
            device: where the draws happen; CPU and CUDA generators give different numbers for one seed.
        """
        key = (stream, str(device))
        generator, before, after = self._generators.get(key) or self._first(stream, device)
        return generator.manual_seed(_mix((round + before) & _MASK) ^ after)

    def drawn(
        self, stream: str, round: int, device: torch.device | str, draw: Callable[[torch.Generator], Tensor]
    ) -> Tensor:
        """What `draw` makes of the generator of a stream."""
        return draw(self.generator(stream, round, device))

    def _first(self, stream: str, device: torch.device | str) -> tuple[torch.Generator, int, int]:
        """Make and keep a stream's generator, with the two words of 32 bits that its seeds come from."""
        digest = hashlib.sha256(f"{self.seed}/{stream}".encode()).digest()
        words = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")
        made = self._generators[stream, str(device)] = (torch.Generator(device=device), *words)
        return made


@dataclass(frozen=True)
class StackedStreams:
    """Streams of R runs that are computed together, along a first axis of all messages; each run draws from its own.

    Args:
        runs: one for each.
    """

    runs: tuple[Streams, ...]

    def drawn(
        self, stream: str, round: int, device: torch.device | str, draw: Callable[[torch.Generator], Tensor]
    ) -> Tensor:
        """What `draw` makes of each run's generator of a stream: [R, ...]."""
        return torch.stack([run.drawn(stream, round, device, draw) for run in self.runs])


class Air(Protocol):
    """Brings the devices together, wherever they live: adds up over them, and lets all know what all must know.

    Reductions keep the reduced axis with length one. What is drawn or decided for all devices is drawn and decided by every
    process alike, from what `gather` made known; a process then takes its `own` part.
    """

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """Sum over the devices along `dim`."""
        ...

    def min(self, x: Tensor, dim: int) -> Tensor:
        """Minimum over the devices along `dim`."""
        ...

    def max(self, x: Tensor, dim: int) -> Tensor:
        """Maximum over the devices along `dim`."""
        ...

    def gather(self, x: Tensor, dim: int) -> Tensor:
        """The entries of all devices, in their order, of what every process has for its own along `dim`."""
        ...

    def own(self, x: Tensor, dim: int) -> Tensor:
        """The entries of this process's devices, a view, of what there is for all along `dim`; of length 1 as it is."""
        ...


class LocalAir:
    """All devices are rows of one tensor in this process."""

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """Sum along `dim`, kept with length one."""
        return x if x.shape[dim] == 1 else x.sum(dim, keepdim=True)

    def min(self, x: Tensor, dim: int) -> Tensor:
        """Minimum along `dim`, kept with length one."""
        return x.amin(dim, keepdim=True)

    def max(self, x: Tensor, dim: int) -> Tensor:
        """Maximum along `dim`, kept with length one."""
        return x.amax(dim, keepdim=True)

    def gather(self, x: Tensor, dim: int) -> Tensor:
        """All entries: x itself."""
        return x

    def own(self, x: Tensor, dim: int) -> Tensor:
        """All entries: x itself."""
        return x

    def __repr__(self) -> str:
        return "LocalAir()"


LOCAL = LocalAir()


@dataclass(frozen=True)
class Round:
    """What every stage of a round needs to know of it.

    Args:
        index: 0, 1, ...
        streams: of the run, or of several that are computed together.
        air: who adds up.
    """

    index: int
    streams: Streams | StackedStreams
    air: Air = LOCAL

    @property
    def num_run_axes(self) -> int:
        """1 if several runs are computed together, along the first axis; else 0."""
        return int(isinstance(self.streams, StackedStreams))

    @property
    def of_all_devices(self) -> Round:
        """The round where tensors hold all devices, wherever they live."""
        return Round(self.index, self.streams)

    @property
    def of_one_run(self) -> Streams:
        """The streams of a run by itself.

        Raises:
            TypeError: several runs are computed together, and the stage that asks draws for one.
        """
        if isinstance(self.streams, StackedStreams):
            raise TypeError("this stage draws for one run at a time; see channels.uplinks.stacked for what can be stacked")
        return self.streams

    def generator(self, stream: str, device: torch.device | str) -> torch.Generator:
        """Return the round's generator of a stream; see `Streams.generator`."""
        return self.of_one_run.generator(stream, self.index, device)

    def drawn(self, stream: str, device: torch.device | str, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        """What `draw` makes of the round's generator of a stream; of several runs each from its own, along a first axis."""
        return self.streams.drawn(stream, self.index, device, draw)
