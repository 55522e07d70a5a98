"""What does a channel cost in rounds? Published rates, and bounds with their constants, for influence factors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from laser_wireless.benchmarks.calculations.influence_study import InfluenceStudy
from laser_wireless.benchmarks.entries import check_each, check_some
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.theory import (
    Problem,
    nonconvex_bound,
    nonconvex_rate,
    quasiconvex_bound,
    quasiconvex_rate,
)
from laser_wireless.channels.parameters import checked
from laser_wireless.compression import Compressor, Sign


@dataclass(frozen=True, kw_only=True)
@checked
class RateStudy:
    """Rates of descent over the channel: the published orders, and upper bounds with constants.

    Args:
        influence: list of influence factors lambda; if left out, those of the schemes for the gradient described by m, n,
            rank, energy_budget, num_devices, noise_variance and captured. A scheme with error feedback counts by its channel
            part, an unbiased one by the whole factor; signs are left out: they are biased, and no such rate holds.
        num_rounds: list of T.
        smoothness: L of f.
        gap: f(x_0) - f_*.
        distance: ||x_0 - x_*||.
        gradient_noise: s^2, variance of the stochastic gradient.
        growth: M, its variance relative to the squared gradient.
        convexity: mu of strong quasi-convexity; 0 for plain quasi-convexity.
        m: rows of the gradient.
        n: columns of the gradient.
        rank: r of LASER, where schemes are not named.
        energy_budget: P, energy per device and round over all symbols.
        num_devices: K.
        noise_variance: sigma^2 per real symbol.
        captured: fraction of the squared norm in LASER's approximation.
        schemes: list of names, or a mapping name -> compressor; all schemes if left out.
    """

    influence: list[float] | None = None
    num_rounds: list[int] = field(default_factory=lambda: [1000, 10_000])
    smoothness: float = 1.0
    gap: float = 1.0
    distance: float = 1.0
    gradient_noise: float = 1.0
    growth: float = 0.0
    convexity: float = 0.0
    m: int = 64
    n: int = 576
    rank: int = 4
    energy_budget: float = 1000.0
    num_devices: int = 16
    noise_variance: float = 1.0
    captured: float = 1.0
    schemes: Mapping[str, Compressor] | None = None

    def __post_init__(self) -> None:
        _ = self.problem, self.gradient
        check_some("num_rounds", self.num_rounds)
        check_each("num_rounds", self.num_rounds, "an integer >= 1", lambda rounds: rounds >= 1)
        if self.influence is not None:
            check_some("influence", self.influence)
            check_each("influence", self.influence, "finite and >= 0", lambda factor: 0 <= factor < math.inf)

    @property
    def problem(self) -> Problem:
        """The constants of f."""
        return Problem(
            smoothness=self.smoothness,
            gap=self.gap,
            distance=self.distance,
            gradient_noise=self.gradient_noise,
            growth=self.growth,
            convexity=self.convexity,
        )

    @property
    def gradient(self) -> InfluenceStudy:
        """The gradient whose factors count, where none are given."""
        return InfluenceStudy(
            m=self.m,
            n=self.n,
            rank=self.rank,
            energy_budget=self.energy_budget,
            num_devices=self.num_devices,
            noise_variance=self.noise_variance,
            captured=self.captured,
            schemes=self.schemes,
        )

    def factors(self) -> Iterator[tuple[str, float]]:
        """Name and lambda, of noiseless descent first."""
        yield "no channel", 0.0
        if self.influence is not None:
            yield from ((f"lambda = {value:g}", value) for value in self.influence)
            return
        for name, compressor, factor in self.gradient.factors(self.gradient.block):
            value = factor.channel if compressor.error_feedback else factor.total
            if not isinstance(compressor, Sign) and math.isfinite(value):
                yield name, value


def rate_table(study: RateStudy) -> list[Row]:
    """Rates and bounds.

    Returns:
        rows with scheme, influence, rounds (times as many rounds for the same bound: 1 + lambda), num_rounds, the published
        orders quasiconvex (1 + lambda) / T and nonconvex sqrt((1 + lambda) / T), and the bounds quasiconvex_bound (on
        f - f_*) and nonconvex_bound (on the mean of ||grad f||^2).
    """
    return [
        {
            "scheme": name,
            "influence": value,
            "rounds": 1 + value,
            "num_rounds": num_rounds,
            "quasiconvex": quasiconvex_rate(value, num_rounds),
            "nonconvex": nonconvex_rate(value, num_rounds),
            "quasiconvex_bound": quasiconvex_bound(study.problem, value, num_rounds)[0],
            "nonconvex_bound": nonconvex_bound(study.problem, value, num_rounds)[0],
        }
        for name, value in study.factors()
        for num_rounds in study.num_rounds
    ]
