"""Norms, scaling and superposition: quick forms against plain ones, and against sums over devices and symbols."""

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels import Grid, LocalAir, Segments
from laser_wireless.channels.signals import (
    _fits_in_pieces,
    measure,
    measure_plainly,
    scale,
    scale_,
    scale_plainly,
    superpose,
    superposed,
    superposed_plainly,
)

GEOMETRIES = {
    "one": ((1000,), 1),
    "few": ((600, 1, 399), 7),
    "runs": ((600, 400), 900),
    "ragged": (tuple([1, 2] * 400), 300),
    "a symbol each": ((1000,), 1000),
    "long, one": ((150_000,), 1),
    "long, few": ((100_001, 49_999), 7),
    "long, runs": ((100_001, 49_999), 9_000),
}


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_quick_forms_equal_the_plain_ones(name, grad, device):
    layout, num_cells = GEOMETRIES[name]
    num_symbols = sum(layout)
    segments = Segments(layout, Grid(num_slots=num_cells, symbols_per_cell=-(-num_symbols // num_cells)))
    u = torch.randn(2, num_symbols, dtype=torch.float64, generator=seeded(0)).to(device).requires_grad_(grad)
    values = torch.randn(2, segments.num_segments, dtype=torch.float64, generator=seeded(1)).to(device)
    close = {"rtol": 1e-12, "atol": 1e-12}
    for found, expected in zip(measure(u, segments), measure_plainly(u, segments), strict=True):
        torch.testing.assert_close(found, expected, **close)
    expected = scale_plainly(u, values, segments)
    torch.testing.assert_close(scale(u, values, segments), expected, rtol=0, atol=0)
    torch.testing.assert_close(scale_(u.detach().clone(), values, segments), expected.detach(), rtol=0, atol=0)
    c = values.unsqueeze(0)
    expected = superposed_plainly(c, u, segments)
    torch.testing.assert_close(superposed(c, u, segments), expected, **close)
    onto = superpose(c, u, segments, LocalAir(), onto=torch.zeros(num_symbols, dtype=torch.float64, device=device))
    torch.testing.assert_close(onto, expected[0], **close)


@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
@pytest.mark.parametrize("num_sums", [1, 2])
@pytest.mark.parametrize("num_cells", [1, 7, 900])  # one segment, few, many
@pytest.mark.parametrize("grad", [True, False])
def test_each_symbol_is_the_weighted_sum_of_the_devices(grad, num_cells, num_sums, leading, device):
    segments = Segments((600, 400), Grid(num_slots=num_cells, symbols_per_cell=-(-1000 // num_cells)))
    u = torch.randn(*leading, 3, 1000, dtype=torch.float64, generator=seeded(0)).to(device).requires_grad_(grad)
    shape = (*leading, num_sums, 3, segments.num_segments)
    coefficients = torch.randn(shape, dtype=torch.float64, generator=seeded(1)).to(device)
    found = superposed(coefficients, u, segments)
    expected = torch.einsum("...cks,...ks->...cs", segments.expand(coefficients), u)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_cells", [7, 900])
def test_coefficients_with_more_axes_than_the_symbols_make_a_batch(num_cells):
    segments = Segments((1000,), Grid(num_slots=num_cells, symbols_per_cell=-(-1000 // num_cells)))
    u = torch.randn(3, 1000, dtype=torch.float64, generator=seeded(0))
    coefficients = torch.randn(5, 1, 3, segments.num_segments, dtype=torch.float64, generator=seeded(1))
    batch = superposed(coefficients, u, segments)
    for one, alone in zip(coefficients, batch, strict=True):
        torch.testing.assert_close(superposed(one, u, segments), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_sums", [1, 2])
@pytest.mark.parametrize("num_symbols", [60_000, 60_001])  # whole channel uses, and half of one at the end
@pytest.mark.parametrize("num_cells", [1, 7, 900, 15_000])  # long segments in parts, few, many, tiny ones
@pytest.mark.parametrize("first_block", [0, 3, 20_000])  # segments that begin within a channel use
def test_long_message_added_in_place_is_the_same_sum(first_block, num_cells, num_symbols, num_sums):
    layout = tuple(size for size in (first_block, num_symbols - first_block) if size)
    segments = Segments(layout, Grid(num_slots=num_cells, symbols_per_cell=-(-num_symbols // num_cells)))
    u = torch.randn(3, num_symbols, dtype=torch.float64, generator=seeded(0))
    c = torch.randn(num_sums, 3, segments.num_segments, dtype=torch.float64, generator=seeded(1))
    y = torch.randn(num_symbols, dtype=torch.float64, generator=seeded(2))
    sums = torch.einsum("cks,ks->cs", segments.expand(c), u)
    expected = y + sums[0]
    if num_sums == 2:
        pairs = torch.nn.functional.pad(sums[1], (0, num_symbols % 2)).view(-1, 2)
        expected += torch.stack([-pairs[:, 1], pairs[:, 0]], dim=1).flatten()[:num_symbols]
    assert _fits_in_pieces(c, u, segments, LocalAir())
    torch.testing.assert_close(superpose(c, u, segments, LocalAir(), onto=y.clone()), expected, rtol=1e-12, atol=1e-12)


def test_long_message_of_many_blocks_on_a_grid_is_added_in_place_too():
    """Blocks that end anywhere within cells make hundreds of runs; a long message is worth the loop over them."""
    num_symbols = 2_400_000
    ends = sorted({*torch.randint(1, num_symbols, (190,), generator=seeded(0)).tolist(), num_symbols})
    layout = tuple(end - start for start, end in zip([0, *ends], ends, strict=False))
    segments = Segments(layout, Grid(num_slots=-(-num_symbols // 336), symbols_per_cell=336))
    u = torch.randn(2, num_symbols, generator=seeded(1))
    c = torch.randn(1, 2, segments.num_segments, generator=seeded(2))
    assert _fits_in_pieces(c, u, segments, LocalAir())
    assert len({(run.length, run.number) for run in segments.runs}) > 100
    found = superpose(c, u, segments, LocalAir(), onto=torch.zeros(num_symbols))
    torch.testing.assert_close(found, (segments.expand(c[0]) * u).sum(0))


def test_sums_are_added_in_place_only_where_that_is_possible():
    segments = Segments((60_000,), Grid(num_slots=1, symbols_per_cell=60_000))
    u, c = torch.randn(3, 60_000), torch.randn(1, 3, 1)

    assert _fits_in_pieces(c, u, segments, LocalAir())
    assert not _fits_in_pieces(c, u, segments, object())
    assert not _fits_in_pieces(c, u[:, :100], Segments((100,), segments.grid), LocalAir())
    assert not _fits_in_pieces(c.requires_grad_(), u, segments, LocalAir())
    assert not _fits_in_pieces(c.detach(), u.expand(2, -1, -1), segments, LocalAir())


def test_local_air_reduces_and_keeps_the_axis():
    x = torch.tensor([[1.0, 5.0], [3.0, 2.0]])
    assert LocalAir().sum(x, 0).tolist() == [[4.0, 7.0]]
    assert LocalAir().min(x, 0).tolist() == [[1.0, 2.0]]
    assert LocalAir().max(x, 0).tolist() == [[3.0, 5.0]]
    assert LocalAir().sum(x[:1], 0).tolist() == [[1.0, 5.0]]
