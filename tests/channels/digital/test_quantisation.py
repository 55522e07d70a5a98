"""Quantisers: bits within the allowance, mean and variance of the error, contraction, limits."""

import math
from itertools import combinations, pairwise

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from laser_wireless.channels.digital.quantisation import (
    SparseQuantiser,
    StochasticQuantiser,
    log2_binomial,
    most_signs,
    rounded_scale,
)

BOTH = [StochasticQuantiser, SparseQuantiser]
LAYOUT = (30, 1, 9)
ALLOWANCES = [0, 1, 16, 17, 18, 19, 25, 40, 60, 100, 150, 700, 10_000]


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def messages(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def quantise(quantiser, u, layout, bits, seed=1):
    return quantiser(u, layout, torch.as_tensor(bits, dtype=torch.float64), generator=seeded(seed))


@pytest.mark.parametrize("per", ["block", "message"])
@pytest.mark.parametrize("kind", BOTH)
def test_bits_are_whole_within_the_allowance_and_counted(kind, per):
    allowed = float64(*ALLOWANCES)
    u = messages(len(allowed), 40)
    found = quantise(kind(per=per), u, LAYOUT, allowed)
    assert torch.equal(found.bits, found.bits.floor())
    assert (found.bits <= allowed).all()
    header = found.bits - found.widths.double().sum(-1)
    groups = found.sent.sum(-1) if per == "block" else found.sent.any(-1).long()
    least = 16 if kind is StochasticQuantiser else 17
    assert (header >= least * groups).all()  # a scale for each block that is sent
    assert (found.widths[found.bits == 0] == 0).all()
    assert (found.values[found.bits == 0] == 0).all()
    assert (found.values[found.widths == 0] == 0).all()


@settings(deadline=None, max_examples=40)
@given(
    allowed=st.integers(0, 4000),
    size=st.integers(1, 300),
    scale_bits=st.integers(8, 32),
    max_bits=st.integers(2, 24),
    kind=st.sampled_from(BOTH),
    seed=st.integers(0, 99),
)
def test_bits_never_exceed_the_allowance(allowed, size, scale_bits, max_bits, kind, seed):
    u = messages(2, size, seed=seed)
    layout = (size,) if size < 3 else (size // 3, size - size // 3)
    found = quantise(kind(scale_bits=scale_bits, max_bits=max_bits), u, layout, [allowed, allowed])
    assert (found.bits <= allowed).all()
    assert found.widths.max() <= max_bits


def decode_levels(values, scale, width):
    """Whole numbers 0 .. 2^b - 1 that stand for the values."""
    return (values.double() / scale + 1) / 2 * (2**width - 1)


@pytest.mark.parametrize("width", [2, 3, 7, 12])
def test_dense_values_lie_on_so_many_levels(width):
    u = messages(1, 50)
    found = quantise(StochasticQuantiser(), u, (50,), [16 + 50 * width])
    assert found.bits.item() == 16 + 50 * width
    level = decode_levels(found.values, rounded_scale(u.abs().amax(), 16, up=True), width)
    assert torch.allclose(level, level.round(), atol=1e-3)
    assert level.min() >= -1e-3
    assert level.max() <= 2**width - 1 + 1e-3


@pytest.mark.parametrize("bits", [16 + 4, 16 + 11, 16 + 24, 16 + 40])  # 2, 5 and all 8 entries of 2, 3 and 5 bits
def test_stochastic_quantiser_is_unbiased_with_its_variance(bits):
    """Entry by entry: E Q = u, E (Q - u)^2 = (N / m) (u^2 + D^2 f (1 - f)) - u^2."""
    u = torch.tensor([1.0, -0.9, 0.55, 0.3, -0.05, 0.0, 0.7, -0.33], dtype=torch.float64)
    size, num = len(u), 40_000
    found = quantise(StochasticQuantiser(), u.expand(num, 1, size), (size,), torch.full((num, 1), float(bits)))
    payload = bits - 16
    width = max(payload // size, 2)
    growth = size / min(payload // width, size)
    step = 2 / (2**width - 1)  # the largest magnitude is 1
    part = ((u + 1) / step) % 1
    spread = step**2 * part * (1 - part)
    variance = growth * (u**2 + spread) - u**2
    for entry in range(size):
        error = found.values[:, 0, entry] - u[entry]
        if variance[entry] < 1e-12:
            assert error.abs().max() < 1e-6
            continue
        assert_mean(error, mean=0, variance=variance[entry].item(), num_comparisons=size)
        square = error.square()
        assert square.mean().item() == pytest.approx(variance[entry].item(), rel=0.1)
    biased = found.values[:, 0, 2] * 1.2 - u[2]
    with pytest.raises(AssertionError, match="expected 0"):
        assert_mean(biased, mean=0, variance=variance[2].item())


@pytest.mark.parametrize("bits", [16 + 600, 16 + 2000, 16 + 5000])
def test_variance_known_to_the_receiver_is_near_the_true_one(bits):
    u = messages(1, 1000, dtype=torch.float64).expand(400, -1, -1)
    found = quantise(StochasticQuantiser(), u, (1000,), torch.full((400, 1), float(bits)))
    true = (found.values - u).square().mean()
    assert found.variance.mean().item() == pytest.approx(true.item(), rel=0.1)


def test_random_entries_are_as_many_as_counted_and_fair():
    u, num = torch.ones(1, 10), 20_000
    found = quantise(StochasticQuantiser(), u.expand(num, 1, 10), (10,), torch.full((num, 1), 16.0 + 6))
    chosen = (found.widths > 0).squeeze(1)
    assert (chosen.sum(-1) == 3).all()
    for entry in chosen.unbind(-1):
        assert_mean(entry, mean=0.3, variance=0.21, num_comparisons=10)


def test_devices_choose_their_entries_independently():
    num = 40_000
    found = quantise(StochasticQuantiser(), torch.ones(num, 2, 5), (5,), torch.full((num, 2), 16.0 + 4))
    both = (found.widths > 0).all(1)[:, 0]
    assert_mean(both, mean=0.16, variance=0.16 * 0.84)


@pytest.mark.parametrize("bits", [18, 30, 60, 90, 120, 180, 300, 900])
@pytest.mark.parametrize("heavy", [False, True])
def test_sparse_quantiser_never_leaves_more_than_it_was_given(bits, heavy):
    u = messages(20, 40, dtype=torch.float64)
    u = u**5 if heavy else u
    found = quantise(SparseQuantiser(per="message"), u, LAYOUT, torch.full((20,), float(bits)))
    left = (u - found.values).square().sum(-1)
    assert (left <= u.square().sum(-1)).all()
    assert (left[found.bits > 0] < u.square().sum(-1)[found.bits > 0]).all()


def test_sparse_quantiser_leaves_less_with_more_bits():
    u = messages(200, 100, dtype=torch.float64)
    left = []
    for bits in (20, 40, 80, 117, 160, 217, 317, 417, 617, 817):
        found = quantise(SparseQuantiser(), u, (100,), torch.full((200,), float(bits)))
        left.append(((u - found.values).square().sum() / u.square().sum()).item())
    assert all(more < less for less, more in pairwise(left)), left
    assert left[-1] < 1e-3


def test_few_bits_send_the_largest_entries_with_one_size():
    u = torch.tensor([[0.1, -3.0, 0.2, 5.0, 0.0, -0.3, 0.4, 0.05]])
    found = quantise(SparseQuantiser(scale_bits=32), u, (8,), [33 + 5 + 2])  # (8 choose 2) = 28
    assert found.bits.item() == 40
    assert found.values[0].tolist() == pytest.approx([0, -4, 0, 4, 0, 0, 0, 0])


def test_signs_of_equal_size_are_exact_with_one_bit_each():
    u = 3 * torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0]])
    found = quantise(SparseQuantiser(), u, (9,), [17 + 9])
    assert torch.equal(found.values, u)
    assert found.bits.item() == 26


@pytest.mark.parametrize("kind", BOTH)
def test_many_bits_are_nearly_exact(kind):
    u = messages(3, 40, dtype=torch.float64)
    found = quantise(kind(max_bits=24, scale_bits=32), u, LAYOUT, [1e9] * 3)
    assert (found.values - u).abs().max() <= 2 * u.abs().max() * 2.0**-22
    assert (found.bits == 3 * (32 + (kind is SparseQuantiser)) + 40 * 24).all()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("factor", [0.0, 1e-44, 1e-30, 1e30])
def test_extreme_scales_stay_finite(kind, factor):
    u = messages(2, 40) * factor
    found = quantise(kind(), u, LAYOUT, [500.0, 5000.0])
    assert found.values.isfinite().all()
    if factor == 0:
        assert (found.values == 0).all()
        assert found.sent.all()
    elif factor > 1e-38:
        assert torch.allclose(found.values[1], u[1], rtol=2**-8, atol=1e-3 * factor)


@pytest.mark.parametrize("kind", BOTH)
def test_small_blocks_are_sent_as_soon_as_all_entries_can_be(kind):
    header = 16 + (kind is SparseQuantiser)
    u = messages(2, 40)
    found = quantise(kind(), u, LAYOUT, [3 * header + 80.0, 3 * header + 79.0])
    assert found.sent.tolist() == [[True, True, True], [True, False, True]]
    assert (found.widths[0] == 2).all()


@pytest.mark.parametrize("kind", BOTH)
def test_leading_axes_are_carried_along(kind):
    u = messages(4, 3, 40)
    found = quantise(kind(), u, LAYOUT, torch.full((4, 3), 200.0))
    assert found.values.shape == u.shape
    assert found.bits.shape == (4, 3)
    assert found.sent.shape == (4, 3, 3)
    assert kind is SparseQuantiser or found.variance.shape == (4, 3, 3)


def test_sparse_quantiser_draws_nothing():
    generator = seeded(0)
    before = generator.get_state()
    SparseQuantiser()(messages(2, 40), LAYOUT, float64(100, 100), generator=generator)
    assert torch.equal(before, generator.get_state())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_most_signs_by_trying_each(size):
    payloads = torch.arange(0, 2 * size + 3, dtype=torch.float64)
    found = most_signs(payloads, size)
    for payload, count in zip(payloads.tolist(), found.tolist(), strict=True):
        most = max(1, 2 * size // 3)
        fitting = [m for m in range(most + 1) if math.ceil(math.log2(math.comb(size, m))) + m <= payload]
        assert count == max(fitting) or abs(math.log2(math.comb(size, int(count) + 1)) % 1) < 1e-6


def test_binomials():
    count = float64(0, 1, 2, 3)
    assert log2_binomial(6, count).exp2().tolist() == pytest.approx([len(list(combinations(range(6), n))) for n in range(4)])


@pytest.mark.parametrize("scale_bits", [8, 12, 16, 32])
def test_scales_are_rounded_within_their_mantissa(scale_bits):
    value = messages(1000, dtype=torch.float64).exp() * 1e-3
    up, near = rounded_scale(value, scale_bits, up=True), rounded_scale(value, scale_bits, up=False)
    unit = 2.0 ** (8 - scale_bits)
    assert (up >= value).all()
    assert (up <= value * (1 + unit)).all()
    assert ((near - value).abs() <= value * unit / 2 * (1 + 1e-9)).all()
    mantissas = torch.frexp(up).mantissa.unique()
    assert len(mantissas) <= 2 ** (scale_bits - 8)
    assert torch.equal(rounded_scale(up, scale_bits, up=True), up)


def test_scales_outside_the_range_of_their_exponent():
    found = rounded_scale(float64(0.0, 1e-60, 1e60), 16, up=True)
    assert found.tolist() == [0.0, 2.0**-126, 2.0**127]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per": "device"}, 'per must be "block" or "message"'),
        ({"scale_bits": 7}, "scale_bits must be an integer from 8 to 32"),
        ({"max_bits": 25}, "max_bits <= 24"),
        ({"max_bits": 0}, "max_bits"),
    ],
)
@pytest.mark.parametrize("kind", BOTH)
def test_impossible_options_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_least_bits_above_the_most_are_refused():
    with pytest.raises(ValueError, match="least_bits"):
        StochasticQuantiser(least_bits=9, max_bits=8)
