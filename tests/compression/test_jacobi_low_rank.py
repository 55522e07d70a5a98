"""Ota-LC's factors: the Jacobi step of the regularised problem, its averages over the air, its noise, its warm start."""

import math

import pytest
import torch
from helpers.schemes import Run, begin, flat, random_gradients
from helpers.statistical import assert_mean, seeded

from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.compression import JacobiLowRank

NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)
M, N = 12, 20
SHAPES = ((M, N),)


def with_singular_values(*values, m=M, n=N, seed=0):
    """A matrix with these singular values and random singular vectors."""
    left, right = (
        torch.linalg.qr(torch.randn(side, len(values), dtype=torch.float64, generator=seeded(seed + side)))[0]
        for side in (m, n)
    )
    return left * torch.tensor(values, dtype=torch.float64) @ right.T


def objective(rows, columns, matrix, ridge):
    """||P Q^T - V||^2 + lambda (||P||^2 + ||Q||^2)."""
    return (rows @ columns.T - matrix).square().sum() + ridge * (rows.square().sum() + columns.square().sum())


@pytest.mark.parametrize("regulariser", [1e-3, 0.5])
def test_each_factor_sent_is_the_best_beside_the_other_one_as_known(regulariser):
    """The Jacobi step from its definition: no gradient is left in the factor that moves."""
    scheme = JacobiLowRank(rank=3, regulariser=regulariser)
    state, matrix = begin(scheme, SHAPES, num_devices=1), random_gradients(1, size=M * N).view(M, N)
    rows, columns = scheme.encode(matrix.flatten()[None], state, round=0).symbols[0].split([3 * M, 3 * N])
    rows, columns = rows.view(M, 3).requires_grad_(), columns.view(3, N).T.requires_grad_()
    (
        objective(rows, state.columns[0], matrix, regulariser / 3)
        + objective(state.rows[0], columns, matrix, regulariser / 3)
    ).backward()
    for factor in (rows, columns):
        assert factor.grad.abs().max() < 1e-10 * factor.detach().abs().max() * M * N


def naive_round(asked, rows, columns, scheme):
    """The estimate, what each device keeps and the next factors in their plainest form: one matrix, a list of devices."""
    ridge = scheme.regulariser / scheme.rank * torch.eye(scheme.rank, dtype=torch.float64)
    sent = [
        (v @ columns @ torch.linalg.inv(columns.T @ columns + ridge), v.T @ rows @ torch.linalg.inv(rows.T @ rows + ridge))
        for v in asked
    ]
    kept = [v - (p @ columns.T + rows @ q.T) / 2 for v, (p, q) in zip(asked, sent, strict=True)]
    p, q = (sum(factors) / len(asked) for factors in zip(*sent, strict=True))
    step = scheme.step
    moved = [(1 - step) * old + step * new / new.norm() for old, new in ((rows, p), (columns, q))]
    return (p @ columns.T + rows @ q.T) / 2, kept, *(factor / factor.norm() for factor in moved)


@pytest.mark.parametrize("step", [0.4, 1.0])
@pytest.mark.parametrize("rank", [1, 3])
def test_rounds_are_those_of_the_plain_algorithm(rank, step, device):
    scheme = JacobiLowRank(rank=rank, step=step, regulariser=0.01)
    run = Run(scheme, NOISELESS, SHAPES, device=device)
    rows, columns = run.state.rows[0].cpu(), run.state.columns[0].cpu()
    memory = [torch.zeros(M, N, dtype=torch.float64)] * 3
    for round in range(5):
        gradients = random_gradients(3, size=M * N, seed=round).view(3, M, N)
        asked = [e + g for e, g in zip(memory, gradients, strict=True)]
        expected, memory, rows, columns = naive_round(asked, rows, columns, scheme)
        result = run.step(gradients.flatten(1).to(device))
        torch.testing.assert_close(result.decoded[0].cpu(), expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(result.owed.view(3, M, N).cpu(), torch.stack(memory), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("step", [0.5, 1.0])
def test_matrix_of_low_rank_is_averaged_after_the_warm_up(step, device):
    """Also where devices differ by a factor, one of them negative."""
    matrix = with_singular_values(3.0, 2.0, 1.0)
    gradients = torch.stack([matrix, -0.5 * matrix, 2 * matrix]).flatten(1).to(device)
    run = Run(JacobiLowRank(rank=3, step=step, regulariser=1e-9, error_feedback=False), NOISELESS, SHAPES, device=device)
    for _ in range(60):
        decoded = run.step(gradients).decoded
    torch.testing.assert_close(flat(decoded), gradients.mean(0), rtol=1e-6, atol=1e-6)


def test_known_factors_converge_to_the_leading_singular_vectors():
    """Of a full matrix: the estimate is then its best approximation of rank r."""
    matrix = with_singular_values(8.0, 6.0, *[1.0 / k for k in range(1, 9)])
    run = Run(JacobiLowRank(rank=2, regulariser=1e-9, error_feedback=False), NOISELESS, SHAPES, num_devices=1)
    for _ in range(60):
        decoded = run.step(matrix.flatten()[None]).decoded[0]
    left, values, right = torch.linalg.svd(matrix)
    torch.testing.assert_close(decoded, left[:, :2] * values[:2] @ right[:2], rtol=1e-6, atol=1e-6)


def test_estimate_is_linear_in_the_gradients():
    """Different matrices at the devices: the air's mean of factors is the factor of the mean."""
    scheme, gradients = JacobiLowRank(rank=2), random_gradients(3, size=M * N)
    state = begin(scheme, SHAPES)
    symbols = scheme.encode(gradients, state, round=0).symbols
    alone = scheme.encode(gradients.mean(0, keepdim=True), state, round=0).symbols
    torch.testing.assert_close(symbols.mean(0), alone[0], rtol=1e-12, atol=1e-12)
    (one,), _ = scheme.decode(symbols.mean(0), state, round=0)
    each = [scheme.decode(row, state, round=0)[0][0] for row in symbols]
    torch.testing.assert_close(one, torch.stack(each).mean(0), rtol=1e-12, atol=1e-12)


def noise_energies(budget, num_rounds=4000):
    """||error||^2 of independent rounds over AWGN from equal singular values known to all, and its closed form's mean."""
    scheme = JacobiLowRank(rank=2, regulariser=1e-12)
    left, right = (torch.linalg.qr(torch.randn(side, 2, dtype=torch.float64, generator=seeded(side)))[0] for side in (M, N))
    state = begin(scheme, SHAPES)._replace(rows=[left / math.sqrt(2)], columns=[right / math.sqrt(2)])
    matrix = 5 * left @ right.T
    symbols = scheme.encode(matrix.flatten().expand(3, -1).contiguous(), state, round=0).symbols
    batch, uplink = symbols.expand(num_rounds, -1, -1), AnalogUplink(energy_budget=budget)
    estimate = uplink.aggregate(batch, (2 * M, 2 * N), round=0, streams=Streams(0)).estimate
    decoded = scheme.decode(estimate, _expanded(state, num_rounds), round=0)[0][0]
    tau = 2 * matrix.square().sum().item() * 2 / (9 * 4.0)  # r ||V||^2 on each factor, half of P = 4, three devices
    return (decoded - matrix).square().sum((1, 2)), tau


def _expanded(state, num_runs):
    def spread(factors):
        return [factor.expand(num_runs, -1, -1).contiguous() for factor in factors]

    return state._replace(rows=spread(state.rows), columns=spread(state.columns), runs=(num_runs,))


def chi_square_of(tau):
    """Mean and variance: P Z_Q^T / 2 and Z_P Q^T / 2 are 2 N and 2 M Gaussians of variance tau / 8 that overlap in four."""
    degrees, overlap = 2 * M + 2 * N, 4
    return degrees * tau / 8, 2 * (tau / 8) ** 2 * (degrees + 2 * overlap)


def test_noise_of_a_round_has_the_energy_of_the_closed_form():
    found, tau = noise_energies(4.0)
    mean, variance = chi_square_of(tau)
    assert mean == pytest.approx((M + N) * tau / 4)
    assert_mean(found, mean=mean, variance=variance)


def test_noise_of_ten_percent_less_is_noticed():
    found, tau = noise_energies(4.0 / 0.9)
    mean, variance = chi_square_of(tau)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(found, mean=mean, variance=variance)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e20])
def test_scaled_gradients_give_scaled_estimates(scale):
    """The factors are kept at norm 1, so no size of gradients is a wrong one."""
    scheme = JacobiLowRank(rank=2, step=0.5)
    one, other = (Run(scheme, NOISELESS, SHAPES) for _ in range(2))
    for round in range(4):
        gradients = random_gradients(3, size=M * N, seed=round)
        torch.testing.assert_close(
            one.step(scale * gradients).decoded[0] / scale, other.step(gradients).decoded[0], rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-30, 1e30])
def test_one_matrix_of_any_scale_leaves_the_others_alone(scale):
    shapes = ((8, 12), (8, 12))
    mixed = torch.randn(2, 192, generator=seeded(0))
    run, alone = (Run(JacobiLowRank(rank=2), NOISELESS, shapes, dtype=torch.float32, num_devices=2) for _ in range(2))
    plain = mixed.clone()
    mixed[:, 96:] *= scale
    for _ in range(3):
        one, other = run.step(mixed).decoded, alone.step(plain).decoded
        torch.testing.assert_close(one[0], other[0], rtol=1e-4, atol=1e-5)
        assert one[1].isfinite().all()


def test_factors_keep_norm_one_over_noisy_rounds(device):
    run = Run(JacobiLowRank(rank=2), AnalogUplink(energy_budget=1.0), SHAPES, device=device, dtype=torch.float32)
    for round in range(30):
        run.step(random_gradients(3, size=M * N, dtype=torch.float32, seed=round).to(device))
        for factor in (*run.state.rows, *run.state.columns):
            torch.testing.assert_close(factor.norm(), torch.ones((), device=device), rtol=1e-5, atol=0)


def test_rank_deficient_matrix_is_delivered():
    """A matrix of one entry leaves three directions of rank 4 empty; lambda keeps their inverse finite."""
    matrix = torch.zeros(M, N, dtype=torch.float64)
    matrix[3, 5] = 7.0
    run = Run(JacobiLowRank(rank=4, regulariser=1e-6, error_feedback=False), NOISELESS, SHAPES, num_devices=1)
    for _ in range(5):
        decoded = run.step(matrix.flatten()[None]).decoded[0]
    torch.testing.assert_close(decoded, matrix, rtol=1e-5, atol=1e-5)


def test_outage_keeps_the_factors():
    scheme = JacobiLowRank(rank=2)
    state = begin(scheme, SHAPES)
    decoded, after = scheme.decode(torch.zeros(2 * (M + N), dtype=torch.float64), state, round=0)
    assert not decoded[0].any()
    assert torch.equal(after.rows[0], state.rows[0])
    assert torch.equal(after.columns[0], state.columns[0])


def test_factors_that_cancel_keep_the_last_ones():
    """step 1/2 from P to -P has no direction."""
    scheme = JacobiLowRank(rank=2, step=0.5)
    state = begin(scheme, SHAPES)
    opposite = torch.cat([-state.rows[0].flatten(), state.columns[0].T.flatten()])
    _, after = scheme.decode(opposite, state, round=0)
    assert torch.equal(after.rows[0], state.rows[0])
    torch.testing.assert_close(after.columns[0], state.columns[0], rtol=1e-12, atol=1e-15)


def test_matrix_that_goes_raw_is_averaged():
    gradients = random_gradients(3, size=30)
    step = Run(JacobiLowRank(rank=5), NOISELESS, ((5, 6),)).step(gradients)
    torch.testing.assert_close(flat(step.decoded), gradients.mean(0), rtol=1e-12, atol=1e-12)


def test_other_seeds_give_other_factors():
    one, other = (begin(JacobiLowRank(rank=2), SHAPES, seed=seed).rows[0] for seed in (0, 1))
    assert (one - other).abs().min() > 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be an integer >= 1, got 0"),
        ({"step": 0.0}, r"step must lie in \(0, 1\], got 0.0"),
        ({"step": 1.5}, "step must lie"),
        ({"step": float("nan")}, "step must lie"),
        ({"regulariser": 0.0}, "regulariser must be finite and > 0"),
        ({"regulariser": float("inf")}, "regulariser must be finite"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        JacobiLowRank(**options)
