"""Orthonormal bases, whatever the input."""

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.compression.orthonormal import orthonormal

SCALES = [0.0, 1e-42, 1e-30, 1.0, 1e30]


def gram_error(q):
    return (q.mT.double() @ q.double() - torch.eye(q.shape[-1], dtype=torch.float64, device=q.device)).abs().max()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("rank", [1, 2, 5])
def test_columns_are_orthonormal_and_span_the_input(rank, scale, device):
    matrix = (torch.randn(3, 20, rank, generator=seeded(0)) * scale).to(device)
    q = orthonormal(matrix)
    assert gram_error(q) < 1e-5
    unit = matrix.double() / max(scale, 1e-45)
    torch.testing.assert_close(q.double() @ (q.mT.double() @ unit), unit, atol=2e-3 if scale < 1e-38 else 1e-5, rtol=0)


def test_dependent_columns_are_completed(device):
    column = torch.randn(20, 1, generator=seeded(0)).to(device)
    q = orthonormal(torch.cat([column, 2 * column, torch.zeros_like(column)], dim=1))
    assert gram_error(q) < 1e-5
    torch.testing.assert_close(q[:, :1], column / column.norm())


def test_square_identity_stays():
    torch.testing.assert_close(orthonormal(torch.eye(4)), torch.eye(4))


def test_each_matrix_of_a_stack_is_normalised_by_itself():
    """Norms that differ by orders of magnitude; the published code divides a rank-1 stack by one norm."""
    stack = torch.randn(4, 64, 1, generator=seeded(0)) * torch.tensor([1.0, 1e-2, 1e-4, 1e-20]).view(4, 1, 1)
    torch.testing.assert_close(orthonormal(stack).norm(dim=1), torch.ones(4, 1))


def test_signs_follow_gram_schmidt():
    matrix = torch.randn(6, 3, dtype=torch.float64, generator=seeded(0))
    basis = []
    for column in matrix.T:
        for b in basis:
            column = column - (b @ column) * b
        basis.append(column / column.norm())
    torch.testing.assert_close(orthonormal(matrix), torch.stack(basis, dim=1))
