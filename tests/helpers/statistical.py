"""Statistical comparisons whose bounds follow from the sample size."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import scipy.stats
import torch
from torch import Tensor

FALSE_ALARM = 1e-6  # chance that a correct model fails one comparison, over the choice of seed


def assert_mean(samples: Tensor, *, mean: float, variance: float, num_comparisons: int = 1) -> None:
    """Fail when the mean of independent samples is further from `mean` than chance allows.

    variance: of one sample under the model, in closed form, never estimated from `samples`.
    """
    z = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * num_comparisons))
    bound = z * math.sqrt(variance / samples.numel())
    found = samples.double().mean().item()
    assert abs(found - mean) <= bound, f"mean {found:.6g}, expected {mean:.6g} +- {bound:.2g} (z = {z:.1f})"


def assert_standard_normal(samples: Tensor) -> None:
    """Fail unless samples [R, ...] have mean 0 in each column and variance 1 over all; R independent rounds."""
    columns = samples.flatten(1).unbind(1)
    for column in columns:
        assert_mean(column, mean=0, variance=1, num_comparisons=len(columns))
    assert_mean(samples.double().square(), mean=1, variance=2)


def assert_distributed(samples: Tensor, cdf: str | Callable[..., object], *args: float) -> None:
    """Fail when a Kolmogorov-Smirnov test rejects the distribution."""
    function = getattr(scipy.stats, cdf)(*args).cdf if isinstance(cdf, str) else cdf
    pvalue = scipy.stats.kstest(samples.flatten().double().numpy(), function).pvalue
    assert pvalue >= FALSE_ALARM, f"not {cdf}{args}: p = {pvalue:.2g}"


def seeded(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for each draw of a test."""
    return torch.Generator(device).manual_seed(seed)
