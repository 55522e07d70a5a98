"""How sure a number is that was computed from means over seeds, the choice of candidates included.

A smoothed bootstrap over seeds (Efron, "Estimation and accuracy after model selection", JASA 109, 2014): the number is
computed again in many draws, in each of which the mean of n values x_s by seed moves by

    sum_s z_s (x_s - mean) / sqrt(n (n - 1)),    z_s ~ N(0, 1), the same z_s for all means that seed s is in (paired)

so that the draws have the covariance of the means. The estimate is the mean over draws, its standard error that of the
infinitesimal jackknife, sqrt(sum_s cov(number, z_s)^2). With Student's law of n - 1 degrees of freedom this is, for a mean
or a difference of means, the usual (paired) interval exactly: the z_s are made uncorrelated in the sample.

Candidates are chosen anew in each draw, with z_s of their own: with those of the measurement a draw would prefer what it
happens to flatter, as the data did already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NUM_DRAWS = 2000
_PER_SEED = 20  # draws, at least
_SEED = 2014  # of the draws themselves: the same rows give the same interval


class SeedDraws:
    """Draws of means over seeds; each mean comes as [1 + D]: as it is, and then D draws of it.

    Args:
        seeds: all that there are.
        num_draws: D; more where there are very many seeds.
    """

    def __init__(self, seeds: Sequence[int], num_draws: int = _NUM_DRAWS) -> None:
        count = len(seeds)
        normals = np.random.default_rng(_SEED).standard_normal((max(num_draws, _PER_SEED * count), 2 * count))
        uncorrelated = np.linalg.qr(normals - normals.mean(0))[0] * math.sqrt(len(normals))
        self._place = {seed: number for number, seed in enumerate(seeds)}
        self._choosing, self._measuring = uncorrelated[:, :count], uncorrelated[:, count:]

    def chosen_by(self, values: Mapping[int, float]) -> Array:
        """Means of values by seed, by which something is chosen."""
        return self._means(values, self._choosing)

    def measured(self, values: Mapping[int, float]) -> Array:
        """Means of values by seed, as a result."""
        return self._means(values, self._measuring)

    def _means(self, values: Mapping[int, float], normals: Array) -> Array:
        """The mean and its draws; infinite in all of them where a value is."""
        x = np.array(list(values.values()))
        mean, n = float(np.mean(x)), len(x)
        if n < 2 or not math.isfinite(mean):
            return np.full(len(normals) + 1, mean)
        moved = normals[:, [self._place[seed] for seed in values]] @ (x - mean) / math.sqrt(n * (n - 1))
        return np.concatenate([[mean], mean + moved])

    def estimate(self, numbers: Array) -> tuple[Array, Array]:
        """Estimate and standard error [...] of finite numbers [1 + D, ...] computed from means; error 0 for one seed."""
        draws = numbers[1:].reshape(len(numbers) - 1, -1)
        mean = draws.mean(0)
        moved = (self._choosing + self._measuring).T @ (draws - mean) / len(draws)  # [seeds, ...]
        shape = numbers.shape[1:]
        return mean.reshape(shape), np.sqrt((moved**2).sum(0)).reshape(shape)
