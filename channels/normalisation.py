"""Normalisation: whether a law's mean power E|h|^2 is 1, judged once from a sample of its own, before a run.

Rounds that are drawn apart are independent samples: with the mean m of R rounds' powers and its standard error s, a law is
refused where |m - 1| > tolerance + t s, t of Student's distribution with R - 1 degrees of freedom, passed by chance once in
a million laws. Where rounds hang together (a replay) the mean over a whole run is only known to lie between the least and
the largest of the devices' own means, and a law is refused where 1 lies outside.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = 0.05  # of E|h|^2, 0.2 dB: rounded tables of delay profiles, a finite number of sinusoids
FALSE_ALARM = 1e-6
_GAINS = 8192  # independent device gains, so that 1 dB is many standard errors of an exponential power
_FEWEST, _MOST = 64, 4096  # rounds
_LEAST, _SECONDS = 8, 2.0  # rounds that even a slow law draws, and the time after which it draws no more


class MeanPower(NamedTuple):
    """A measured E|h|^2, and how far from it the law's own may lie; num_rounds went into it."""

    measured: float
    bound: float
    num_rounds: int

    @property
    def is_one(self) -> bool:
        """Whether 1 cannot be ruled out."""
        return abs(self.measured - 1) <= TOLERANCE + self.bound


def mean_power(powers: Tensor, *, independent: bool) -> MeanPower:
    """Estimate E|h|^2.

    Args:
        powers: real [R, K], |h|^2 of each device, averaged over its antennas and cells, in R rounds.
        independent: whether the rounds are independent draws.
    """
    from scipy.special import stdtrit  # not needed by those who bring no law of their own

    per_round = powers.double().mean(-1)
    num_rounds = len(per_round)
    measured = per_round.mean().item()
    if independent and num_rounds > 1:
        error = per_round.std().item() / num_rounds**0.5
        return MeanPower(measured, -float(stdtrit(num_rounds - 1, FALSE_ALARM / 2)) * error, num_rounds)
    of_devices = powers.double().mean(0)
    bound = max(of_devices.amax().item() - measured, measured - of_devices.amin().item())
    return MeanPower(measured, bound, num_rounds)


def sample(draw: Callable[[int, int], Tensor], num_devices: int) -> tuple[Tensor, bool]:
    """Draw the powers of a law in as many rounds as it takes to see 1 dB, fewer if it is slow or ends before.

    Args:
        draw: (round, number of the draw) -> |h|^2, real [K or 1]; draws of different numbers come from streams of their own.
        num_devices: K.

    Returns:
        powers: [R, K or 1].
        independent: whether the law draws at all: a replay gives the same gains whatever its generator.
    """
    first = draw(0, 0)
    independent = not torch.equal(first, draw(0, 1))
    powers = [first]
    start = time.monotonic()
    for round in range(1, min(max(_GAINS // num_devices, _FEWEST), _MOST)):
        if round >= _LEAST and time.monotonic() - start > _SECONDS:
            break
        try:
            powers.append(draw(round, 0))
        except Exception:  # a replay that ends; if it matters, the run will say so
            break
    return torch.stack(powers), independent
