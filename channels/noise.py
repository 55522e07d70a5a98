"""Noise: added once, at the receiver, whatever was sent.

`noise_variance` is sigma^2 per REAL symbol. A complex channel use carries two real symbols; its noise is CN(0, 2 sigma^2).
"""

from __future__ import annotations

import torch
from torch import Tensor


def receiver_noise(like: Tensor, noise_variance: Tensor, *, generator: torch.Generator) -> Tensor:
    """Draw white Gaussian noise, independent for every real symbol and leading index.

    Args:
        like: real [..., S]; gives shape, dtype and device.
        noise_variance: float64, broadcastable to the leading axes [...].
        generator: on the device of `like`.

    Returns:
        n: real [..., S], each entry N(0, noise_variance); with the leading axes of both.
    """
    shape = torch.broadcast_shapes(like.shape, (*noise_variance.shape, 1)) if noise_variance.ndim else like.shape
    n = torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)
    return n.mul_(noise_variance.sqrt().to(like.dtype).unsqueeze(-1))
