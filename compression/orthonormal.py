"""Orthonormal bases of the column space of tall matrices, each matrix by itself."""

from __future__ import annotations

import torch
from torch import Tensor


def orthonormal(matrices: Tensor) -> Tensor:
    """Orthonormalise the columns, by Householder reflections.

    The result is orthonormal whatever the input: where columns are dependent, tiny or zero, other directions complete the
    basis. The signs are those of Gram-Schmidt (positive diagonal of R), so that bases of neighbouring matrices are
    neighbours; not differentiable where columns are dependent.

    Args:
        matrices: real [..., m, r] with r <= m.

    Returns:
        like matrices, contiguous: columns orthonormal, spanning those of the input where they are independent.
    """
    largest = matrices.abs().amax((-2, -1), keepdim=True)
    q, r = torch.linalg.qr(matrices / largest.masked_fill(largest == 0, 1))
    signs = r.diagonal(dim1=-2, dim2=-1).sign()
    return (q * (signs + (signs == 0)).unsqueeze(-2)).contiguous()
