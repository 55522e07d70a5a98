"""Message passing: recovery, its error as state evolution predicts, against least squares; robustness."""

import math
from statistics import NormalDist

import pytest
import scipy.linalg
import torch
from helpers.statistical import FALSE_ALARM, seeded
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.compression.amp import Prior, amp, denoise, oamp
from laser_wireless.compression.state_evolution import state_evolution

ALGORITHMS = pytest.mark.parametrize("algorithm", [amp, oamp], ids=lambda f: f.__name__)


def matrix_for(algorithm, n, s, *, seed=0, dtype=torch.float32):
    """Gaussian rows for AMP, scrambled rows of a Hadamard matrix for OAMP; columns of unit norm."""
    generator = seeded(seed)
    if algorithm is amp:
        return torch.randn(s, n, dtype=dtype, generator=generator) / s**0.5
    rows = torch.tensor(scipy.linalg.hadamard(n), dtype=dtype)[torch.randperm(n, generator=generator)[:s]]
    return rows * (2 * torch.randint(2, (n,), generator=generator) - 1) / s**0.5


def sparse(n, columns, rho, *, seed=1, dtype=torch.float32):
    """Bernoulli-Gaussian columns."""
    generator = seeded(seed)
    x = torch.randn(n, columns, dtype=dtype, generator=generator)
    return x * (torch.rand(n, columns, generator=generator) < rho)


def measured(matrix, x, noise_variance, *, seed=2):
    """A x + w."""
    return matrix @ x + noise_variance**0.5 * torch.randn(len(matrix), x.shape[1], dtype=x.dtype, generator=seeded(seed))


def recover(algorithm, matrix, y, **options):
    return algorithm(y, lambda x: matrix @ x, lambda z: matrix.T @ z, **options)


def prior_of(rho, variance=1.0):
    return Prior(torch.tensor(rho), torch.tensor(variance))


def relative_error(found, x):
    return ((found - x).square().sum() / x.square().sum()).item()


def naive_amp(y, matrix, rho, iterations, noise_variance, *, onsager=True):
    """AMP with a known unit-variance prior in its plainest form, with or without the term that makes it work."""
    s, n = matrix.shape
    x, z = torch.zeros(n, y.shape[1], dtype=y.dtype), y.clone()
    for _ in range(iterations):
        variance = (z.square().sum(0) / s).clamp(min=noise_variance)
        r = x + matrix.T @ z
        active = rho * torch.exp(-r.square() / (2 * (1 + variance))) / (1 + variance).sqrt()
        silent = (1 - rho) * torch.exp(-r.square() / (2 * variance)) / variance.sqrt()
        probability = active / (active + silent)
        mean, spread = r / (1 + variance), variance / (1 + variance)
        x = probability * mean
        slope = (probability * (mean.square() + spread) - x.square()) / variance
        z = y - matrix @ x + onsager * (n / s) * slope.mean(0) * z
    return x


def test_amp_is_the_algorithm_in_its_plainest_form():
    matrix, x = matrix_for(amp, 400, 200, dtype=torch.float64), sparse(400, 3, 0.1, dtype=torch.float64)
    y = measured(matrix, x, 0.02)
    for iterations in (1, 2, 5):
        found = recover(amp, matrix, y, prior=prior_of(0.1), noise_variance=0.02, iterations=iterations)
        torch.testing.assert_close(found, naive_amp(y, matrix, 0.1, iterations, 0.02), rtol=1e-6, atol=1e-9)


RHO, NOISE, FRACTION, ITERATIONS = 0.2, 0.05, 0.5, 6


def assert_follows(errors, predicted):
    """Fail when mean squared errors [T, M] of M independent columns are further from `predicted` than chance allows.

    The error of a finite column fluctuates, with coefficient of variation c, about the limit; as each iteration maps it on
    by a curved function, the mean is off by an amount of second order, at most c^2 of it, beside the sampling error.
    """
    z = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * len(predicted)))
    for error, expected in zip(errors.double(), predicted, strict=True):
        spread = (error.std() / error.mean()).item()
        bound = z * spread / math.sqrt(len(error)) + spread**2
        found = error.mean().item() / expected
        assert abs(found - 1) <= bound, f"{found:.4f} of the predicted error, expected 1 +- {bound:.4f}"


def column_errors(algorithm, x, y, matrix):
    options = {"prior": prior_of(RHO), "noise_variance": NOISE}
    runs = [recover(algorithm, matrix, y, iterations=t + 1, **options) for t in range(ITERATIONS)]
    return torch.stack([(found - x).square().mean(0) for found in runs])


@ALGORITHMS
def test_every_iteration_has_the_error_that_state_evolution_predicts(algorithm):
    n = 2048
    matrix, x = matrix_for(algorithm, n, n // 2), sparse(n, 200, RHO)
    errors = column_errors(algorithm, x, measured(matrix, x, NOISE), matrix)
    arguments = {"fraction": FRACTION, "rho": RHO, "orthogonal": algorithm is oamp, "iterations": ITERATIONS}
    assert_follows(errors, state_evolution(noise_variance=NOISE, **arguments).mse)
    with pytest.raises(AssertionError, match="predicted error"):
        assert_follows(errors, state_evolution(noise_variance=1.2 * NOISE, **arguments).mse)
    with pytest.raises(AssertionError, match="predicted error"):  # the other algorithm's recursion
        assert_follows(errors, state_evolution(noise_variance=NOISE, **(arguments | {"orthogonal": algorithm is amp})).mse)


def test_without_the_onsager_term_the_prediction_fails():
    matrix, x = matrix_for(amp, 1024, 512), sparse(1024, 200, RHO)
    y = measured(matrix, x, NOISE)
    predicted = state_evolution(fraction=FRACTION, noise_variance=NOISE, rho=RHO, iterations=ITERATIONS).mse
    with_term, without = (
        torch.stack(
            [(naive_amp(y, matrix, RHO, t + 1, NOISE, onsager=term) - x).square().mean(0) for t in range(ITERATIONS)]
        )
        for term in (True, False)
    )
    assert_follows(with_term, predicted)
    with pytest.raises(AssertionError, match="predicted error"):
        assert_follows(without, predicted)
    assert without[-1].mean() > 1.1 * predicted[-1]


@ALGORITHMS
@pytest.mark.parametrize("pooled", [False, True])
def test_sparse_enough_columns_are_recovered_without_noise_and_denser_ones_are_not(algorithm, pooled):
    n, s = 1024, 512
    matrix = matrix_for(algorithm, n, s)
    for rho, recovered in ((0.1, True), (0.45, False)):  # the transition is near 0.3 at s = n/2
        x = sparse(n, 4, rho)
        found = recover(algorithm, matrix, matrix @ x, noise_variance=0.0, pooled=pooled, iterations=40)
        assert relative_error(found, x) < 1e-10 if recovered else relative_error(found, x) > 1e-2


@ALGORITHMS
@pytest.mark.parametrize("noise_variance", [0.0, 0.05])
def test_least_squares_loses_at_the_authors_sizes(algorithm, noise_variance):
    """s = 0.1 n, k = s/2: pinv misses 0.9 of the energy; message passing, although beyond its transition, a fifth less.

    Where the entries have the heavy tails of gradients, it misses less than a fifth of what pinv does.
    """
    n, s = 2048, 204
    matrix, x = matrix_for(algorithm, n, s), sparse(n, 20, 0.05)
    y = measured(matrix, x, noise_variance)
    least_squares = relative_error(torch.linalg.pinv(matrix) @ y, x)
    assert least_squares > 0.88
    options = {"noise_variance": noise_variance, "pooled": True}
    assert relative_error(recover(algorithm, matrix, y, **options), x) < 0.8 * least_squares
    heavy = x * sparse(n, 20, 1.0, seed=5).abs().mul(2).exp()  # as gradients have
    y = measured(matrix, heavy, noise_variance)
    assert relative_error(recover(algorithm, matrix, y, **options), heavy) < 0.2 * relative_error(
        torch.linalg.pinv(matrix) @ y, heavy
    )


@ALGORITHMS
@pytest.mark.parametrize("noise_variance", [0.0, 0.5, 20.0])
def test_dense_columns_degrade_to_about_the_linear_mmse(algorithm, noise_variance):
    n, s = 1024, 205
    matrix, x = matrix_for(algorithm, n, s), sparse(n, 20, 1.0)
    y = measured(matrix, x, noise_variance)
    linear = matrix.T @ torch.linalg.solve(matrix @ matrix.T + noise_variance * torch.eye(s), y)
    found = recover(algorithm, matrix, y, noise_variance=noise_variance, pooled=True)
    assert relative_error(found, x) < 1.02 * relative_error(linear, x)


@ALGORITHMS
def test_learned_prior_is_nearly_as_good_as_the_true_one(algorithm):
    matrix, x = matrix_for(algorithm, 1024, 512), sparse(1024, 20, 0.1)
    y = measured(matrix, x, 0.01)
    true = relative_error(recover(algorithm, matrix, y, prior=prior_of(0.1), noise_variance=0.01), x)
    for pooled in (False, True):
        assert relative_error(recover(algorithm, matrix, y, noise_variance=0.01, pooled=pooled), x) < 1.05 * true


@ALGORITHMS
def test_unknown_noise_is_estimated(algorithm):
    matrix, x = matrix_for(algorithm, 1024, 512), sparse(1024, 20, 0.1)
    y = measured(matrix, x, 0.01)
    known = relative_error(recover(algorithm, matrix, y, noise_variance=0.01), x)
    assert relative_error(recover(algorithm, matrix, y), x) < 1.1 * known


@ALGORITHMS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pooled", [False, True])
def test_zeros_give_zeros_at_any_noise_level(algorithm, pooled, dtype):
    matrix = matrix_for(algorithm, 64, 16, dtype=dtype)
    for noise_variance in (None, 0.0, 1.0, 1e60, math.inf, torch.tensor([math.nan])):
        found = recover(algorithm, matrix, torch.zeros(16, 3, dtype=dtype), noise_variance=noise_variance, pooled=pooled)
        assert found.dtype == dtype
        assert not found.any()


@ALGORITHMS
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_estimate_scales_with_the_measurements(algorithm, scale):
    matrix, x = matrix_for(algorithm, 256, 128), sparse(256, 5, 0.1)
    y = measured(matrix, x, 0.01)
    for options in ({}, {"pooled": True}, {"prior": (0.1, 1.0)}):
        one, other = (
            recover(
                algorithm,
                matrix,
                y * factor,
                noise_variance=torch.tensor(0.01 * factor**2, dtype=torch.float64),
                prior=Prior(torch.tensor(0.1), torch.tensor(factor**2, dtype=torch.float64)) if "prior" in options else None,
                pooled="pooled" in options,
            )
            for factor in (1.0, scale)
        )
        torch.testing.assert_close(other / scale, one, rtol=1e-3, atol=1e-4)


@ALGORITHMS
def test_columns_of_any_scale_are_recovered_by_themselves(algorithm):
    matrix, x = matrix_for(algorithm, 256, 128), sparse(256, 4, 0.1) * torch.tensor([1.0, 1e-20, 1e15, 0.0])
    found = recover(algorithm, matrix, matrix @ x, noise_variance=0.0, iterations=40)
    assert not found[:, 3].any()
    assert all(relative_error(found[:, i].double(), x[:, i].double()) < 1e-10 for i in range(3))


@ALGORITHMS
@pytest.mark.parametrize(("n", "s"), [(1, 1), (2, 1), (4, 1), (4, 3), (16, 2), (32, 31)])
def test_tiny_problems_stay_finite_and_bounded(algorithm, n, s):
    """Where no limit theorem holds: the iteration may diverge, what is given back may not."""
    for seed in range(20):
        matrix, x = matrix_for(algorithm, n, s, seed=seed), sparse(n, 50, 0.5, seed=seed)
        found = recover(algorithm, matrix, matrix @ x, noise_variance=0.0, iterations=60)
        assert found.isfinite().all()
        assert found.norm() <= 10 * (matrix.T @ (matrix @ x)).norm()


def test_known_padding_helps_and_is_left_out():
    """Half of the entries are known to be zero: better than without that knowledge."""
    matrix, x = matrix_for(oamp, 1024, 256), sparse(1024, 20, 0.2)
    x[512:] = 0
    y = measured(matrix, x, 0.05)
    told = recover(oamp, matrix, y, noise_variance=0.05, num_entries=512)
    assert told.shape == (512, 20)
    assert relative_error(told, x[:512]) < 0.95 * relative_error(recover(oamp, matrix, y, noise_variance=0.05), x)


@ALGORITHMS
def test_no_value_is_read_by_the_host(algorithm):
    with FakeTensorMode():
        matrix, y = torch.randn(16, 64), torch.randn(16, 3)
        assert recover(algorithm, matrix, y, noise_variance=torch.ones(1, dtype=torch.float64)).shape == (64, 3)


@ALGORITHMS
def test_estimate_is_differentiable_in_the_measurements(algorithm):
    matrix, x = matrix_for(algorithm, 64, 32, dtype=torch.float64), sparse(64, 2, 0.1, dtype=torch.float64)
    y = measured(matrix, x, 0.01).requires_grad_()

    def estimate(z):
        return recover(algorithm, matrix, z, noise_variance=0.01, prior=prior_of(0.1), iterations=3)

    direction = torch.randn(y.shape, dtype=y.dtype, generator=seeded(3))
    (slope,) = torch.autograd.grad(estimate(y).sum(), y)
    step = 1e-6
    change = (estimate(y + step * direction).sum() - estimate(y - step * direction).sum()) / (2 * step)
    torch.testing.assert_close((slope * direction).sum(), change, rtol=1e-4, atol=1e-6)


def test_posterior_is_that_of_bayes_rule():
    r = torch.linspace(-8, 8, 101, dtype=torch.float64).unsqueeze(1)
    found = denoise(r, torch.tensor(0.3, dtype=torch.float64), prior_of(0.2, 1.5))
    x = torch.linspace(-30, 30, 600_001, dtype=torch.float64)
    for i in range(0, 101, 10):
        slab = 0.2 * torch.exp(-x.square() / 3.0) / math.sqrt(3.0 * math.pi) * torch.exp(-((r[i] - x) ** 2) / 0.6)
        mass = torch.trapezoid(slab, x)
        total = mass + 0.8 * torch.exp(-(r[i] ** 2) / 0.6)
        mean = torch.trapezoid(slab * x, x) / total
        variance = torch.trapezoid(slab * x.square(), x) / total - mean.square()
        expected = torch.cat([mean, variance, mass / total])
        torch.testing.assert_close(torch.cat([values[i] for values in found]), expected, rtol=1e-6, atol=1e-9)


def test_slope_of_the_posterior_mean_is_its_variance_over_the_noise():
    r = torch.linspace(-5, 5, 41, dtype=torch.float64).unsqueeze(1).requires_grad_()
    posterior = denoise(r, torch.tensor(0.3, dtype=torch.float64), prior_of(0.2))
    (slope,) = torch.autograd.grad(posterior.mean.sum(), r)
    torch.testing.assert_close(posterior.variance / 0.3, slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_posterior_is_finite_at_the_ends_of_every_range(dtype):
    r = torch.tensor([[0.0, 1e-30, 1e-15, 1.0, 1e15, -1e18]], dtype=dtype)
    for effective_variance in (0.0, 1e-30, 1.0, 1e30):
        for rho in (0.0, 1e-30, 0.5, 1.0):
            for variance in (0.0, 1e-30, 1.0, 1e30):
                prior = Prior(torch.tensor(rho, dtype=dtype), torch.tensor(variance, dtype=dtype))
                posterior = denoise(r, torch.tensor(effective_variance, dtype=dtype), prior)
                assert all(values.isfinite().all() for values in posterior)
                assert (posterior.mean.abs() <= r.abs()).all()
                assert (posterior.variance >= 0).all()


@ALGORITHMS
@pytest.mark.parametrize(
    ("y", "options", "error", "name"),
    [
        (torch.zeros(4, 1, dtype=torch.float16), {}, TypeError, "y must be float32"),
        (torch.zeros(4), {}, ValueError, r"y must be \[num_measurements"),
        (torch.zeros(4, 1), {"iterations": 0}, ValueError, "iterations"),
        (torch.zeros(4, 1), {"noise_variance": -1.0}, ValueError, "noise_variance"),
        (torch.zeros(4, 1), {"noise_variance": math.nan}, ValueError, "noise_variance"),
    ],
    ids=lambda value: None,
)
def test_wrong_arguments_are_refused(algorithm, y, options, error, name):
    with pytest.raises(error, match=name):
        recover(algorithm, torch.zeros(4, 8), y, **options)
