"""Normalisation: whether a law's mean power E|h|^2 is 1, judged once from a sample of its own, before a run.

Rounds that are drawn apart are independent samples. From the mean m of R rounds' powers and its standard error s the law's
own lies between m / (1 + e) and m (1 + e), e = t s / (m (1 - q)): t of Student's distribution with R - 1 degrees of freedom,
exceeded once in a million laws, and q the fraction of the power in the strongest hundredth of the gains, which widens the
bound where the tail is heavy and a sample says little (0.06 for an exponential power, 0.3 for log-normal shadowing of 8 dB).
Where rounds hang together (a replay), the mean over a whole run is only known to lie where those of single devices and of
eighths of the sample do. A law is refused where 1 lies outside.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = 0.05  # of E|h|^2, 0.2 dB: rounded tables of delay profiles, a finite number of sinusoids
FALSE_ALARM = 1e-6
_GAINS = 8192  # independent device gains, so that 1 dB is many standard errors of an exponential power
_FEWEST, _MOST = 64, 4096  # rounds
_LEAST, _SECONDS = 8, 1.0  # rounds that even a slow law draws, and the time after which it draws no more


class MeanPower(NamedTuple):
    """A measured E|h|^2: the law's own lies between measured / factor and measured * factor; num_rounds went into it."""

    measured: float
    factor: float
    num_rounds: int

    @property
    def is_one(self) -> bool:
        """Whether 1 cannot be ruled out; NaN cannot, it is for the run's own error to name."""
        too_low = self.measured * self.factor < 1 - TOLERANCE if self.measured else True
        return not (too_low or self.measured / self.factor > 1 + TOLERANCE)


def mean_power(powers: Tensor, independent: bool) -> MeanPower:
    """Estimate E|h|^2.

    Args:
        powers: real [R, K], |h|^2 of each device, averaged over its antennas and cells, in R rounds.
        independent: whether the rounds are independent draws.
    """
    powers = powers.double()
    per_round = powers.mean(-1)
    measured, num_rounds = per_round.mean().item(), len(per_round)
    if not independent or num_rounds == 1 or measured == 0:
        apart = [powers.mean(0), *(part.mean(0, keepdim=True) for part in per_round.tensor_split(8) if len(part))]
        low, high = (value.item() for value in torch.cat(apart).aminmax())
        return MeanPower(measured, max(high / measured, measured / low) if low > 0 else math.inf, num_rounds)

    from scipy.special import stdtrit  # heavy, and not needed by those who bring no law of their own

    strongest = powers.flatten().topk(-(-powers.numel() // 100)).values.sum() / powers.sum()
    error = (per_round.std() / (measured * num_rounds**0.5 * (1 - strongest))).item()
    return MeanPower(measured, 1 - stdtrit(num_rounds - 1, FALSE_ALARM / 2) * error, num_rounds)


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
