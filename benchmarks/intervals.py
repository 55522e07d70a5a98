"""95 % intervals: of a mean, by Student's law, and of a fraction, after Clopper and Pearson (Biometrika 26, 1934)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import beta
from scipy.stats import f as fisher
from scipy.stats import t as student

CONFIDENCE = 0.95


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of independent values; NaN for a single or an infinite one."""
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def half_width(values: Sequence[float]) -> float:
    """Half of Student's interval of the mean of independent values; NaN for a single or an infinite one."""
    return reach_of(len(values)) * standard_error(values)


def reach_of(num_samples: float) -> float:
    """Half an interval of a mean in standard errors; the normal law's where the number of samples is infinite."""
    return float(student.ppf((1 + CONFIDENCE) / 2, max(1.0, num_samples - 1)))


def disk_of(num_samples: float) -> float:
    """Radius of the disk that holds a complex mean, in standard errors of the worse part (Hotelling's T squared)."""
    n = max(3.0, min(num_samples, 1e9))
    return math.sqrt(2 * (n - 1) / (n - 2) * float(fisher.ppf(CONFIDENCE, 2, n - 2)))


def fraction_interval(fractions: Sequence[float]) -> tuple[float, float]:
    """Of the mean of independent fractions in [0, 1], each of them a yes or no, or a mean of several.

    The binomial law takes as many yes or no as have the spread that is seen, and no fewer than there are samples. Where all
    fractions are 0 it is one-sided: the mean lies below the upper end in 95 % of cases, about 3 / n; and so for all 1.
    """
    n, p = len(fractions), float(np.mean(fractions))
    if p in (0.0, 1.0):
        bound = (1 - CONFIDENCE) ** (1 / n)
        return (0.0, 1 - bound) if p == 0 else (bound, 1.0)
    variance = float(np.var(fractions, ddof=1)) / n if n > 1 else 0.0  # of the mean
    size = min(max(n, p * (1 - p) / variance), 1e9) if variance else n
    tail = (1 - CONFIDENCE) / 2
    low = beta.ppf(tail, size * p, size * (1 - p) + 1)
    return float(low), float(beta.ppf(1 - tail, size * p + 1, size * (1 - p)))
