"""Segments: pieces of a message with one scale and one gain."""

import pytest
import torch
from helpers.statistical import seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from laser_wireless.channels import AnalogUplink, Grid, Segments
from laser_wireless.channels.signals import measure, scale

LAYOUTS = st.lists(st.integers(1, 7), min_size=1, max_size=6).map(tuple)
COHERENCES = st.sampled_from(["round", "block", "symbol", 2, 4, 10])


def naive_cells(uplink, layout):
    """Cell of each symbol, by the words of the docstring."""
    blocks = [b for b, size in enumerate(layout) for _ in range(size)]
    use = 2 if uplink.baseband == "complex" else 1
    if uplink.coherence == "round":
        return [0] * len(blocks)
    if uplink.coherence == "block":
        return [blocks[s - s % use] for s in range(len(blocks))]  # the block of the channel use's first symbol
    size = use if uplink.coherence == "symbol" else uplink.coherence
    return [s // size for s in range(len(blocks))]


@settings(deadline=None, derandomize=True)
@given(layout=LAYOUTS, coherence=COHERENCES, baseband=st.sampled_from(["complex", "real"]))
def test_each_symbol_meets_the_gain_of_its_cell(layout, coherence, baseband):
    uplink = AnalogUplink(energy_budget=1.0, coherence=coherence, baseband=baseband)
    segments = Segments(layout, uplink.grid(layout))
    gains = torch.arange(float(segments.grid.num_cells))
    found = segments.expand(segments.gains_of(gains).expand(segments.num_segments))
    assert found.tolist() == naive_cells(uplink, layout)


@settings(deadline=None, derandomize=True)
@given(layout=LAYOUTS, coherence=COHERENCES)
def test_both_symbols_of_a_channel_use_share_a_gain(layout, coherence):
    segments = Segments(layout, AnalogUplink(energy_budget=1.0, coherence=coherence).grid(layout))
    gains = segments.gains_of(torch.arange(float(segments.grid.num_cells))).expand(segments.num_segments)
    symbols = segments.expand(gains)
    paired = symbols[: len(symbols) // 2 * 2].view(-1, 2)
    assert torch.equal(paired[:, 0], paired[:, 1])


@settings(deadline=None, derandomize=True)
@given(layout=LAYOUTS, coherence=COHERENCES, seed=st.integers(0, 99))
def test_blocks_and_segments_agree_on_sums(layout, coherence, seed):
    segments = Segments(layout, AnalogUplink(energy_budget=1.0, coherence=coherence).grid(layout))
    u = torch.randn(2, sum(layout), dtype=torch.float64, generator=seeded(seed))
    norms, peaks = measure(u, segments)
    in_blocks = segments.sum_in_blocks(norms.square())
    expected = torch.stack([block.square().sum(1) for block in u.split(layout, dim=1)], dim=1)
    torch.testing.assert_close(in_blocks, expected)
    assert torch.equal(segments.expand(peaks).ge(u.abs()), torch.ones_like(u, dtype=torch.bool))
    spread = segments.from_blocks(torch.arange(float(len(layout))))
    blocks = torch.repeat_interleave(torch.arange(float(len(layout))), torch.tensor(layout))
    assert torch.equal(segments.expand(spread.expand(segments.num_segments)), blocks)


@pytest.mark.parametrize("num_cells", [1, 3, 600, 2000])  # few and many segments take different ways
def test_scaling_multiplies_each_segment(num_cells, device):
    segments = Segments((1500, 500), Grid(num_slots=num_cells, symbols_per_cell=-(-2000 // num_cells)))
    u = torch.randn(2, 2000, generator=seeded(0)).to(device)
    values = torch.rand(2, segments.num_segments, generator=seeded(1)).to(device)
    torch.testing.assert_close(scale(u, values, segments), u * segments.expand(values), rtol=0, atol=0)


@pytest.mark.parametrize("num_symbols", [7, 10_000, 200_000])  # three ways to add up squares
@pytest.mark.parametrize("num_cells", [1, 1000])
@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1.0, 1e30])
def test_norms_neither_overflow_nor_vanish(num_symbols, num_cells, scale, device):
    u = (torch.randn(2, num_symbols, generator=seeded(0)) * scale).to(device)
    segments = Segments((num_symbols,), Grid(num_slots=num_cells, symbols_per_cell=-(-num_symbols // num_cells)))
    norms, peaks = measure(u, segments)
    expected = u.double().norm(dim=1)
    torch.testing.assert_close(segments.sum_in_blocks(norms.square()).sqrt().squeeze(-1), expected, rtol=1e-6, atol=0)
    assert torch.equal(peaks.amax(-1).double(), u.abs().amax(1).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_cells", [1, 5, 700, 70_000])  # a long segment in parts, a few, many, pairs
@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1.0, 1e30])
def test_long_messages_have_the_norms_of_their_pieces(scale, num_cells, dtype):
    u = (torch.randn(2, 140_000, dtype=torch.float64, generator=seeded(0)) * scale).to(dtype)
    u[1, :1000] = 0
    length = 140_000 // num_cells
    segments = Segments((140_000,), Grid(num_slots=num_cells, symbols_per_cell=length))
    norms, peaks = measure(u, segments)
    pieces = u.unflatten(-1, (num_cells, length))
    expected = torch.linalg.vector_norm(pieces.double() / scale, dim=-1)
    tolerance = 4 * torch.finfo(torch.float32).eps if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(norms / scale, expected, rtol=tolerance, atol=0)
    assert torch.equal(peaks, pieces.abs().amax(-1))
    assert torch.equal(measure(u.clone().requires_grad_(), segments)[1], peaks)


@pytest.mark.parametrize("num_symbols", [7, 10_000, 200_000])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_norms_of_nonfinite_symbols_are_not_finite(num_symbols, bad, device):
    u = torch.zeros(2, num_symbols, device=device)
    u[1, 3] = bad
    norms, _ = measure(u, Segments((num_symbols,), Grid(num_slots=1, symbols_per_cell=num_symbols)))
    assert norms.isfinite().flatten().tolist() == [True, False]


@given(
    blocks=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    per_cell=st.integers(1, 8),
    spare_cells=st.integers(0, 3),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_symbol_meets_the_gain_of_its_cell(blocks, per_cell, spare_cells):
    """Also where cells beyond the message make up for the segments that blocks cut."""
    num_symbols = sum(blocks)
    num_cells = -(-num_symbols // per_cell) + spare_cells
    segments = Segments(tuple(blocks), Grid(num_slots=num_cells, symbols_per_cell=per_cell))
    cells = torch.arange(num_cells)
    gains = segments.gains_of(cells.unsqueeze(0))
    found = segments.expand(gains.expand(1, segments.num_segments))[0]
    assert torch.equal(found, torch.arange(num_symbols) // per_cell)
