"""Influence factors of the schemes themselves, over the uplink, against `laser theory`'s closed forms.

Errors of independent rounds: bounds are multiples of their standard error, and a closed form that is off by the stated
margin must be noticed.
"""

import math
from statistics import NormalDist

import pytest
import torch
from helpers.schemes import begin
from helpers.statistical import seeded

from laser_wireless.benchmarks.schemes import influence_of, part_of
from laser_wireless.benchmarks.theory import OneBlock, block_noise, sign_mean, sign_vote, top_k
from laser_wireless.channels import AnalogUplink, LeastNoiseAllocation, NormAllocation, Streams
from laser_wireless.compression import (
    CountSketch,
    GaussianProjection,
    JacobiLowRank,
    LowRank,
    RandomK,
    Sign,
    TopK,
    Uncompressed,
)

M, N = 16, 64
SHAPES = ((M, N),)
NUM_ROUNDS = 500
Z = NormalDist().inv_cdf(1 - 1e-6 / 2)
FACTORS = torch.tensor([0.5, 1.5], dtype=torch.float64)  # of two devices' gradients; mean 1


def block_at(snr):
    return OneBlock(m=M, n=N, energy_budget=snr * M * N, num_devices=2, norm_ratio=2.25)


def gradient():
    return torch.randn(M * N, dtype=torch.float64, generator=seeded(5))


def errors(compressor, block, g, *, scale=1.0, states=None, round=0, noise_variance=1.0):
    """||scale g_hat - g||^2 / ||g||^2 of independent rounds, each with its own draws of the scheme and of the noise."""
    gradients = FACTORS[:, None] * g
    states = states or [begin(compressor, ((block.m, block.n),), num_devices=2, seed=seed) for seed in range(NUM_ROUNDS)]
    messages = [compressor.encode(gradients, state, round=round) for state in states]
    uplink = AnalogUplink(energy_budget=block.energy_budget, noise_variance=noise_variance)
    symbols, (_, layout, share_as, _) = torch.stack([message.symbols for message in messages]), messages[0]
    received = uplink.aggregate(symbols, layout, round=0, streams=Streams(0), share_as=share_as)
    found = []
    for estimate, noise, state in zip(received.estimate, received.noise_variance, states, strict=True):
        (decoded,), _ = compressor.decode(estimate, state, round=round, noise_variance=noise)
        found.append((scale * decoded.flatten() - g).square().sum() / g.square().sum())
    return torch.stack(found)


def assert_close(found, expected, *, margin=0.1):
    bound = Z * found.std().item() / math.sqrt(len(found))
    assert abs(found.mean().item() - expected) <= bound + 1e-12
    assert abs(found.mean().item() - (1 + margin) * expected) > bound, "the test could not tell a wrong closed form"


@pytest.mark.parametrize(
    "compressor",
    [
        Uncompressed(),
        RandomK(fraction=0.2),
        RandomK(fraction=0.2, rescale=True, error_feedback=False),
        CountSketch(fraction=0.2),
        CountSketch(fraction=0.2, rows=2),
        CountSketch(fraction=0.2, divide_by_count=True),
        CountSketch(fraction=0.8, divide_by_count=True),
    ],
    ids=str,
)
def test_linear_schemes(compressor):
    block, g = block_at(0.1), gradient()
    expected = influence_of(compressor, block)
    assert expected.exact
    assert_close(errors(compressor, block, g), expected.total)
    if expected.compression:
        assert_close(errors(compressor, block, g, noise_variance=0.0), expected.compression)


@pytest.mark.parametrize(("values", "regulariser"), [((1.0, 1, 1), 1e-3), ((1.0, 1, 1), 0.5), ((1.0, 0.3, 0.1), 1e-3)])
def test_jacobi_factors_that_span_the_gradient(values, regulariser):
    """Balanced factors of the gradient itself; unequal singular values have less noise: (sum s)^2 / sum s^2 stands for r."""
    left, right = (torch.linalg.qr(torch.randn(side, 3, dtype=torch.float64, generator=seeded(side)))[0] for side in (M, N))
    s = torch.tensor(values, dtype=torch.float64)
    scheme, block = JacobiLowRank(rank=3, regulariser=regulariser), block_at(0.1)
    roots = (s / s.sum()).sqrt()
    state = begin(scheme, SHAPES, num_devices=2)._replace(rows=[left * roots], columns=[right * roots])
    found = errors(scheme, block, (left * s @ right.T).flatten(), states=[state] * NUM_ROUNDS)
    expected = influence_of(scheme, block)
    ratio = (s.sum().square() / s.square().sum() / 3).item()
    assert expected.exact
    assert_close(found, expected.compression + ratio * expected.channel)


@pytest.mark.parametrize("snr", [0.02, 0.5])
def test_signs_with_and_without_a_vote(snr):
    block, g = block_at(snr), gradient()
    size = g.abs().mean()
    flatness = (size.square() / g.square().mean()).item()
    assert_close(errors(Sign(rule="mean"), block, g), sign_mean(block, flatness=flatness).total)
    assert_close(errors(Sign(), block, g, scale=size), sign_vote(block, flatness=flatness).total)
    assert influence_of(Sign(), block).total == pytest.approx(sign_vote(block, flatness=flatness).total, rel=0.05)


def errors_of_announced(scheme, block, g, num_rounds):
    """Captured share without noise, and errors of independent pairs of rounds: indices announced, values sent there."""
    gradients, uplink = FACTORS[:, None] * g, AnalogUplink(energy_budget=block.energy_budget)
    first = begin(scheme, ((block.m, block.n),), num_devices=2)
    found = []

    def send(state, round):
        message = scheme.encode(gradients, state, round=round % 2)
        reception = uplink.aggregate(
            message.symbols, message.layout, round=round, streams=Streams(3), share_as=message.share_as
        )
        return scheme.decode(reception.estimate, state, round=round % 2)

    for pair in range(num_rounds):
        _, announced = send(first, 2 * pair)
        (decoded,), _ = send(announced, 2 * pair + 1)
        found.append((decoded.flatten() - g).square().sum() / g.square().sum())
    symbols = scheme.encode(gradients, first, round=0).symbols.sum(0)
    _, without_noise = scheme.decode(symbols, first, round=0)
    return (g[without_noise.places].square().sum() / g.square().sum()).item(), torch.stack(found)


@pytest.mark.parametrize("fraction", [0.01, 0.1])
@pytest.mark.parametrize("root_snr", [0.3, 1.0, 2.0, 5.0])  # of an index bit: bit errors 0.38, 0.16, 0.02, 3e-7
def test_announced_entries(fraction, root_snr):
    """The indices go over the channel too and arrive wrong with the probability that the power leaves them."""
    scheme, num_bits = TopK(fraction=fraction), int(fraction * M * N) * 10
    block = OneBlock(m=M, n=N, energy_budget=2 * num_bits * root_snr**2, num_devices=2, norm_ratio=2.25)
    captured, found = errors_of_announced(scheme, block, gradient(), 150)
    expected = top_k(block, fraction, captured=captured)
    assert expected.compression == 1 - captured
    bound = Z * found.std().item() / math.sqrt(len(found))
    assert bound < 0.01
    assert abs(found.mean().item() - expected.total) <= bound
    if root_snr < 5:  # a form in which every index arrives is noticed
        sure = 1 - captured + captured * int(fraction * M * N) / (M * N) * block.norm_ratio * block.noise / 0.5
        assert abs(found.mean().item() - sure) > bound


def test_table_of_influences_has_the_wrong_indices_in_it():
    """64 x 576 at P = 1000: 0.916 if every index arrived, 0.990 in fact."""
    scheme, block = TopK(), OneBlock(m=64, n=576, energy_budget=1000.0, num_devices=16)
    assert influence_of(scheme, block).total == pytest.approx(0.990, abs=0.001)


@pytest.mark.parametrize(
    ("projection", "snr"), [("gaussian", 1.0), ("hadamard", 0.02), ("hadamard", 1.0), ("hadamard", 100.0)]
)
def test_projection_follows_its_state_evolution(projection, snr):
    block = OneBlock(m=64, n=128, energy_budget=snr * 64 * 128, num_devices=2, norm_ratio=2.25)
    scheme = GaussianProjection(fraction=0.3, sparsity=0.2, projection=projection)
    g = torch.randn(block.d, dtype=torch.float64, generator=seeded(6))
    states = [begin(scheme, ((block.m, block.n),), num_devices=2, seed=seed) for seed in range(2)]
    expected = influence_of(scheme, block)
    assert not expected.exact
    assert errors(scheme, block, g, states=states).mean().item() == pytest.approx(expected.total, rel=0.03)


MODEL = ((24, 60), (40,), (30, 10, 5))
SIZES = [math.prod(shape) for shape in MODEL]


def low_rank_gradient():
    """Two matrices of rank 3 and a vector, of different norms."""
    parts = []
    for number, shape in enumerate(MODEL):
        if len(shape) == 1:
            parts.append(torch.randn(shape, dtype=torch.float64, generator=seeded(number)))
            continue
        left = torch.randn(shape[0], 3, dtype=torch.float64, generator=seeded(number))
        right = torch.randn(3, math.prod(shape[1:]), dtype=torch.float64, generator=seeded(10 + number))
        parts.append(0.2 * (number + 1) * (left @ right).flatten())
    return torch.cat(parts)


def warmed(compressor, g):
    """Bases that span the gradient's own sides."""
    state = begin(compressor, MODEL, num_devices=2)
    for round in range(2):
        message = compressor.encode(g.expand(2, -1).contiguous(), state, round=round)
        _, state = compressor.decode(message.symbols.mean(0), state, round=round)
    return state


@pytest.mark.parametrize("allocation", [NormAllocation(), LeastNoiseAllocation()], ids=str)
@pytest.mark.parametrize(
    ("compressor", "round"),
    [
        (Uncompressed(), 0),
        (LowRank(rank=3), 0),
        (LowRank(rank=3), 1),
        (LowRank(rank=3, rule="both"), 0),
        (JacobiLowRank(rank=3), 0),
        (Sign(rule="mean"), 0),
        (RandomK(fraction=0.3), 0),
        (RandomK(fraction=0.3, rescale=True, error_feedback=False), 0),
        (CountSketch(fraction=0.3), 0),
        (CountSketch(fraction=0.6, rows=2), 0),
        (CountSketch(fraction=0.3, divide_by_count=True), 0),
        (TopK(fraction=0.1), 0),
    ],
    ids=str,
)
def test_noise_on_each_parameter(compressor, round, allocation):
    """The message's norms are those sent; the scheme's own parts give them on average."""
    g, num_rounds = low_rank_gradient(), 500
    state = (
        warmed(compressor, g) if isinstance(compressor, LowRank | JacobiLowRank) else begin(compressor, MODEL, num_devices=2)
    )
    message = compressor.encode(g.expand(2, -1).contiguous(), state, round=round)
    norms = [part.norm().item() for part in g.split(SIZES)]
    parts = [part_of(compressor, shape, norm, round=round) for shape, norm in zip(MODEL, norms, strict=True)]
    assert tuple(size for part in parts for size in part.sizes) == message.layout

    sent = torch.stack([block.norm(dim=1) for block in message.symbols.split(message.layout, dim=1)], dim=1)
    options = {"energy_budget": 50.0, "share_as": message.share_as}
    variances = block_noise(sent, message.layout, allocation, **options).variance.tolist()
    uplink = AnalogUplink(energy_budget=50.0, allocation=allocation)
    batch = message.symbols.expand(num_rounds, *message.symbols.shape)
    received = uplink.aggregate(batch, message.layout, round=0, streams=Streams(1), share_as=message.share_as).estimate
    clean = torch.cat([p.flatten() for p in compressor.decode(message.symbols.mean(0), state, round=round)[0]])
    decoded = [torch.cat([p.flatten() for p in compressor.decode(y, state, round=round)[0]]) for y in received]
    noise = torch.stack([part.square().sum(1) for part in (torch.stack(decoded) - clean).split(SIZES, dim=1)], dim=1)
    starts = 0
    for found, part in zip(noise.unbind(1), parts, strict=True):
        mine = variances[starts : starts + len(part.sizes)]
        starts += len(part.sizes)
        bound = Z * found.std().item() / math.sqrt(num_rounds)
        slack = 0.25 * part.noise(mine) if getattr(compressor, "divide_by_count", False) else 0  # of one draw of the hashes
        assert abs(found.mean().item() - part.noise(mine)) <= bound + slack


@pytest.mark.parametrize(
    "compressor", [RandomK(fraction=0.3), CountSketch(fraction=0.3), Sign(), TopK(fraction=0.1)], ids=str
)
def test_norms_of_the_blocks_are_those_sent_on_average(compressor):
    g = torch.randn(sum(SIZES), dtype=torch.float64, generator=seeded(8))
    squared = []
    for seed in range(200):
        message = compressor.encode(g[None], begin(compressor, MODEL, num_devices=1, seed=seed), round=0)
        squared.append(torch.stack([block.square().sum() for block in message.symbols.split(message.layout, dim=1)]))
    norms = [part.norm().item() for part in g.split(SIZES)]
    expected = [n**2 for shape, norm in zip(MODEL, norms, strict=True) for n in part_of(compressor, shape, norm).norms]
    for found, mean in zip(torch.stack(squared).unbind(1), expected, strict=True):
        if isinstance(compressor, TopK) and found.std() > 1e-9:
            continue  # in round 0 its values are random entries, not the largest
        assert abs(found.mean().item() - mean) <= Z * found.std().item() / math.sqrt(200) + 1e-9
