"""Closed forms of inversion against independent ones, and against simulation through `laser channel`'s study."""

import math
from statistics import NormalDist

import pytest
import torch
from scipy.special import exp1

from laser_wireless.benchmarks.channel_views.error import study_error
from laser_wireless.benchmarks.channel_views.study import ChannelStudy
from laser_wireless.benchmarks.theory import inversion_mse, silence
from laser_wireless.channels import AlignedInversion, NoFading, Rayleigh, Rician, TruncatedInversion

CPU = torch.device("cpu")
Z = NormalDist().inv_cdf(1 - 1e-6 / 2)  # standard errors


@pytest.mark.parametrize("num_devices", [1, 2, 16])
@pytest.mark.parametrize("threshold", [0.01, 0.5])
def test_rayleigh_integral_equals_the_exponential_integral(num_devices, threshold):
    p = math.exp(-threshold)
    expected = (1 - p) ** num_devices / num_devices
    for m in range(1, num_devices + 1):
        weight = math.comb(num_devices, m) * p**m * (1 - p) ** (num_devices - m)
        inverse = m * math.exp(m * threshold) * exp1(m * threshold)
        expected += weight * (inverse / m**2 / 2.0 + 1 / m - 1 / num_devices)
    found = inversion_mse(Rayleigh(), TruncatedInversion(threshold=threshold), num_devices, snr=2.0)
    assert found == pytest.approx(expected, rel=1e-6)


def test_rician_without_line_of_sight_is_rayleigh():
    policy = TruncatedInversion(threshold=0.2)
    assert inversion_mse(Rician(k_factor=0.0), policy, 8, 1.0) == pytest.approx(inversion_mse(Rayleigh(), policy, 8, 1.0))
    assert inversion_mse(Rician(k_factor=1e-6), policy, 8, 1.0) == pytest.approx(
        inversion_mse(Rayleigh(), policy, 8, 1.0), rel=1e-4
    )


def test_strong_line_of_sight_tends_to_no_fading():
    policy = TruncatedInversion(threshold=0.2)
    assert inversion_mse(Rician(k_factor=1e4), policy, 4, 1.0) == pytest.approx(
        inversion_mse(NoFading(), AlignedInversion(), 4, 1.0), rel=0.05
    )


def test_without_fading_the_noise_is_that_of_the_template():
    assert inversion_mse(NoFading(), AlignedInversion(), 16, snr=0.1) == pytest.approx(1 / (16**2 * 0.1))


def test_untruncated_inversion_of_rayleigh_has_no_finite_error():
    assert inversion_mse(Rayleigh(), AlignedInversion(), 4, 1.0) == math.inf
    assert silence(Rayleigh(), AlignedInversion()) == 0


def test_unknown_laws_are_not_guessed():
    def mine(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.ones(num_devices, 1, 1, 1)

    assert math.isnan(inversion_mse(mine, AlignedInversion(), 4, 1.0))
    assert math.isnan(silence(mine, TruncatedInversion()))
    rows = study_error(ChannelStudy(fading=mine, snr_db=[0.0], num_rounds=500).error_view(), CPU)
    assert rows[0]["mse"] == pytest.approx(1 / 256, rel=0.1)
    assert rows[0]["mse_given_gains"] == pytest.approx(1 / 256, rel=1e-3)


@pytest.mark.parametrize(
    ("fading", "policy"),
    [
        (NoFading(), AlignedInversion()),
        (Rayleigh(), TruncatedInversion(threshold=0.3)),
        (Rayleigh(), TruncatedInversion(threshold=2.0)),
        (Rician(k_factor=4.0), TruncatedInversion(threshold=0.1)),
    ],
    ids=repr,
)
def test_simulation_meets_both_closed_forms(fading, policy):
    settings = ChannelStudy(fading=fading, power_control=policy, num_devices=4, snr_db=[-10.0, 10.0])
    for row in study_error(settings.error_view(), CPU):
        assert abs(row["mse"] - row["mse_given_gains"]) <= Z * row["mse_se"]
        assert abs(row["mse"] - row["mse_theory"]) <= Z * row["mse_se"]
        spread = math.sqrt(row["silent_theory"] * (1 - row["silent_theory"]) / (4 * settings.num_rounds))
        assert abs(row["silent"] - row["silent_theory"]) <= Z * spread
        spread = math.sqrt(row["outage_theory"] * (1 - row["outage_theory"]) / settings.num_rounds)
        assert abs(row["outage"] - row["outage_theory"]) <= Z * spread
        assert row["energy_spent_largest"] <= 1


def test_a_closed_form_that_is_a_tenth_off_would_be_seen():
    row = study_error(ChannelStudy(snr_db=[0.0]).error_view(), CPU)[0]
    assert abs(row["mse"] - 1.1 * row["mse_theory"]) > Z * row["mse_se"]


def test_settings_are_checked():
    with pytest.raises(ValueError, match="num_devices must be >= 1"):
        ChannelStudy(num_devices=0)
    with pytest.raises(ValueError, match="num_rounds must be >= 2"):
        ChannelStudy(num_rounds=1)
    with pytest.raises(ValueError, match="snr_db must hold"):
        ChannelStudy(snr_db=[])
