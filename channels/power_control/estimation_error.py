"""Error of the estimated mean: its closed form, the receiver's scale that makes it least, and what counts as delivered.

The estimate is sum_k c_k u_k + noise, with c_k = g h_k b_k for one antenna and c_k = w^H h_k b_k for several. Wanted is the
mean, c_k = 1/K. With uncorrelated messages of N real symbols, and noise of variance sigma^2 on each real symbol,

    E||estimate - mean||^2 = sum_k |c_k - 1/K|^2 ||u_k||^2 + G sigma^2 N,      G = g^2 or ||w||^2
"""

from __future__ import annotations

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.round import LOCAL, Air
from laser_wireless.channels.signals import wide


def mean_square_error(
    coefficients: Tensor,
    norms: Tensor,
    *,
    noise_gain: Tensor,
    noise_variance: Tensor | float,
    num_symbols: Tensor | int,
    air: Air = LOCAL,
) -> Tensor:
    """Expected squared error of the estimate of the mean over all K devices, bias included, given the gains.

    Exact for uncorrelated messages; on a complex baseband, where two real symbols share a channel use, also for complex
    coefficients, which mix the two. Differentiable with respect to every tensor.

    Args:
        coefficients: real or complex, broadcastable to [..., K, G], c_k.
        norms: [..., K, G], ||u_k||.
        noise_gain: [..., G], g^2 or ||w||^2.
        noise_variance: [...] or a number, sigma^2 per real symbol.
        num_symbols: [G] or a number, N, real symbols of each segment; see `Segments.lengths_like`.
        air: adds up over the devices.

    Returns:
        float64 [..., G], of each segment, summed over its symbols.
    """
    powers = norms.double().square()
    missing = (wide(coefficients) - 1 / count_devices(powers, air)).abs().square()
    variance = constant(noise_variance, dtype=torch.float64, device=powers.device).unsqueeze(-1)
    return air.sum(missing * powers, dim=-2).squeeze(-2) + noise_gain.double() * variance * num_symbols


def least_error_scale(arriving: Tensor, norms: Tensor, noise_energy: Tensor, air: Air) -> Tensor:
    """Scale g >= 0 of least error in the mean of all K devices.

    g = sum_k Re(a_k) nu_k / (K (sum_k |a_k|^2 nu_k + sigma^2 N)), with nu_k = ||u_k||^2 and
    uncorrelated messages. It shrinks the estimate: biased, and never worse than saying zero.

    Args:
        arriving: real or complex, broadcastable to [..., K, G], a_k = h_k b_k.
        norms: float64 [..., K, G].
        noise_energy: float64, broadcastable to [..., 1, G], sigma^2 N.
        air: adds up over the devices.

    Returns:
        float64 [..., 1, G]; 0 where nothing arrives.
    """
    powers = norms.square()
    coherent = arriving.real if arriving.is_complex() else arriving
    wanted = air.sum(coherent * powers, dim=-2).clamp(min=0)
    received = air.sum(arriving.abs().square() * powers, dim=-2) + noise_energy
    nothing = received == 0
    return (wanted / (count_devices(powers, air) * (received + nothing))).masked_fill(nothing, 0)


def delivered_share(coefficients: Tensor, num_counted: Tensor | int) -> Tensor:
    """Part of a device's amplitude that the estimate counts: Re(c_k) over the 1/m that a device should have, in [0, 1].

    Below 1 the books balance: the estimate holds delivered u_k / m of the device (and, where c_k is complex, a turned
    remainder that nobody owes), and its memory keeps the rest. A device that arrives too strong counts as 1: what came in
    excess is an error of the estimate and is not called back.

    Args:
        coefficients: real or complex [..., K, G], c_k, the receiver's scale included.
        num_counted: m, the devices over which the mean is wanted; broadcastable to [..., 1, G].
    """
    coherent = coefficients.real if coefficients.is_complex() else coefficients
    return (coherent * num_counted).clamp(0, 1)


def count_devices(like: Tensor, air: Air) -> Tensor:
    """K over all processes: float64 [..., 1, 1], for a tensor [..., K, G]."""
    return air.sum(torch.ones_like(like[..., :1], dtype=torch.float64), dim=-2)
