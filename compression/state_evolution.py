"""State evolution: the error of message passing, iteration by iteration, in the limit of a large problem.

Reference: Bayati and Montanari (2011), arXiv:1001.3448 (AMP, i.i.d. Gaussian matrix); Ma and Ping (2017), arXiv:1602.06509
(OAMP, orthogonal rows). Entries of x are Bernoulli-Gaussian: N(0, variance) with probability rho, else 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

_LOG_U = np.linspace(-45.0, np.log(40.0), 4001)  # u = r / sd(r), on a logarithmic grid: the trapezoid rule is then exact


class Evolution(NamedTuple):
    """Per iteration, float64 [iterations]: variance of r - x before the denoiser, mean squared error after it."""

    effective_variance: NDArray[np.float64]
    mse: NDArray[np.float64]


def bernoulli_gaussian_mmse(effective_variance: float, *, rho: float, variance: float = 1.0) -> float:
    """Smallest mean squared error with which x can be told from r = x + N(0, effective_variance).

    It is the mean of the posterior variance, over r; of an active entry, E[gain noise + (1 - activity) (gain r)^2], with
    gain = variance / (variance + noise): no difference of nearly equal terms, whatever the noise.
    """
    noise = effective_variance
    if noise == 0 or variance == 0 or rho == 0:
        return 0.0
    total = variance + noise
    gain = variance / total
    log_odds = np.log(rho) - np.log1p(-rho) if rho < 1 else np.inf
    u = np.exp(_LOG_U)
    evidence = np.exp(np.minimum(np.log(variance) - np.log(noise) + 2 * _LOG_U, 700.0))  # gain r^2 / noise
    inactivity = expit(-(log_odds + 0.5 * (np.log(noise) - np.log(total) + evidence)))
    density = np.sqrt(2 / np.pi) * np.exp(-0.5 * u**2)  # of |u|
    confusion = np.trapezoid(density * inactivity * u**3, _LOG_U)  # du = u d(log u)
    return float(rho * (gain * noise + gain * variance * confusion))


def state_evolution(
    *,
    fraction: float,
    noise_variance: float,
    rho: float,
    variance: float = 1.0,
    orthogonal: bool = False,
    iterations: int = 30,
) -> Evolution:
    """Predict the mean squared error of `amp` (or `oamp`, with orthogonal rows) with the true prior, per entry of x.

    AMP: t_i = noise_variance + v_i / fraction, v_i+1 = mmse(t_i). OAMP: t_i = (1/fraction - 1) v_i + noise_variance,
    1/v_i+1 = 1/mmse(t_i) - 1/t_i. Both begin with v_0 = rho variance; mse is mmse(t_i).

    Args:
        fraction: s/n, measurements per entry, > 0; at most 1 with orthogonal rows.
        noise_variance: per measurement, >= 0.
        rho: probability that an entry is not 0.
        variance: of such an entry.
        orthogonal: rows of A are orthogonal (OAMP) rather than i.i.d. (AMP).
        iterations: >= 1.
    """
    if not fraction > 0 or (orthogonal and fraction > 1):
        raise ValueError(f"fraction must be > 0, and at most 1 with orthogonal rows, got {fraction}")
    if not (noise_variance >= 0 and variance >= 0):
        raise ValueError(f"noise_variance and variance must be >= 0, got {noise_variance} and {variance}")
    if not 0 <= rho <= 1:
        raise ValueError(f"rho must be a probability, got {rho}")
    if iterations < 1:
        raise ValueError(f"iterations must be >= 1, got {iterations}")
    error, effective, mse = rho * variance, [], []
    for _ in range(iterations):
        effective.append((1 / fraction - orthogonal) * error + noise_variance)
        mse.append(bernoulli_gaussian_mmse(effective[-1], rho=rho, variance=variance))
        error = mse[-1]
        if orthogonal and 0 < error < effective[-1]:
            error = 1 / (1 / error - 1 / effective[-1])
    return Evolution(np.array(effective), np.array(mse))
