"""One round of over-the-air aggregation, as plainly as it can be written. See the guide's page of the same name."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def one_round(u: Tensor, P: float, sigma2: float, h: Tensor, noise: Tensor, policy: Callable) -> tuple[Tensor, Tensor]:
    """Send u: real [K, S] over gains h: complex [K]; return the estimate of mean_k u_k, [S], and each device's energy [K].

    sigma2 is the noise variance per REAL symbol; noise: real [S], standard normal, two of them to a channel use.
    """
    num_devices, num_symbols = u.shape
    b, g = policy(u, P, sigma2, h)  # precoders of the devices, scale of the receiver
    y = torch.zeros(math.ceil(num_symbols / 2), dtype=torch.complex128)
    energy = torch.zeros(num_devices, dtype=torch.float64)
    for k in range(num_devices):
        u_k = torch.nn.functional.pad(u[k], (0, num_symbols % 2))
        x_k = b[k] * torch.complex(u_k[0::2], u_k[1::2])  # two real symbols in a channel use
        energy[k] = x_k.abs().square().sum()
        assert energy[k] <= P * (1 + 1e-9)  # the budget is an inequality, for every device, in every round
        y += h[k] * x_k  # the air adds up
    n = torch.nn.functional.pad(noise, (0, num_symbols % 2)) * sigma2**0.5
    y += torch.complex(n[0::2], n[1::2])  # CN(0, 2 sigma2), once, at the receiver
    return torch.view_as_real(g * y).flatten()[:num_symbols], energy


def truncated_inversion(u, P, sigma2, h, threshold=0.1):
    """Every device above the threshold arrives with one amplitude, the largest that all of them can afford."""
    active = h.abs().square() >= threshold
    alpha = min(math.sqrt(P) * h[k].abs() / u[k].norm() for k in range(len(u)) if active[k])
    return torch.where(active, alpha / h, 0), 1 / (alpha * active.sum())


def full_power(u, P, sigma2, h):
    """Everybody sends all the energy with the phase undone; the receiver's scale has the least error in the mean."""
    b = math.sqrt(P) * h.conj() / h.abs() / u.norm(dim=1)
    a, nu = (h * b).real, u.square().sum(1)
    return b, (a * nu).sum() / (len(u) * ((a.square() * nu).sum() + sigma2 * u.shape[1]))
