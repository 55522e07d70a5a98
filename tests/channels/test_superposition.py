"""Superposition: what the air adds up, against a plain sum over devices and symbols."""

import pytest
import torch
from helpers.statistical import seeded
from laser_wireless.channels import Grid, LocalAir, Segments
from laser_wireless.channels.superposition import superpose


@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
@pytest.mark.parametrize("num_sums", [1, 2])
@pytest.mark.parametrize("num_cells", [1, 7, 900])  # one segment, few, many
@pytest.mark.parametrize("grad", [True, False])
def test_each_symbol_is_the_weighted_sum_of_the_devices(grad, num_cells, num_sums, leading, device):
    segments = Segments((600, 400), Grid(num_slots=num_cells, symbols_per_cell=-(-1000 // num_cells)))
    u = torch.randn(*leading, 3, 1000, dtype=torch.float64, generator=seeded(0)).to(device).requires_grad_(grad)
    shape = (*leading, num_sums, 3, segments.num_segments)
    coefficients = torch.randn(shape, dtype=torch.float64, generator=seeded(1)).to(device)
    found = superpose(coefficients, u, segments, LocalAir())
    expected = torch.einsum("...cks,...ks->...cs", segments.expand(coefficients), u)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_cells", [7, 900])
def test_coefficients_with_more_axes_than_the_symbols_make_a_batch(num_cells):
    segments = Segments((1000,), Grid(num_slots=num_cells, symbols_per_cell=-(-1000 // num_cells)))
    u = torch.randn(3, 1000, dtype=torch.float64, generator=seeded(0))
    coefficients = torch.randn(5, 1, 3, segments.num_segments, dtype=torch.float64, generator=seeded(1))
    batch = superpose(coefficients, u, segments, LocalAir())
    for one, alone in zip(coefficients, batch, strict=True):
        torch.testing.assert_close(superpose(one, u, segments, LocalAir()), alone, rtol=1e-12, atol=1e-12)


def test_local_air_reduces_and_keeps_the_axis():
    x = torch.tensor([[1.0, 5.0], [3.0, 2.0]])
    assert LocalAir().sum(x, 0).tolist() == [[4.0, 7.0]]
    assert LocalAir().min(x, 0).tolist() == [[1.0, 2.0]]
    assert LocalAir().max(x, 0).tolist() == [[3.0, 5.0]]
    assert LocalAir().sum(x[:1], 0).tolist() == [[1.0, 5.0]]
