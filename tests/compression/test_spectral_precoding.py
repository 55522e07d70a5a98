"""Spectral precoding: momentum before the channel, equal norms under noise, least noise along a spectrum, its limits."""

import math

import pytest
import torch
from helpers.closed_forms import cost_of_noise
from helpers.schemes import SHAPES, SIZE, Run, begin, flat, random_gradients
from helpers.statistical import assert_mean, seeded
from hypothesis import given
from hypothesis import strategies as st

from laser_wireless.benchmarks.schemes import influence_of
from laser_wireless.benchmarks.theory.one_block import OneBlock
from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.compression import SpectralPrecoding, Uncompressed

NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)
A, B = 12, 20
MATRIX = ((A, B),)


def basis_of(size, r, seed=0):
    return torch.linalg.qr(torch.randn(size, r, dtype=torch.float64, generator=seeded(seed)))[0]


def with_spectrum(basis, energies):
    """A matrix [A, B] with given energies along the columns of an orthonormal basis [A, A]."""
    rows = torch.randn(A, B, dtype=torch.float64, generator=seeded(5))
    return basis @ (rows / rows.norm(dim=1, keepdim=True) * torch.tensor(energies, dtype=torch.float64).sqrt()[:, None])


def knowing(scheme, basis, amplitudes):
    """The state of parties who know a basis [A, r] of one matrix, with r + 1 amplitudes."""
    state = begin(scheme, MATRIX, num_devices=1)
    return state._replace(bases=[basis], amplitudes=[torch.tensor(amplitudes, dtype=torch.float64)])


@pytest.mark.parametrize("rank", [0, 2, 12])
def test_without_noise_and_momentum_it_is_plain_averaging(rank):
    run = Run(SpectralPrecoding(rank=rank, momentum=0.0, precoding=0.5), NOISELESS)
    for round in range(6):
        gradients = random_gradients(3, seed=round) * torch.tensor([[1.0], [20.0], [0.3]], dtype=torch.float64)
        torch.testing.assert_close(flat(run.step(gradients).decoded), gradients.mean(0), rtol=1e-9, atol=1e-9)


def test_what_is_decoded_is_the_average_over_rounds_that_momentum_asks_for():
    beta, run = 0.8, Run(SpectralPrecoding(momentum=0.8, precoding=0.5), NOISELESS)
    expected = torch.zeros(SIZE, dtype=torch.float64)
    for round in range(6):
        gradients = random_gradients(3, seed=round)
        expected = beta * expected + (1 - beta) * gradients.mean(0)
        torch.testing.assert_close(flat(run.step(gradients).decoded), expected, rtol=1e-9, atol=1e-9)


def test_momentum_spares_the_energy_of_sampling_noise():
    """White gradients: ||v||^2 is (1 - beta) / (1 + beta) of ||g||^2, so that as much less noise arrives."""
    beta, size, num_rounds = 0.9, 4000, 120
    scheme, gradients = SpectralPrecoding(momentum=beta, rank=0, precoding=0.5), seeded(3)
    memory = torch.zeros(1, size, dtype=torch.float64)
    for _ in range(num_rounds):
        memory = beta * memory + torch.randn(1, size, dtype=torch.float64, generator=gradients)
    sent = (1 - scheme.momentum) * memory
    variance = (1 - beta) / (1 + beta) * (1 - beta ** (2 * num_rounds))
    assert_mean(sent.square(), mean=variance, variance=2 * variance**2)


def test_the_receiver_inverts_any_precoder_and_noise_lies_where_the_amplitudes_put_it():
    """Identity messages give the whole linear map: G^-1 has the eigenvalues 1 / alpha along the basis."""
    scheme, basis = SpectralPrecoding(rank=2, momentum=0.0, precoding=0.5), basis_of(A, 2)
    state = knowing(scheme, basis, [3.0, 0.5, 2.0])
    gradient = random_gradients(1, size=A * B)
    sent = scheme.encode(gradient, state, round=0).symbols
    torch.testing.assert_close(flat(scheme.decode(sent[0], state, round=0)[0]), gradient[0])
    units = torch.eye(A, dtype=torch.float64)
    inverse = torch.stack(
        [scheme.decode((unit[:, None] * torch.eye(1, B)).flatten(), state, round=0)[0][0][:, 0] for unit in units], dim=1
    )
    expected = basis * torch.tensor([1 / 3, 2.0]) @ basis.T + 0.5 * (units - basis @ basis.T)
    torch.testing.assert_close(inverse, expected)


@pytest.mark.parametrize("precoding", [0.5, 1.0])
def test_noise_energy_along_a_known_spectrum_is_the_closed_form(precoding):
    """The channel's influence factor by Monte-Carlo; equal amplitudes' is far away unless the exponent is theirs."""
    r, captured, num_rounds = 3, 0.9, 2000
    scheme, basis = SpectralPrecoding(rank=r, momentum=0.0, precoding=precoding), basis_of(A, A)
    energies = [captured / r] * r + [(1 - captured) / (A - r)] * (A - r)
    rms = [math.sqrt(energy / B) for energy in (energies[0], energies[-1])]
    state = knowing(scheme, basis[:, :r], [rms[0] ** -precoding] * r + [rms[1] ** -precoding])
    gradient = with_spectrum(basis, energies).flatten()[None]
    message = scheme.encode(gradient, state, round=0)
    batch = message.symbols.expand(num_rounds, 1, A * B)
    uplink = AnalogUplink(energy_budget=40.0)
    received = uplink.aggregate(batch, message.layout, round=0, streams=Streams(1)).estimate
    errors = torch.stack([(flat(scheme.decode(y, state, round=0)[0]) - gradient[0]).square().sum() for y in received])

    block = OneBlock(m=A, n=B, energy_budget=40.0)
    expected = influence_of(scheme, block, captured=captured).total
    tau2 = [message.symbols.square().sum().item() / 40.0 * rms[i] ** (2 * precoding) for i in (0, 1)]
    variance = 2 * B * (r * tau2[0] ** 2 + (A - r) * tau2[1] ** 2)
    assert_mean(errors, mean=expected, variance=variance)
    plain = influence_of(Uncompressed(), block).total
    assert (abs(errors.mean().item() - plain) > 20 * math.sqrt(variance / num_rounds)) == (precoding == 0.5)


@given(
    m=st.integers(2, 30),
    n=st.integers(2, 30),
    rank=st.integers(0, 30),
    captured=st.floats(0, 1),
    precoding=st.floats(0, 1),
)
def test_least_noise_amplitudes_never_have_more_noise_than_others(m, n, rank, captured, precoding):
    block = OneBlock(m=m, n=n, energy_budget=7.0)
    least = influence_of(SpectralPrecoding(rank=rank, precoding=0.5), block, captured=captured).total
    assert least <= influence_of(SpectralPrecoding(rank=rank, precoding=precoding), block, captured=captured).total * (
        1 + 1e-9
    )
    assert least <= influence_of(Uncompressed(), block).total * (1 + 1e-9)


def test_a_white_spectrum_is_the_uncompressed_scheme():
    block = OneBlock(m=A, n=B, energy_budget=3.0)
    white = influence_of(SpectralPrecoding(rank=4, precoding=0.5), block, captured=4 / A)
    assert white.total == pytest.approx(influence_of(Uncompressed(), block).total)


@pytest.mark.parametrize("shape", [(A, B), (B, A)])
def test_basis_and_amplitudes_find_the_spectrum(shape):
    """A fixed gradient without noise: two strong directions, and amplitudes of rms^-1/2."""
    energies = [4.0, 1.0] + [1e-4] * (A - 2)
    basis = basis_of(A, A, seed=9)
    matrix = with_spectrum(basis, energies)
    gradient = (matrix if shape == (A, B) else matrix.T).flatten()[None]
    run = Run(SpectralPrecoding(rank=2, momentum=0.0, averaging=0.5, precoding=0.5), NOISELESS, (shape,), num_devices=1)
    for _ in range(60):
        run.step(gradient - (0 if run.memory is None else run.memory))
    leading = torch.linalg.svd(matrix)[0][:, :2]
    assert torch.linalg.svdvals(run.state.bases[0].T @ leading).min() > 1 - 1e-6
    strong, weak = run.state.amplitudes[0][[0, 2]]
    s = torch.linalg.svdvals(matrix).square()
    expected = (s[0] / B / (s[2:].sum() / (B * (A - 2)))) ** -0.25
    assert (strong / weak).item() == pytest.approx(expected.item(), rel=1e-3)


def test_under_pure_noise_amplitudes_stay_nearly_equal():
    """What cannot be told from noise counts as its standard error: no direction is preferred by more than a few decibels."""
    scheme = SpectralPrecoding(rank=4, precoding=0.5)
    state = begin(scheme, MATRIX, num_devices=1)
    for round in range(40):
        noise = torch.randn(A * B, dtype=torch.float64, generator=seeded(round))
        _, state = scheme.decode(noise, state, round=round, noise_variance=torch.ones(1, dtype=torch.float64))
    assert state.amplitudes[0].max() / state.amplitudes[0].min() < 2.5


def test_norms_are_equal_where_noise_dominates_and_as_they_are_where_it_does_not():
    gradients = random_gradients(3, seed=4) * torch.tensor([[1.0], [5.0], [0.2]], dtype=torch.float64)
    spreads = {}
    for name, budget in (("loud", 1e-6), ("quiet", 1e9)):
        run = Run(SpectralPrecoding(momentum=0.0, rank=0, precoding=0.0), AnalogUplink(energy_budget=budget))
        for _ in range(8):
            norms = run.step(gradients).message.symbols.norm(dim=1)
        spreads[name] = (norms.max() / norms.min()).item()
    assert spreads["loud"] < 5  # 25 ** (1 - theta): in 108 symbols S / N is known to a few tenths
    assert spreads["quiet"] == pytest.approx((gradients.norm(dim=1).max() / gradients.norm(dim=1).min()).item(), rel=1e-3)


def test_without_equal_norms_it_is_unbiased_whatever_the_noise():
    scheme = SpectralPrecoding(momentum=0.0, equal_norms=False, precoding=0.5)
    uplink, num_rounds = AnalogUplink(energy_budget=20.0), 2000
    gradients = random_gradients(2, size=A * B)
    run = Run(scheme, uplink, MATRIX, num_devices=2)
    for _ in range(5):
        run.step(gradients)  # a state that noise has moved
    message = scheme.encode(gradients, run.state, round=5)
    batch = message.symbols.expand(num_rounds, 2, A * B)
    received = uplink.aggregate(batch, message.layout, round=5, streams=Streams(2)).estimate
    decoded = torch.stack([flat(scheme.decode(y, run.state, round=5)[0]) for y in received])
    errors = decoded - gradients.mean(0)
    tau2 = message.symbols.square().sum(1).max().item() / (4 * 20.0)
    largest = tau2 / run.state.amplitudes[0].min().item() ** 2
    assert errors.mean(0).abs().max() < 6 * math.sqrt(largest / num_rounds)


@pytest.mark.parametrize("precoding", [0.0, 0.5])
def test_an_outage_leaves_the_state_alone(precoding):
    run = Run(SpectralPrecoding(precoding=precoding), AnalogUplink(energy_budget=9.0))
    for round in range(3):
        run.step(random_gradients(3, seed=round))
    zeros = torch.zeros(SIZE, dtype=torch.float64)
    decoded, after = run.compressor.decode(zeros, run.state, round=3, noise_variance=torch.ones(1, dtype=torch.float64))
    assert not flat(decoded).any()
    for name in ("average", "noise"):
        assert torch.equal(getattr(after, name), getattr(run.state, name))
    for name in ("energies", "amplitudes"):
        assert all(torch.equal(a, b) for a, b in zip(getattr(after, name), getattr(run.state, name), strict=True))


def test_the_same_gradients_in_another_unit_are_sent_alike():
    messages = []
    for unit in (1.0, 1e-12):
        run = Run(SpectralPrecoding(equal_norms=False, precoding=0.5), AnalogUplink(energy_budget=9.0))
        for round in range(4):
            step = run.step(random_gradients(3, seed=round) * unit)
        messages.append(step.message.symbols / unit)
    torch.testing.assert_close(*messages, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": -1}, "rank must be an integer >= 0"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\)"),
        ({"averaging": -0.1}, r"averaging must lie in \[0, 1\)"),
        ({"precoding": 1.5}, r"precoding must lie in \[0, 1\]"),
        ({"precoding": math.nan}, r"precoding must lie in \[0, 1\]"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SpectralPrecoding(**options)


def test_shapes_of_the_state():
    state = begin(SpectralPrecoding(rank=3, precoding=0.5), SHAPES)
    assert [tuple(basis.shape) for basis in state.bases] == [(6, 3), (4, 3), (2, 2)]
    assert [len(amplitude) for amplitude in state.amplitudes] == [4, 1, 4, 1, 3]


@pytest.mark.parametrize("equal_norms", [True, False])
@pytest.mark.parametrize("error_feedback", [True, False])
def test_without_precoding_it_is_the_limit_of_an_exponent_towards_zero(equal_norms, error_feedback):
    """To the bit: one amplitude per parameter, all of them ratio^-1e-300 = 1; without precoding none is kept at all."""
    runs = [
        Run(
            SpectralPrecoding(rank=0, precoding=precoding, equal_norms=equal_norms, error_feedback=error_feedback),
            AnalogUplink(energy_budget=9.0),
        )
        for precoding in (0.0, 1e-300)
    ]
    for round in range(5):
        steps = [run.step(random_gradients(3, seed=round)) for run in runs]
        for name in ("symbols", "owed", "decoded"):
            none, limit = (step.message.symbols if name == "symbols" else getattr(step, name) for step in steps)
            assert all(map(torch.equal, none, limit)), name
    states = [run.state for run in runs]
    for name in ("average", "noise"):
        assert torch.equal(*(getattr(state, name) for state in states))
    assert [len(state.amplitudes) for state in states] == [0, len(SHAPES)]
    assert states[0].bases == states[0].energies == []


@pytest.mark.parametrize(("curvature", "rounds"), [(0.01, 10), (0.5, 3), (1.5, 40)])
def test_what_noise_costs_after_some_steps(curvature, rounds):
    weight = torch.zeros(20_000, dtype=torch.float64)
    generator = seeded(3)
    for _ in range(rounds):
        noise = 2 * torch.randn(len(weight), dtype=torch.float64, generator=generator)
        weight -= 0.8 * (curvature * weight + noise)
    expected = cost_of_noise(curvature, 4.0, 0.8, rounds)
    assert_mean(0.5 * curvature * weight.square(), mean=expected, variance=2 * expected**2)


@pytest.mark.parametrize(
    ("divided", "rounds", "best"), [(0, 1, 0.0), (0, 10**9, 0.5), (1, 1, 0.5), (1, 10**9, 0.75)], ids=str
)
def test_the_exponent_that_costs_least(divided, rounds, best):
    """Curvature s^2; an optimiser that divides by the rms turns it into s^2 / s and the noise t^2 into t^2 / s^2."""
    s = torch.logspace(0, -2, 200, dtype=torch.float64)

    def cost(exponent):
        noise = (s ** (1 - exponent)).square().sum() / s ** (-2 * exponent)
        weight = cost_of_noise(s ** (2 - divided), noise / s ** (2 * divided), 1e-3, rounds)
        return (weight * s**divided).sum()  # of the loss, whose curvature stays s^2

    found = min((k / 100 for k in range(101)), key=cost)
    assert found == pytest.approx(best, abs=0.011)
