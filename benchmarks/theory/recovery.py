"""How well message passing recovers the largest entries of a Gaussian vector from noisy projections, as in A-DSGD.

State evolution (Bayati and Montanari, arXiv:1001.3448; Ma and Ping, arXiv:1602.06509) of a denoiser that does not fit: the
entries follow the tail of a Gaussian, the denoiser believes them Bernoulli-Gaussian and learns rho and variance by one step
of expectation maximisation an iteration. The limit of a long vector.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from laser_wireless.compression.amp import Prior, denoise

_QUANTILES, _NODES = 200, 61  # of the tail's law, and of Gauss-Hermite quadrature over the noise


def recovery_error(
    *, fraction: float, share: float, noise_variance: float, orthogonal: bool = False, iterations: int = 20
) -> float:
    """Squared error of the recovered entries over the energy of those kept; 1 if nothing is recovered.

    Args:
        fraction: projected symbols over entries, in (0, 1].
        share: kept entries over entries, in (0, 1].
        noise_variance: per symbol, over the mean square of a kept entry, >= 0.
        orthogonal: rows of the projection are orthogonal (OAMP) rather than i.i.d. (AMP).
        iterations: of the recovery, >= 1.
    """
    x, weight = _law(share)  # [Q, 1] values, [Q, J] their probability together with that of the noise's nodes
    nodes, _ = np.polynomial.hermite_e.hermegauss(_NODES)
    z = torch.from_numpy(nodes)
    energy = float((weight * x.square()).sum())
    variance = float((weight * x**4).sum()) / (3 * energy)  # of the Bernoulli-Gaussian with these moments
    rho = min(energy / variance, 1 - 1e-6)
    prior = Prior(torch.tensor(rho, dtype=torch.float64), torch.tensor(variance, dtype=torch.float64))
    before, error = energy, energy
    for _ in range(iterations):
        effective = (1 / fraction - orthogonal) * before + noise_variance
        r = x + math.sqrt(effective) * z
        posterior = denoise(r, torch.tensor(effective, dtype=torch.float64), prior)
        before = error = float((weight * (posterior.mean - x).square()).sum())
        if orthogonal:  # what is correlated with r is taken off before the next step
            slope = float((weight * posterior.variance).sum()) / max(effective, 1e-300)
            if slope < 1:
                before = float((weight * ((posterior.mean - slope * r) / (1 - slope) - x).square()).sum())
        active = (weight * posterior.activity).sum().clamp(1e-6, 1 - 1e-6)
        prior = Prior(active, (weight * (posterior.mean.square() + posterior.variance)).sum() / active)
    return error / energy


def _law(share: float) -> tuple[Tensor, Tensor]:
    """Values [Q, 1], 0 or a quantile of the tail at unit mean square, and probabilities [Q, J] with the noise's nodes."""
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    tail = np.array([-NormalDist().inv_cdf(share / 2 * level) for level in levels])
    tail /= math.sqrt((tail**2).mean())
    _, nodes = np.polynomial.hermite_e.hermegauss(_NODES)
    chance = np.concatenate([[1 - share], np.full(_QUANTILES, share / _QUANTILES)])
    values = np.concatenate([[0.0], tail])
    return torch.from_numpy(values)[:, None], torch.from_numpy(np.outer(chance, nodes / nodes.sum()))
