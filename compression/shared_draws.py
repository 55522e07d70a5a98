"""What all parties know without sending it: random numbers from (seed, round), and how many entries a share is."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import floor

import numpy as np
import torch
from torch import Tensor

_CHUNK = 1 << 16  # entries; a permutation that stays in the cache is several times quicker


def shared_generator(seed: int, round: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that every device and the receiver seed alike; no two of 2^32 consecutive rounds share a seed.

    The run's seed is mixed first: what a user draws after torch.manual_seed(seed) has nothing to do with these numbers.
    """
    start = int(np.random.SeedSequence(seed).generate_state(1)[0])
    return torch.Generator(device).manual_seed((start + round) & 0xFFFFFFFF)  # torch's CPU generator keeps 32 bits


def draw_subset(size: int, count: int, *, seed: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw `count` of the integers 0 ... size - 1, every subset being equally likely.

    Long ranges are cut into chunks: how many fall into each is multivariate hypergeometric, and which of a chunk are taken
    is uniform, which together is uniform over all subsets.

    Args:
        size: how many integers there are.
        count: how many to draw, at most `size`.
        seed: of the counts in the chunks, which are drawn on the CPU.
        generator: draws within the chunks, on its device.

    Returns:
        int64 [count], without repetition, in no particular order.
    """
    if size <= _CHUNK:
        return torch.randperm(size, generator=generator, device=generator.device)[:count]
    sizes = [min(_CHUNK, size - start) for start in range(0, size, _CHUNK)]
    counts = np.random.default_rng(seed).multivariate_hypergeometric(sizes, count, method="marginals")
    chosen = torch.empty(count, dtype=torch.int64, device=generator.device)
    done = 0
    for number, (length, taken) in enumerate(zip(sizes, counts.tolist(), strict=True)):
        order = torch.randperm(length, generator=generator, device=generator.device)
        torch.add(order[:taken], number * _CHUNK, out=chosen[done : done + taken])
        done += taken
    return chosen


@lru_cache(maxsize=1024)
def portion(fraction: float, size: int | Fraction) -> int:
    """max(1, floor(fraction size)), the fraction being what its decimals say: 0.29 of 100 is 29, not 28."""
    check_fraction(fraction)
    return max(1, floor(Fraction(str(fraction)) * size))


def check_fraction(fraction: float, name: str = "fraction") -> None:
    """Refuse a fraction of the entries outside (0, 1]."""
    if not 0 < fraction <= 1:
        raise ValueError(f"{name} must lie in (0, 1], the fraction of the entries that is sent, got {fraction}")
