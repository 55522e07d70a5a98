"""Rates and bounds: the published orders, the best step, and descent on a quadratic that must stay below them."""

import math

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.benchmarks.theory import (
    Problem,
    nonconvex_bound,
    nonconvex_rate,
    quasiconvex_bound,
    quasiconvex_rate,
)

CURVATURE = torch.linspace(0.2, 1.0, 8, dtype=torch.float64)  # f(x) = sum_i a_i x_i^2 / 2: L = 1, mu = 0.2


def test_published_orders():
    assert quasiconvex_rate(3.0, 100) == 0.04
    assert nonconvex_rate(3.0, 100) == 0.2
    assert quasiconvex_rate(0.0, 50) == 1 / 50  # plain descent


def descend(step, influence, noise, num_rounds, num_runs=400):
    """Runs of noisy descent: iterates [T, runs, 8]."""
    generator, x, path = seeded(0), torch.ones(num_runs, 8, dtype=torch.float64), []
    for _ in range(num_rounds):
        path.append(x)
        g = CURVATURE * x + (noise / 8) ** 0.5 * torch.randn(x.shape, dtype=x.dtype, generator=generator)
        channel = g.norm(dim=1, keepdim=True) * (influence / 8) ** 0.5
        x = x - step * (g + channel * torch.randn(x.shape, dtype=x.dtype, generator=generator))
    return torch.stack(path)


@pytest.mark.parametrize("influence", [0.0, 3.0])
def test_descent_stays_below_the_bounds(influence):
    start = torch.ones(8, dtype=torch.float64)
    problem = Problem(
        smoothness=1.0,
        gap=(CURVATURE * start.square()).sum().item() / 2,
        distance=start.norm().item(),
        gradient_noise=4.0,
        convexity=0.2,
    )
    bound, step = nonconvex_bound(problem, influence, 300)
    squared = (CURVATURE * descend(step, influence, 4.0, 300)).square().sum(-1).mean().item()
    assert bound / 20 < squared < bound

    bound, step = quasiconvex_bound(problem, influence, 300)
    weights = (1 - 0.2 * step) ** -torch.arange(1, 301, dtype=torch.float64)
    gaps = (CURVATURE * descend(step, influence, 4.0, 300).square()).sum(-1).mean(1) / 2
    found = ((weights * gaps).sum() / weights.sum()).item()
    assert bound / 20 < found < bound


@pytest.mark.parametrize("influence", [0.0, 10.0])
@pytest.mark.parametrize("num_rounds", [1, 30, 10_000])
@pytest.mark.parametrize("convexity", [0.0, 0.3])
def test_step_is_the_best_one(convexity, num_rounds, influence):
    problem = Problem(convexity=convexity, growth=0.5, gradient_noise=2.0)
    excess = 1 + influence
    bound, step = nonconvex_bound(problem, influence, num_rounds)
    limit = 1 / (1.5 * excess)
    steps = [limit * 0.99**i for i in range(2000)]
    assert bound <= min(2 / (s * num_rounds) + s * excess * 2 for s in steps) * (1 + 1e-9)
    assert step <= limit * (1 + 1e-12)

    bound, step = quasiconvex_bound(problem, influence, num_rounds)
    steps = [limit / 2 * 0.99**i for i in range(1500)]
    plain = [1 / (s * _total_weight(convexity * s, num_rounds)) + s * excess * 2 for s in steps]
    assert bound <= min(plain) * (1 + 1e-6)
    assert step <= limit / 2 * (1 + 1e-12)


def _total_weight(x, num_rounds):
    return sum((1 - x) ** -t for t in range(1, min(num_rounds, 1000) + 1)) if x * num_rounds < 600 else math.inf


def test_many_rounds_show_the_published_dependence():
    ratio = [nonconvex_bound(Problem(), lam, 10**8)[0] / nonconvex_rate(lam, 10**8) for lam in (0.0, 4.0)]
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-9)
    ratio = [quasiconvex_bound(Problem(convexity=0.5), lam, 10**8)[0] / quasiconvex_rate(lam, 10**8) for lam in (0.0, 4.0)]
    assert ratio[0] == pytest.approx(ratio[1], rel=0.2)  # but for a logarithm


def test_nothing_to_learn_and_no_noise():
    assert nonconvex_bound(Problem(gap=0.0), 1.0, 10)[0] == 0
    bound, step = nonconvex_bound(Problem(gradient_noise=0.0), 1.0, 10)
    assert (bound, step) == (pytest.approx(0.4), 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Problem(smoothness=0.0), "smoothness must be finite and > 0"),
        (lambda: Problem(gap=-1.0), "gap must be finite and >= 0"),
        (lambda: Problem(convexity=2.0), "convexity must be at most smoothness = 1.0"),
        (lambda: nonconvex_rate(-1.0, 5), "influence must be finite and >= 0"),
        (lambda: quasiconvex_rate(1.0, 0), "num_rounds must be >= 1"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
