"""Laws of fading that bring their own survival function, so that closed forms follow without a change here.

    @dataclass(frozen=True)
    class MyLaw:
        def __call__(self, num_devices, num_rx_antennas, grid, *, round, generator): ...   # draws h
        def survival(self, x): return (1 + 2 * x) * np.exp(-2 * x)                         # P(|h|^2 > x), arrays

A function may carry it as an attribute, `my_fading.survival = ...`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad

Array = NDArray[np.float64]
_GRID = np.concatenate([[0.0], np.geomspace(1e-9, 1e4, 400)])
_EDGES = [0.0, *np.geomspace(1e-3, 1e4, 29).tolist()]
_LEAST, _TARGETS = -600.0, (1e-8, 1e-6)  # of log x, and of P(|h|^2 <= x): how often the smallest gains occur


@runtime_checkable
class HasSurvival(Protocol):
    """A fading that knows the law of its gains: |h|^2 of any one round, with mean 1.

    The gains of devices and antennas are independent of one another, their phase is uniform and independent of |h|: closed
    forms go by that.
    """

    def survival(self, x: Array) -> Array:
        """P(|h|^2 > x) for x >= 0: float64 like x, from 1 at 0 (less the chance of a gain of 0) down to 0."""
        ...


def own_survival(fading: Any) -> Callable[[Array], Array] | None:
    """The survival function that a law brings; None for one that brings none.

    Raises:
        ValueError: it is no survival function of a law with mean 1.
    """
    if not isinstance(fading, HasSurvival):
        return None
    name = f"survival of {getattr(fading, '__name__', None) or repr(fading)}"
    values = np.asarray(fading.survival(_GRID))
    if values.shape != _GRID.shape or values.dtype.kind != "f":
        raise ValueError(
            f"{name} must return P(|h|^2 > x) as floats of the shape of x, {_GRID.shape}, got {values.dtype} "
            f"{values.shape}; use NumPy functions, or np.vectorize"
        )
    if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all() and (np.diff(values) <= 1e-12).all()):
        raise ValueError(
            f"{name} must lie in [0, 1] and never rise with x, got values from {values.min()} to {values.max()}"
        )
    if not values[-1] < 1e-3:
        raise ValueError(f"{name} must go to 0, got {values[-1]:.3g} at x = {_GRID[-1]:.3g}; x is |h|^2, not decibels")
    mean = _integral(lambda x: float(fading.survival(np.array(x))), _EDGES)
    if not abs(mean - 1) < 0.01:
        raise ValueError(
            f"{name} must be that of |h|^2 with mean 1, got {mean:.4g}; divide the gains by the root of their power"
        )
    return fading.survival


def mean_power_squared(beyond: Callable[[Array], Array]) -> float:
    """E|h|^4 of a survival function."""
    return _integral(lambda x: 2 * x * float(beyond(np.array(x))), _EDGES)


def density_of(beyond: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Density of |h| at r >= 0: the difference quotient of the survival function over a step of 1e-4."""

    def density(r: Array) -> Array:
        below, above = np.maximum(r - 5e-5, 0), r + 5e-5
        return (beyond(below**2) - beyond(above**2)) / (above - below)

    return density


def inverse_of_least(beyond: Callable[[float], float], m: int) -> float:
    """E[1 / min of m] of |h|^2: integral over x of (1 - P(X > x)^m) / x^2.

    Near 0 P(X <= x) goes as x^a, with a from two of its values; the mean is finite if and only if a > 1.
    """

    def within(s: float) -> float:
        return 1 - beyond(math.exp(s))

    if within(_LEAST) > _TARGETS[0]:
        return math.inf  # a gain of 0 has a chance
    first, second = (_root(within, target) for target in _TARGETS)
    a = math.log(within(second) / within(first)) / (second - first) if second > first + 1e-9 else math.inf
    if a < 1.005:
        return math.inf
    tail = m * within(first) * math.exp(-first) / (a - 1)
    return tail + _integral(
        lambda s: -math.expm1(m * _log(beyond(math.exp(s)))) * math.exp(-s), np.linspace(first, 40.0, 60).tolist()
    )


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else -math.inf


def _root(rising: Callable[[float], float], target: float) -> float:
    """Where a function that rises in s reaches the target, from above."""
    low, high = _LEAST, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) >= target else (middle, high)
    return high


def _integral(function: Callable[[float], float], edges: list[float]) -> float:
    """By pieces: laws of all widths have their bend somewhere."""
    return math.fsum(quad(function, low, high)[0] for low, high in pairwise(edges))
