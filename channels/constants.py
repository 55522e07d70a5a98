"""Numbers of a configuration as tensors, made once for each device.

A tensor made of numbers of the host is copied to a GPU, and the host waits for that copy and for all work before it. What
does not change from round to round is therefore kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_KEPT = 512


def constant(values: float | Sequence[float] | np.ndarray | Tensor, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as a tensor of a dtype on a device; it is shared, and must not be changed in place.

    Args:
        values: a number or a sequence of numbers, kept from the second call on; a tensor or an array is converted anew,
            unless it is as asked for.
        dtype: of the result.
        device: of the result.
    """
    if isinstance(values, Tensor | np.ndarray) or values_are_traced():
        return torch.as_tensor(values, dtype=dtype, device=device)
    return _made(tuple(values) if isinstance(values, Sequence) else values, dtype, device)


def taken(values: Tensor, places: Sequence[int]) -> Tensor:
    """The entries of values [..., n] at places along the last axis."""
    return values.index_select(-1, constant(places, dtype=torch.int64, device=values.device))


@lru_cache(maxsize=_KEPT)
def _made(values: float | tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # the first to ask must not make it useless for those who differentiate
        return torch.tensor(values, dtype=dtype, device=device)


def values_are_traced() -> bool:
    """Whether tensors are without values at present (FakeTensorMode, torch.compile): such must not be kept."""
    return torch.compiler.is_compiling() or torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None
