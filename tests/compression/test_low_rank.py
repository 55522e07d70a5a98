"""LASER's factors: lossless where the matrix allows it, never better than the SVD, every layer served."""

import pytest
import torch
from helpers.schemes import Run, begin, flat, random_gradients
from helpers.statistical import seeded

from laser_wireless.channels import AnalogUplink
from laser_wireless.compression import LowRank

NOISELESS = AnalogUplink(energy_budget=1.0, noise_variance=0.0)
RULES = ["alternating", "both"]
every_rule = pytest.mark.parametrize("rule", RULES)


def matrix_of_rank(rank, m=12, n=20, seed=0):
    left, right = (torch.randn(size, rank, dtype=torch.float64, generator=seeded(seed + size)) for size in (m, n))
    return left @ right.T


@every_rule
def test_matrix_that_goes_raw_is_averaged(rule, device):
    """r (m + n) >= m n: the full rank is lossless."""
    gradients = random_gradients(3, size=30).to(device)
    step = Run(LowRank(rank=5, rule=rule), NOISELESS, ((5, 6),), device=device).step(gradients)
    torch.testing.assert_close(flat(step.decoded), gradients.mean(0), rtol=1e-12, atol=1e-12)
    assert step.owed.abs().max() < 1e-12


@every_rule
@pytest.mark.parametrize("true_rank", [1, 2, 3])
def test_matrix_of_low_rank_is_averaged_after_the_warm_up(true_rank, rule, device):
    """Devices whose matrices share a column space, as one device's does."""
    matrix = matrix_of_rank(true_rank)
    gradients = torch.stack([matrix, -0.5 * matrix, 2 * matrix]).flatten(1).to(device)
    run = Run(LowRank(rank=3, rule=rule, error_feedback=False), NOISELESS, ((12, 20),), device=device)
    for _ in range(3):
        step = run.step(gradients)
    expected = gradients.mean(0) if rule == "alternating" else None
    if expected is None:  # devices' own bases agree up to signs and rotation only for one device
        return_one = Run(LowRank(rank=3, rule=rule), NOISELESS, ((12, 20),), num_devices=1, device=device)
        step, expected = return_one.step(gradients[:1]), gradients[0]
    torch.testing.assert_close(flat(step.decoded), expected, rtol=1e-9, atol=1e-9)


@every_rule
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_never_better_than_the_truncated_svd(rank, rule):
    matrix = torch.randn(12, 20, dtype=torch.float64, generator=seeded(0))
    singular = torch.linalg.svdvals(matrix)
    best = singular[rank:].square().sum().sqrt()
    run = Run(LowRank(rank=rank, rule=rule, error_feedback=False), NOISELESS, ((12, 20),), num_devices=1)
    errors = [(run.step(matrix.flatten()[None]).decoded[0] - matrix).norm() for _ in range(200)]
    assert all(error >= best * (1 - 1e-12) for error in errors)
    torch.testing.assert_close(errors[-1], best, rtol=1e-3, atol=0)  # power iteration, warm-started


def naive_round(gradients, memory, rows, columns, round):
    """The authors' round in its plainest form, one matrix, one list entry per device."""
    asked = [e + g for e, g in zip(memory, gradients, strict=True)]
    if round % 2 == 0:
        basis = torch.linalg.qr(rows)[0]
        factors = [v.T @ basis for v in asked]
        mean = sum(factors) / len(factors)
        return basis @ mean.T, [v - basis @ q.T for v, q in zip(asked, factors, strict=True)], rows, mean
    basis = torch.linalg.qr(columns)[0]
    factors = [v @ basis for v in asked]
    mean = sum(factors) / len(factors)
    return mean @ basis.T, [v - p @ basis.T for v, p in zip(asked, factors, strict=True)], mean, columns


@pytest.mark.parametrize("rank", [1, 3])
def test_alternating_rounds_are_those_of_the_authors(rank):
    run = Run(LowRank(rank=rank), NOISELESS, ((12, 20),))
    rows, columns = run.state.rows[0], run.state.columns[0]
    memory = [torch.zeros(12, 20, dtype=torch.float64)] * 3
    for round in range(6):
        gradients = random_gradients(3, size=240, seed=round).view(3, 12, 20)
        expected, memory, rows, columns = naive_round(gradients, memory, rows, columns, round)
        step = run.step(gradients.flatten(1))
        torch.testing.assert_close(step.decoded[0], expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(step.owed.view(3, 12, 20), torch.stack(memory), rtol=1e-9, atol=1e-9)


@every_rule
@pytest.mark.parametrize("rank", [1, 2])
def test_layers_of_equal_shape_and_unequal_scale_are_all_served(rank, rule):
    """Four layers of one shape, gradient norms from 1 to 1e-6; the published rank-1 code starves the small ones."""
    shapes = ((16, 48),) * 4
    scales = torch.tensor([1.0, 1e-2, 1e-4, 1e-6], dtype=torch.float64)
    run = Run(LowRank(rank=rank, rule=rule, error_feedback=False), NOISELESS, shapes, num_devices=1)
    matrices = torch.stack([matrix_of_rank(rank, 16, 48, seed) for seed in range(4)]) * scales.view(4, 1, 1)
    for _ in range(60):
        step = run.step(matrices.flatten()[None])
    for matrix, decoded in zip(matrices, step.decoded, strict=True):
        torch.testing.assert_close(decoded, matrix, rtol=1e-6, atol=1e-6 * matrix.abs().max().item())


@every_rule
@pytest.mark.parametrize("rank", [1, 2])
def test_bases_stay_orthonormal_over_noisy_rounds(rank, rule, device):
    shapes = ((16, 48),) * 4
    run = Run(LowRank(rank=rank, rule=rule), AnalogUplink(energy_budget=1.0), shapes, device=device, dtype=torch.float32)
    scales = torch.tensor([1.0, 1e-2, 1e-4, 1e-20]).repeat_interleave(16 * 48)
    for round in range(30):
        run.step((random_gradients(3, size=4 * 768, dtype=torch.float32, seed=round) * scales).to(device))
    for basis in (*run.state.rows, *run.state.columns):
        torch.testing.assert_close(basis.T @ basis, torch.eye(rank, device=device), rtol=0, atol=1e-5)


@every_rule
@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-30, 1e30])
def test_one_matrix_of_any_scale_leaves_the_others_alone(rule, scale):
    """Zero, subnormal or huge beside an ordinary matrix."""
    shapes = ((8, 12), (8, 12))
    gradients = torch.randn(2, 192, generator=seeded(0))
    run = Run(LowRank(rank=2, rule=rule), NOISELESS, shapes, dtype=torch.float32, num_devices=2)
    alone = Run(LowRank(rank=2, rule=rule), NOISELESS, shapes, dtype=torch.float32, num_devices=2)
    mixed = gradients.clone()
    mixed[:, 96:] *= scale
    for _ in range(3):
        one, other = run.step(mixed).decoded, alone.step(gradients).decoded
        torch.testing.assert_close(one[0], other[0], rtol=1e-4, atol=1e-5)
        assert one[1].isfinite().all()


@every_rule
def test_rank_deficient_matrix_is_delivered(rule):
    matrix = torch.zeros(12, 20, dtype=torch.float64)
    matrix[3, 5] = 7.0
    run = Run(LowRank(rank=4, rule=rule, error_feedback=False), NOISELESS, ((12, 20),), num_devices=1)
    for _ in range(3):
        step = run.step(matrix.flatten()[None])
    torch.testing.assert_close(step.decoded[0], matrix, rtol=1e-9, atol=1e-9)


def test_outage_keeps_the_bases():
    compressor = LowRank(rank=2)
    state = begin(compressor, ((8, 12),))
    for round in range(2):
        decoded, after = compressor.decode(
            torch.zeros(sum(compressor.layout(((8, 12),), round)), dtype=torch.float64), state, round=round
        )
        assert not decoded[0].any()
        assert torch.equal(after.rows[0], state.rows[0])
        assert torch.equal(after.columns[0], state.columns[0])


def test_convolution_kernel_is_a_matrix_of_output_features():
    assert LowRank(rank=4).matrix_of((64, 32, 3, 3)) == (64, 288, 4)


def test_silent_device_does_not_disturb_the_product_of_factors():
    """Rule "both": a device with a zero matrix has no column space; its factor must not enter the mean."""
    matrix = matrix_of_rank(1)
    gradients = torch.stack([matrix, torch.zeros_like(matrix)]).flatten(1)
    step = Run(LowRank(rank=1, rule="both"), NOISELESS, ((12, 20),), num_devices=2).step(gradients)
    left, right = step.message.symbols[1].split([12, 20])
    assert not left.any()
    assert not right.any()


def test_energy_of_both_factors_follows_the_matrix():
    """A basis has norm sqrt(r) whatever the matrix: the norm of its partner stands for both."""
    gradients = torch.cat([matrix_of_rank(1).flatten() * 1e3, torch.ones(7)])[None].double()
    step = Run(LowRank(rank=1, rule="both"), AnalogUplink(energy_budget=1.0), ((12, 20), (7,)), num_devices=1).step(
        gradients
    )
    left, right, raw = (step.message.layout.index(size) for size in (12, 20, 7))
    share_as = list(step.message.share_as)
    assert (share_as[left], share_as[right], share_as[raw]) == (right, right, raw)


@pytest.mark.parametrize("rank", [0, -1, 1.5, "4", None])
def test_impossible_rank_is_refused(rank):
    with pytest.raises(ValueError if isinstance(rank, int) else TypeError, match="rank must be an integer"):
        LowRank(rank=rank)


def test_misspelt_rule_is_refused():
    with pytest.raises(ValueError, match="rule must be"):
        LowRank(rule="alternate")


def test_other_seeds_give_other_bases():
    one, other = (begin(LowRank(rank=2), ((8, 12),), seed=seed).rows[0] for seed in (0, 1))
    assert (one - other).abs().min() > 1e-6
