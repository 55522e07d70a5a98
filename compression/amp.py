"""Sparse recovery by approximate message passing: y = A x + w, the columns of a batch all at once.

A has s rows and n columns of unit expected norm, w is N(0, noise_variance). Entries of x are modelled as Bernoulli-Gaussian:
N(0, variance) with probability rho, else 0; a prior that is not known is learned from y by expectation maximisation.
References: Donoho, Maleki, Montanari (2009), arXiv:0907.3574 (AMP); Vila and Schniter (2013), arXiv:1207.3107 (learning the
prior); Ma and Ping (2017), arXiv:1602.06509 (OAMP). What the iterations should reach is told by `state_evolution`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

LinearMap = Callable[[Tensor], Tensor]

_UNKNOWN_NOISE = 0.01  # of the energy of y, at the start, where the noise level is not known
_LOUDEST = 1e12  # noise variance over the largest y^2; under louder noise nothing can be recovered either
_RAREST = 1e-6  # rho that is learned stays between this and one minus this
_DENSEST = 0.9  # rho at the start; from 1 it could not be learned
_WORSE = 1.1  # a step whose effective variance exceeds the least one by this factor is part of no convergent sequence


class Prior(NamedTuple):
    """Bernoulli-Gaussian: an entry is N(0, variance) with probability rho, else 0; broadcastable to [n, M]."""

    rho: Tensor
    variance: Tensor


class Posterior(NamedTuple):
    """What r tells of x, each [n, M]: mean, variance, and the probability of not being 0."""

    mean: Tensor
    variance: Tensor
    activity: Tensor


def denoise(r: Tensor, effective_variance: Tensor, prior: Prior) -> Posterior:
    """Posterior of Bernoulli-Gaussian x from r = x + N(0, effective_variance).

    Worked out in the log-domain and finite for any finite input whose squares are: zeros, entries that the prior holds to be
    impossible, no noise. The derivative of the mean with respect to r is variance / effective_variance.

    Args:
        r: real [n, M].
        effective_variance: broadcastable to r, >= 0.
        prior: of x.
    """
    limits = torch.finfo(r.dtype)
    noise = effective_variance.clamp(min=limits.tiny)
    total = prior.variance + noise
    gain = prior.variance / total
    evidence = (r.square() / noise).clamp(max=limits.max)  # infinite, times a gain of 0, would not be a number
    log_odds = torch.logit(prior.rho) + 0.5 * (noise.log() - total.log() + gain * evidence)
    activity = torch.sigmoid(log_odds)
    linear = gain * r  # the mean, were x known to be active
    mean = activity * linear
    return Posterior(mean, activity * (gain * noise) + mean * (linear - mean), activity)


def amp(
    y: Tensor,
    forward: LinearMap,
    adjoint: LinearMap,
    *,
    noise_variance: float | Tensor | None = None,
    prior: Prior | None = None,
    pooled: bool = False,
    iterations: int = 30,
) -> Tensor:
    """Recover x from y = A x + w, where A has i.i.d. entries of mean 0 and variance 1/s.

    r_t = x_t + A^T z_t,  x_t+1 = E[x | r_t],  z_t+1 = y - A x_t+1 + (n/s) <dx_t+1/dr_t> z_t. By the last term (Onsager's)
    r_t - x is white and Gaussian, of variance |z_t|^2 / s, and at least noise_variance. Given back is, column by column, the
    estimate of the last step, or of an earlier one if the variance grew afterwards: the iteration may diverge where A is
    tiny or far from i.i.d. The number of iterations is fixed, no value is read by the host. Differentiable in y.

    Args:
        y: float32 or float64 [s, M], measurements.
        forward: A, maps [n, M] to [s, M].
        adjoint: its transpose, maps [s, M] to [n, M].
        noise_variance: of w per entry, broadcastable to [1, M]. None if unknown: |z_t|^2 / s, which contains it, is used
            alone; at the start, a hundredth of the energy of y is taken for noise.
        prior: of x; None to learn it.
        pooled: learn one prior for all columns, rather than one for each.
        iterations: >= 1; each takes one A and one A^T.

    Returns:
        x: like y, [n, M].
    """
    problem = _normalise(y, noise_variance, prior, pooled=pooled, iterations=iterations)
    return _latest(_amp_steps(problem, forward, adjoint), iterations) * problem.unit


def oamp(
    y: Tensor,
    forward: LinearMap,
    adjoint: LinearMap,
    *,
    noise_variance: float | Tensor | None = None,
    prior: Prior | None = None,
    pooled: bool = False,
    iterations: int = 30,
    num_entries: int | None = None,
) -> Tensor:
    """Recover x from y = A x + w, where A has orthogonal rows, A A^T = (n/s) I, such as rows of a scrambled Hadamard matrix.

    Orthogonal AMP: r_t = x_t + A^T (y - A x_t), of error variance tau_t^2 = (n/s - 1) v_t^2 + noise_variance, with
    n v_t^2 = |y - A x_t|^2 - s noise_variance; x_t+1 = (E[x | r_t] - a r_t) / (1 - a), where a = <dE[x | r_t]/dr_t>, so that
    the errors of x_t+1 and r_t are uncorrelated. Given back is E[x | r_t], of the last step or as in `amp`.

    Args:
        y: float32 or float64 [s, M], measurements.
        forward: A, maps [n, M] to [s, M].
        adjoint: its transpose, maps [s, M] to [n, M].
        noise_variance: of w per entry, broadcastable to [1, M]. None if unknown: it is estimated as what the residual has
            more than v_t^2 explains, with v_t^2 from the posterior variance; a hundredth of the energy of y at the start.
        prior: of x; None to learn it.
        pooled: learn one prior for all columns, rather than one for each.
        iterations: >= 1; each takes one A and one A^T.
        num_entries: entries of x beyond these are known to be 0 (padding); None for all n.

    Returns:
        x: like y, [num_entries, M].
    """
    problem = _normalise(y, noise_variance, prior, pooled=pooled, iterations=iterations)
    return _latest(_oamp_steps(problem, forward, adjoint, num_entries), iterations) * problem.unit


class _Problem(NamedTuple):
    """Measurements [s, M] over their largest value `unit` ([1, M], or [1, 1] if pooled), and what is known in that unit."""

    y: Tensor
    unit: Tensor
    noise: Tensor  # broadcastable to [1, M]; the least that float precision allows where it is not known
    noise_is_known: bool
    prior: Prior | None
    pooled: bool

    def start(self, r: Tensor) -> Prior:
        """The prior given, or one with the second and fourth moments seen, from y and r = A^T y = x + Gaussian noise.

        y has energy E per entry of x; the fourth cumulant of r is that of x, 3 E^2 (1/rho - 1). Where it is within its
        sampling error of 0, x is taken to be dense: the estimate is then linear, the best that second moments allow.
        """
        if self.prior is not None:
            return self.prior
        dims = (0, 1) if self.pooled else 0
        squares = self.y.square()
        noise = self.noise if self.noise_is_known else _UNKNOWN_NOISE * squares.mean(0, keepdim=True)
        energy = (squares - noise).mean(dims, keepdim=True).clamp(min=0) * (len(self.y) / len(r))
        squares = r.square()
        gaussian = squares.mean(0, keepdim=True).square()
        error = (24 * gaussian.square().mean(dims, keepdim=True) / (r.numel() if self.pooled else len(r))).sqrt()
        cumulant = (squares.square() - 3 * gaussian).mean(dims, keepdim=True) - error
        excess = cumulant.clamp(min=0) / (3 * energy.square()).clamp(min=torch.finfo(r.dtype).tiny)
        rho = (1 / (1 + excess)).clamp(0.01 * len(self.y) / len(r), _DENSEST)
        return Prior(rho, energy / rho)

    def learn(self, prior: Prior, posterior: Posterior) -> Prior:
        """One step of expectation maximisation: the moments that the posterior gives to the prior."""
        if self.prior is not None:
            return prior
        dims = (0, 1) if self.pooled else 0
        rho = posterior.activity.mean(dims, keepdim=True).clamp(_RAREST, 1 - _RAREST)
        return Prior(rho, (posterior.mean.square() + posterior.variance).mean(dims, keepdim=True) / rho)


def _normalise(
    y: Tensor, noise_variance: float | Tensor | None, prior: Prior | None, *, pooled: bool, iterations: int
) -> _Problem:
    if y.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"y must be float32 or float64, got {y.dtype}; convert it with .float()")
    if y.ndim != 2:
        raise ValueError(f"y must be [num_measurements, num_columns], got {list(y.shape)}")
    if not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f"iterations must be an integer >= 1, got {iterations!r}")
    if isinstance(noise_variance, float | int) and not noise_variance >= 0:
        raise ValueError(f"noise_variance must be >= 0 (per measurement), got {noise_variance}")
    unit = y.detach().abs().amax((0, 1) if pooled else 0, keepdim=True)
    unit = unit.masked_fill(unit == 0, 1)
    least = torch.finfo(y.dtype).eps ** 2
    known = noise_variance is not None
    noise = _float64(0.0 if noise_variance is None else noise_variance, y)
    noise = (noise.sqrt() / unit.double()).square().nan_to_num(_LOUDEST).clamp(least, _LOUDEST).to(y.dtype)
    if prior is not None:
        variance = _float64(prior.variance, y).sqrt() / unit.double()
        prior = Prior(_float64(prior.rho, y).to(y.dtype), variance.square().clamp(max=_LOUDEST).to(y.dtype))
    return _Problem(y / unit, unit, noise, known, prior, pooled)


def _float64(value: float | Tensor, like: Tensor) -> Tensor:
    """A number or a tensor in float64 on the device of another; a number is written there, not copied."""
    if isinstance(value, Tensor):
        return value.to(like.device, torch.float64)
    return like.new_full((), value, dtype=torch.float64)


def _latest(steps: Iterator[tuple[Tensor, Tensor]], iterations: int) -> Tensor:
    """Of estimates [n, M] and the effective variances [1, M] that they came from: the latest before these grow."""
    latest, least = next(steps)
    for x, variance in islice(steps, iterations - 1):
        latest = torch.where(variance <= _WORSE * least, x, latest)
        least = torch.minimum(variance, least)
    return latest


def _amp_steps(problem: _Problem, forward: LinearMap, adjoint: LinearMap) -> Iterator[tuple[Tensor, Tensor]]:
    """Estimates and the effective variances that they came from."""
    z = problem.y
    r = adjoint(z)
    ratio = len(r) / len(z)
    prior = problem.start(r)
    while True:
        variance = torch.maximum(z.square().mean(0, keepdim=True), problem.noise)
        posterior = denoise(r, variance, prior)
        yield posterior.mean, variance
        prior = problem.learn(prior, posterior)
        onsager = ratio * posterior.variance.mean(0, keepdim=True) / variance
        z = problem.y - forward(posterior.mean) + onsager * z
        r = posterior.mean + adjoint(z)


def _oamp_steps(
    problem: _Problem, forward: LinearMap, adjoint: LinearMap, num_entries: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Estimates and the effective variances that they came from."""
    residual = problem.y
    r = adjoint(residual)
    n, ratio = len(r), len(r) / len(residual)
    live = n if num_entries is None else num_entries
    prior = problem.start(r[:live])
    energy = residual.square().mean(0, keepdim=True)
    error = (1 - _UNKNOWN_NOISE) * energy / ratio  # v^2, where the noise is not known
    while True:
        energy = residual.square().mean(0, keepdim=True)
        if problem.noise_is_known:
            error = (energy - problem.noise).clamp(min=0) / ratio
            variance = (ratio - 1) * error + problem.noise
        else:
            variance = torch.maximum(energy - error, (ratio - 1) * error).clamp(min=problem.noise)
        posterior = denoise(r[:live], variance, prior)
        yield posterior.mean, variance
        prior = problem.learn(prior, posterior)
        slope = posterior.variance.sum(0, keepdim=True) / (n * variance)
        slope = slope.clamp(max=1 - 1e-3)
        error = slope * variance / (1 - slope)
        mean = posterior.mean if live == n else torch.nn.functional.pad(posterior.mean, (0, 0, 0, n - live))
        x = (mean - slope * r) / (1 - slope)
        residual = problem.y - forward(x)
        r = x + adjoint(residual)
