"""Random streams: one generator per purpose, derived from (seed, stream, round).

Two schemes with one seed meet the same gains and the same noise, a resumed run continues bit for bit, and every process
of a distributed run can redraw what the others drew. torch's global generator is never touched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch

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
        if key not in self._generators:
            digest = hashlib.sha256(f"{self.seed}/{stream}".encode()).digest()
            words = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")
            self._generators[key] = (torch.Generator(device=device), *words)
        generator, before, after = self._generators[key]
        return generator.manual_seed(_mix((round + before) & _MASK) ^ after)
