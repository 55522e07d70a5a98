"""A law of a user's own with a survival function: closed forms as if it were the library's, bad ones refused by name."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from helpers.statistical import FALSE_ALARM, assert_distributed, seeded
from scipy.integrate import quad

from laser_wireless.benchmarks.channel_views.error import study_error
from laser_wireless.benchmarks.channel_views.laws import envelope
from laser_wireless.benchmarks.channel_views.study import ChannelStudy
from laser_wireless.benchmarks.theory import inversion_mse, silence, survival
from laser_wireless.benchmarks.theory.power_control import expected_mse
from laser_wireless.channels import AlignedInversion, FullPower, Nakagami, Rayleigh, Rician, TruncatedInversion, Weibull
from laser_wireless.channels.segments import Grid


@dataclass(frozen=True)
class Own:
    """A known law in disguise: its draws, and its survival as arrays."""

    law: Any

    def __call__(self, *arguments, **options):
        return self.law(*arguments, **options)

    def survival(self, x):
        return envelope(self.law).survival(x)


@dataclass(frozen=True)
class Erlang:
    """|h|^2 the mean of two exponentials, as of two independent paths of selection: S(x) = (1 + 2 x) e^(-2 x)."""

    def __call__(self, num_devices, num_rx_antennas, grid, *, round, generator):
        shape = (num_devices, num_rx_antennas, grid.num_slots, grid.num_frequency_blocks)
        branches = torch.randn(2, *shape, dtype=torch.complex64, generator=generator).abs().square()
        phase = torch.rand(shape, generator=generator) * (2 * math.pi)
        return torch.polar(branches.mean(0).sqrt(), phase)

    def survival(self, x):
        return (1 + 2 * x) * np.exp(-2 * x)


LAWS = [Rayleigh(), Rician(k_factor=3.0), Nakagami(m=40.0), Weibull(shape=1.2), Weibull(shape=2.6)]


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_own_law_has_the_closed_forms_of_the_same_law_in_the_library(law):
    for m in (1, 7):
        for policy in (AlignedInversion(), TruncatedInversion(threshold=0.2)):
            expected = inversion_mse(law, policy, m, 2.0)
            assert inversion_mse(Own(law), policy, m, 2.0) == pytest.approx(expected, rel=1e-5)
    for policy in (FullPower(), FullPower(phase=False)):
        assert expected_mse(Own(law), policy, 4, 2.0) == pytest.approx(expected_mse(law, policy, 4, 2.0), rel=1e-5)
    assert silence(Own(law), TruncatedInversion(threshold=0.3)) == silence(law, TruncatedInversion(threshold=0.3))
    own, known = envelope(Own(law)), envelope(law)
    r = np.linspace(0.02, 2.5, 40)
    np.testing.assert_allclose(own.density(r), known.density(r), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(own.survival(r), known.survival(r), rtol=1e-12)
    assert own.power_variance == pytest.approx(known.power_variance, rel=1e-4)


def test_survival_is_that_of_the_samples():
    law = Erlang()
    power = (
        law(5000, 1, Grid(num_slots=1, symbols_per_cell=2), round=0, generator=seeded(1)).abs().double().square().flatten()
    )
    beyond = survival(law)
    assert_distributed(power, np.vectorize(lambda x: 1 - beyond(x)))
    density, _ = quad(lambda r: float(envelope(law).density(np.array(r))), 0, 10)
    assert density == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("policy", [TruncatedInversion(threshold=0.2), FullPower()], ids=str)
def test_simulation_meets_the_closed_form(policy):
    row = study_error(
        ChannelStudy(fading=Erlang(), power_control=policy, num_devices=4, snr_db=[0.0]).error_view(), torch.device("cpu")
    )[0]
    z = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)
    assert abs(row["mse"] - row["mse_theory"]) <= z * row["mse_se"]
    assert abs(row["mse"] - 1.1 * row["mse_theory"]) > z * row["mse_se"]


def test_function_may_carry_its_survival():
    def mine(num_devices, num_rx_antennas, grid, *, round, generator):
        return Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)

    assert survival(mine) is None
    mine.survival = lambda x: np.exp(-x)
    assert survival(mine)(0.7) == pytest.approx(math.exp(-0.7))


def test_gains_bounded_away_from_zero_and_gains_of_zero():
    @dataclass(frozen=True)
    class Uniform:
        """|h|^2 uniform in [low, 2 - low]."""

        low: float

        def __call__(self, *arguments, **options): ...

        def survival(self, x):
            return np.clip((2 - self.low - x) / (2 - 2 * self.low), 0, 1)

    low = 0.5
    expected = math.log((2 - low) / low) / (2 - 2 * low)  # E[1 / |h|^2]
    assert inversion_mse(Uniform(low), AlignedInversion(), 1, 1.0) == pytest.approx(expected, rel=1e-6)
    assert inversion_mse(Uniform(0.0), AlignedInversion(), 1, 1.0) == math.inf  # its density at 0 is not 0

    @dataclass(frozen=True)
    class OnOff:
        def __call__(self, *arguments, **options): ...

        def survival(self, x):
            return 0.5 * (x < 2)

    assert inversion_mse(OnOff(), AlignedInversion(), 3, 1.0) == math.inf
    assert silence(OnOff(), TruncatedInversion(threshold=0.1)) == 0.5


BAD = {
    "scalars only": (lambda x: float(np.exp(-np.max(x))), r"floats of the shape of x, \(401,\), got float64 \(\)"),
    "integers": (lambda x: (x < 1).astype(int), "floats of the shape of x"),
    "rises": (lambda x: 1 - np.exp(-x), "never rise with x"),
    "above one": (lambda x: 2 * np.exp(-x), r"lie in \[0, 1\]"),
    "nan": (lambda x: np.exp(-x) * np.nan, r"lie in \[0, 1\]"),
    "never ends": (lambda x: 0.5 + 0.5 * np.exp(-x), "go to 0, got 0.5"),
    "other mean": (lambda x: np.exp(-x / 2), "mean 1, got 2; divide the gains"),
    "of the envelope": (lambda x: np.exp(-(x**2)), "mean 1, got 0.886"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_survival_is_refused_by_name(name):
    beyond, message = BAD[name]

    def mine(num_devices, num_rx_antennas, grid, *, round, generator): ...

    mine.survival = beyond
    for ask in (survival, envelope):
        with pytest.raises(ValueError, match=f"survival of mine must.* {message}"):
            ask(mine)
