"""Count sketch: unbiased readings, collision variance, the channel's part, and the count's division as a projection."""

import pytest
import torch
from helpers.schemes import Run, begin, flat, random_gradients
from helpers.statistical import assert_mean

from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.compression import CountSketch

SIZE = 40
SHAPES = ((5, 8),)
NUM_ROUNDS = 3000


def readings(compressor, num_rounds=NUM_ROUNDS):
    """What a constant mean gradient is read as in each of many rounds, [R, d], and that gradient [d]."""
    gradients, state = random_gradients(2, size=SIZE), begin(compressor, SHAPES)
    rows = []
    for round in range(num_rounds):
        symbols = compressor.encode(gradients, state, round=round).symbols.mean(0)
        decoded, state = compressor.decode(symbols, state, round=round)
        rows.append(flat(decoded))
    return torch.stack(rows), gradients.mean(0)


def collision_moments(g, rows, width):
    """Second and fourth moments of each entry's error: mean over R rows of sum_i g_i eps_i [h(i) = h(j)], i other than j."""
    squares, fourths = g.square().sum() - g.square(), g.pow(4).sum() - g.pow(4)
    second = squares / width
    fourth = fourths / width + 3 * (squares.square() - fourths) / width**2
    return (second / rows).tolist(), ((fourth + 3 * (rows - 1) * second.square()) / rows**3).tolist()


@pytest.mark.parametrize(("rows", "width"), [(1, 10), (2, 5), (5, 2)])
def test_mean_reading_is_unbiased_with_the_variance_of_collisions(rows, width):
    got, g = readings(CountSketch(fraction=0.25, rows=rows))
    second, fourth = collision_moments(g, rows, width)
    assert sum(second) == pytest.approx((SIZE - 1) / (rows * width) * g.square().sum().item())
    for column, mean, square, power in zip(got.unbind(1), g.tolist(), second, fourth, strict=True):
        assert_mean(column, mean=mean, variance=square, num_comparisons=2 * SIZE)
        assert_mean((column - mean).square(), mean=square, variance=power - square**2, num_comparisons=2 * SIZE)


def test_a_sketch_too_narrow_is_noticed():
    got, g = readings(CountSketch(fraction=0.2))  # 8 buckets instead of 10
    second, fourth = collision_moments(g, 1, 10)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean((got[:, 0] - g[0]).square(), mean=second[0], variance=fourth[0] - second[0] ** 2)


@pytest.mark.parametrize("rows", [1, 2])
def test_channel_noise_is_that_of_the_uncompressed_scheme(rows):
    """Each entry reads R noisy buckets: variance tau^2 / R, and E||u||^2 = R ||g||^2 puts the R back."""
    compressor, gradients = CountSketch(fraction=0.25, rows=rows), random_gradients(2, size=SIZE)
    state = begin(compressor, SHAPES)
    message = compressor.encode(gradients, state, round=0)
    received = AnalogUplink(energy_budget=400.0).aggregate(
        message.symbols.expand(NUM_ROUNDS, -1, -1), message.layout, round=0, streams=Streams(0)
    )
    largest = message.symbols.square().sum(1).max().item()
    variance = largest / (2**2 * 400.0) / rows
    clean = flat(compressor.decode(message.symbols.mean(0), state, round=0)[0])
    noise = torch.stack([flat(compressor.decode(row, state, round=0)[0]) for row in received.estimate]) - clean
    for column in noise[:, :8].unbind(1):
        assert_mean(column, mean=0, variance=variance, num_comparisons=16)
        assert_mean(column.square(), mean=variance, variance=2 * variance**2, num_comparisons=16)


def test_count_division_is_the_projection_onto_the_sketch(device):
    """With one row, read(encode(g)) = S^T (S S^T)^-1 S g: idempotent, a contraction, least squares."""
    compressor = CountSketch(fraction=0.25, divide_by_count=True)
    state = begin(compressor, SHAPES, device=device)
    g = random_gradients(1, size=SIZE).to(device)
    matrix = compressor.encode(torch.eye(SIZE, dtype=torch.float64, device=device), state, round=0).symbols.T  # [S, d]
    once = flat(compressor.decode(matrix @ g[0], state, round=0)[0])
    twice = flat(compressor.decode(matrix @ once, state, round=0)[0])
    torch.testing.assert_close(once, torch.linalg.pinv(matrix) @ (matrix @ g[0]))
    torch.testing.assert_close(twice, once)


@pytest.mark.parametrize("rows", [1, 3])
def test_feedback_converges_with_count_division_and_diverges_without(rows):
    gradients = random_gradients(3, size=SIZE)
    norms = []
    for divide in (True, False):
        compressor = CountSketch(fraction=0.3, rows=rows, divide_by_count=divide, error_feedback=True)
        run = Run(compressor, AnalogUplink(energy_budget=1.0, noise_variance=0.0), SHAPES)
        for _ in range(60):
            owed = run.step(gradients).owed.norm()
        norms.append((owed / gradients.norm()).item())
    assert norms[0] < 1 / 0.3 * 4  # what a contraction by 1 - s / d leaves of a constant stream, with room
    assert norms[1] > 1e3


def test_median_ignores_one_bad_row():
    compressor = CountSketch(fraction=0.9, rows=3, read="median")
    state = begin(compressor, SHAPES)
    g = torch.zeros(1, SIZE, dtype=torch.float64)
    g[0, 7] = 5.0  # alone in its buckets: every row reads it exactly
    symbols = compressor.encode(g, state, round=0).symbols[0]
    symbols[:12] += 100.0  # a burst on the first row
    decoded = flat(compressor.decode(symbols, state, round=0)[0])
    assert decoded[7].item() == pytest.approx(5.0)
    mean = CountSketch(fraction=0.9, rows=3)
    assert abs(flat(mean.decode(symbols, begin(mean, SHAPES), round=0)[0])[7].item() - 5.0) > 10


def test_even_number_of_rows_takes_the_middle_of_the_median():
    compressor = CountSketch(fraction=0.5, rows=2, read="median")
    state = begin(compressor, SHAPES)
    symbols = compressor.encode(random_gradients(1, size=SIZE), state, round=0).symbols[0]
    mean = CountSketch(fraction=0.5, rows=2)
    torch.testing.assert_close(
        flat(compressor.decode(symbols, state, round=0)[0]), flat(mean.decode(symbols, state, round=0)[0])
    )


def test_long_parameters_are_hashed_in_pieces(monkeypatch):
    from laser_wireless.compression import count_sketch

    gradients, compressor = random_gradients(3, size=SIZE), CountSketch(fraction=0.3, rows=2)
    state = begin(compressor, SHAPES)
    whole = compressor.encode(gradients, state, round=0).symbols
    read = flat(compressor.decode(whole[0], state, round=0)[0])
    monkeypatch.setattr(count_sketch, "_CHUNK", 7)
    torch.testing.assert_close(compressor.encode(gradients, state, round=0).symbols, whole)
    assert torch.equal(flat(compressor.decode(whole[0], state, round=0)[0]), read)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows must be an integer >= 1, got 0"),
        ({"read": "mode"}, 'read must be "mean" or "median", got \'mode\''),
        ({"fraction": 0.0}, r"fraction must lie in \(0, 1\]"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CountSketch(**options)
