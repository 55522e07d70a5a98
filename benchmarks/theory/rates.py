"""Rates of descent with a noisy estimate: what a channel influence factor costs in rounds.

Stated by Makkuva et al. (arXiv:2310.13033), constants and logarithms left out: after T rounds the expected gap is of order
(1 + lambda) / T for quasi-convex f, the mean squared gradient of order sqrt((1 + lambda) / T) for non-convex f.

With constants, derived here for plain descent x <- x - gamma g_hat. Let f be L-smooth, g unbiased with
E||g||^2 <= (1 + M) ||grad f||^2 + s^2, and g_hat unbiased given g with E||g_hat||^2 <= (1 + lambda) ||g||^2. The
compression's error does not enter: with error feedback it is a term of higher order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import minimize_scalar


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Constants of a function and of its stochastic gradients.

    Args:
        smoothness: L > 0.
        gap: f(x_0) - f_*, >= 0.
        distance: ||x_0 - x_*||, >= 0.
        gradient_noise: s^2, >= 0, variance of the stochastic gradient that does not vanish with it.
        growth: M, >= 0, variance relative to the squared gradient.
        convexity: mu of strong quasi-convexity, in [0, smoothness]; 0 for plain quasi-convexity.
    """

    smoothness: float = 1.0
    gap: float = 1.0
    distance: float = 1.0
    gradient_noise: float = 1.0
    growth: float = 0.0
    convexity: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.smoothness < math.inf:
            raise ValueError(f"smoothness must be finite and > 0, got {self.smoothness}")
        for name in ("gap", "distance", "gradient_noise", "growth", "convexity"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and >= 0, got {getattr(self, name)}")
        if self.convexity > self.smoothness:
            raise ValueError(f"convexity must be at most smoothness = {self.smoothness}, got {self.convexity}")


def quasiconvex_rate(influence: float, num_rounds: int) -> float:
    """(1 + lambda) / T, as published: an order of magnitude, without constants and logarithms."""
    return (1 + _checked(influence, num_rounds)) / num_rounds


def nonconvex_rate(influence: float, num_rounds: int) -> float:
    """sqrt((1 + lambda) / T), as published: an order of magnitude, without constants and logarithms."""
    return math.sqrt((1 + _checked(influence, num_rounds)) / num_rounds)


def nonconvex_bound(problem: Problem, influence: float, num_rounds: int) -> tuple[float, float]:
    """Upper bound on the mean over T rounds of E||grad f||^2, at the best constant step.

    2 gap / (gamma T) + gamma L (1 + lambda) s^2, for gamma <= 1 / (L (1 + M) (1 + lambda)); for large T
    2 sqrt(2 gap L s^2 (1 + lambda) / T).

    Returns:
        the bound, and the step gamma.
    """
    excess = problem.smoothness * (1 + _checked(influence, num_rounds))
    step = 1 / (excess * (1 + problem.growth))
    slope = excess * problem.gradient_noise
    if slope * num_rounds > 0:
        step = min(step, math.sqrt(2 * problem.gap / (num_rounds * slope)))
    return (2 * problem.gap / (step * num_rounds) if problem.gap else 0.0) + step * slope, step


def quasiconvex_bound(problem: Problem, influence: float, num_rounds: int) -> tuple[float, float]:
    """Upper bound on the gap E f(x_out) - f_* of a (strongly) quasi-convex f, at the best constant step.

    Quasi-convex: <grad f, x - x_*> >= f - f_* + (mu/2) ||x - x_*||^2. The bound is distance^2 / (gamma W)
    + gamma (1 + lambda) s^2 for gamma <= 1 / (2 L (1 + M) (1 + lambda)). x_out is drawn from the rounds with weights
    (1 - mu gamma)^-(t+1), of sum W: T for mu = 0, growing exponentially for mu > 0, from where the order
    (1 + lambda) s^2 / (mu T) comes, a logarithm apart.

    Returns:
        the bound, and the step gamma.
    """
    excess = 1 + _checked(influence, num_rounds)
    largest = 1 / (2 * problem.smoothness * (1 + problem.growth) * excess)

    def bound(step: float) -> float:
        x = problem.convexity * step
        log_weight = math.log(num_rounds) if x == 0 else _log_geometric(-math.log1p(-x), num_rounds)
        return problem.distance**2 / step * math.exp(-log_weight) + step * excess * problem.gradient_noise

    low = math.log(largest) - 40
    found = minimize_scalar(
        lambda log_step: math.log(max(bound(math.exp(log_step)), 1e-300)), bounds=(low, math.log(largest))
    )
    step = min((math.exp(found.x), largest), key=bound)
    return bound(step), step


def _log_geometric(rate: float, num_rounds: int) -> float:
    """log of sum_{t=1..T} exp(rate t), for rate > 0."""
    return rate * num_rounds + math.log(-math.expm1(-rate * num_rounds)) - math.log(-math.expm1(-rate))


def _checked(influence: float, num_rounds: int) -> float:
    if not 0 <= influence < math.inf:
        raise ValueError(f"influence must be finite and >= 0, got {influence}")
    if num_rounds < 1:
        raise ValueError(f"num_rounds must be >= 1, got {num_rounds}")
    return influence
