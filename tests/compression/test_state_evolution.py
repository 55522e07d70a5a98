"""State evolution: closed forms at its limits, Monte-Carlo between them, and the phase transition."""

import numpy as np
import pytest

from laser_wireless.compression.state_evolution import bernoulli_gaussian_mmse, state_evolution


@pytest.mark.parametrize("noise", [1e-12, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("variance", [1e-6, 0.3, 1e4])
def test_dense_entries_have_the_gaussian_mmse(noise, variance):
    found = bernoulli_gaussian_mmse(noise, rho=1.0, variance=variance)
    assert found == pytest.approx(variance * noise / (variance + noise), rel=1e-12)


def test_little_noise_costs_its_own_variance_in_active_entries():
    assert bernoulli_gaussian_mmse(1e-16, rho=0.1) == pytest.approx(0.1e-16, rel=1e-5)


def test_much_noise_leaves_the_prior_variance():
    assert bernoulli_gaussian_mmse(1e9, rho=0.1, variance=2.0) == pytest.approx(0.2, rel=1e-6)


@pytest.mark.parametrize("noise", [0.01, 0.1, 1.0])
def test_mmse_by_monte_carlo(noise):
    """Posterior mean by Bayes' rule in its plainest form."""
    rng, rho, variance, size = np.random.default_rng(0), 0.2, 1.5, 1_000_000
    x = rng.standard_normal(size) * np.sqrt(variance) * (rng.random(size) < rho)
    r = x + np.sqrt(noise) * rng.standard_normal(size)
    active = rho * np.exp(-(r**2) / (2 * (variance + noise))) / np.sqrt(variance + noise)
    silent = (1 - rho) * np.exp(-(r**2) / (2 * noise)) / np.sqrt(noise)
    error = (active / (active + silent) * variance / (variance + noise) * r - x) ** 2
    found, bound = error.mean(), 4.9 * error.std() / np.sqrt(size)  # 4.9 standard errors: one false alarm in a million
    assert abs(found - bernoulli_gaussian_mmse(noise, rho=rho, variance=variance)) <= bound
    assert abs(found - bernoulli_gaussian_mmse(1.1 * noise, rho=rho, variance=variance)) > bound


@pytest.mark.parametrize(("noise_variance", "rho", "variance"), [(0.0, 0.1, 1.0), (1.0, 0.0, 1.0), (1.0, 0.1, 0.0)])
def test_nothing_unknown_costs_nothing(noise_variance, rho, variance):
    assert bernoulli_gaussian_mmse(noise_variance, rho=rho, variance=variance) == 0


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize(("active_per_row", "recovered"), [(0.2, True), (0.4, True), (0.5, False)])
def test_phase_transition_at_a_tenth_of_the_measurements(active_per_row, recovered, orthogonal):
    """s = 0.1 n: k = 0.4 s Gaussian entries are recovered without noise; A-DSGD's own k = s/2 are not, and miss 53 %."""
    rho = 0.1 * active_per_row
    mse = state_evolution(fraction=0.1, noise_variance=0, rho=rho, orthogonal=orthogonal, iterations=500).mse[-1] / rho
    assert mse < 1e-20 if recovered else mse == pytest.approx(0.535, abs=1e-3)


@pytest.mark.parametrize("noise_variance", [0.0, 0.02, 1.0])
def test_dense_entries_reach_the_linear_mmse(noise_variance):
    """Orthogonal rows: (A A^T + noise I)^-1 is a number. I.i.d.: the Marchenko-Pastur fixed point e = t / (1 + t)."""
    ratio = 5.0
    orthogonal = state_evolution(fraction=1 / ratio, noise_variance=noise_variance, rho=1.0, orthogonal=True).mse[-1]
    assert orthogonal == pytest.approx(1 - 1 / (ratio + noise_variance), rel=1e-9)
    b = noise_variance + 1 - ratio
    c = noise_variance
    error = (-b + np.sqrt(b * b + 4 * ratio * c)) / (2 * ratio)
    found = state_evolution(fraction=1 / ratio, noise_variance=noise_variance, rho=1.0, iterations=500).mse[-1]
    assert found == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize("orthogonal", [False, True])
def test_prediction_follows_the_scale(orthogonal):
    one = state_evolution(fraction=0.3, noise_variance=0.1, rho=0.2, orthogonal=orthogonal)
    other = state_evolution(fraction=0.3, noise_variance=0.1e8, rho=0.2, variance=1e8, orthogonal=orthogonal)
    np.testing.assert_allclose(other.mse, one.mse * 1e8, rtol=1e-9)
    np.testing.assert_allclose(other.effective_variance, one.effective_variance * 1e8, rtol=1e-9)


def test_orthogonal_rows_are_never_worse():
    for noise_variance in (0.0, 0.01, 1.0):
        arguments = {"fraction": 0.5, "noise_variance": noise_variance, "rho": 0.2, "iterations": 100}
        assert (state_evolution(**arguments, orthogonal=True).mse <= state_evolution(**arguments).mse * (1 + 1e-12)).all()


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"fraction": 0.0}, "fraction"),
        ({"fraction": 1.5, "orthogonal": True}, "fraction"),
        ({"noise_variance": -1.0}, "noise_variance"),
        ({"noise_variance": float("nan")}, "noise_variance"),
        ({"variance": -1.0}, "variance"),
        ({"rho": 1.1}, "rho"),
        ({"iterations": 0}, "iterations"),
    ],
)
def test_impossible_arguments_are_refused(wrong, name):
    with pytest.raises(ValueError, match=name):
        state_evolution(**({"fraction": 0.5, "noise_variance": 0.1, "rho": 0.1} | wrong))
