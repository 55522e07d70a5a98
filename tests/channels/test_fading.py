"""Fading models: E|h|^2 = 1, their distributions, and what is asked of a user's own."""

import math

import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded

from laser_wireless.channels import AnalogUplink, Grid, NoFading, Rayleigh, Rician, Streams, draw_rounds

NUM_DEVICES = 50_000
GRID = Grid(num_slots=2, symbols_per_cell=3)


def gains(fading, device="cpu"):
    return fading(NUM_DEVICES, 1, GRID, round=0, generator=seeded(3, device)).cpu()


def rice_variance_of_power(k_factor):
    """Var |h|^2 = 1 - (k / (k + 1))^2 for a line of sight of power k / (k + 1)."""
    return 1 - (k_factor / (k_factor + 1)) ** 2


@pytest.mark.parametrize("fading", [Rayleigh(), Rician(k_factor=0.0), Rician(k_factor=4.0), Rician(k_factor=50.0)], ids=str)
def test_mean_power_is_one(fading, device):
    k_factor = fading.k_factor if isinstance(fading, Rician) else 0.0
    power = gains(fading, device).abs().square()
    assert_mean(power, mean=1, variance=rice_variance_of_power(k_factor))


def test_mean_power_ten_percent_too_high_is_noticed():
    power = 1.1 * gains(Rayleigh()).abs().square()
    with pytest.raises(AssertionError, match="expected 1"):
        assert_mean(power, mean=1, variance=1)


def test_rayleigh_power_is_exponential_and_phase_uniform(device):
    h = gains(Rayleigh(), device)
    assert_distributed(h.abs().square(), "expon")
    assert_distributed(h.angle(), "uniform", -math.pi, 2 * math.pi)


def test_ks_test_tells_rician_from_rayleigh():
    with pytest.raises(AssertionError, match="not expon"):
        assert_distributed(gains(Rician(k_factor=0.5)).abs().square(), "expon")


def test_gains_are_independent_over_devices_and_slots():
    h = gains(Rayleigh())[:, 0, :, 0]
    for other in (h.roll(1, 0), h.roll(1, 1)):
        product = (h * other.conj()).real  # variance E|h|^2 E|h'|^2 / 2
        assert_mean(product[: NUM_DEVICES // 2, 0], mean=0, variance=0.5)


@pytest.mark.parametrize("k_factor", [0.5, 4.0])
def test_rician_power_is_noncentral_chi_square(k_factor):
    """2 (k + 1) |h|^2 has 2 degrees of freedom and non-centrality 2 k; slots share the line of sight, so one is taken."""
    power = gains(Rician(k_factor=k_factor))[:, 0, 0].abs().square()
    assert_distributed(2 * (k_factor + 1) * power, "ncx2", 2, 2 * k_factor)


def test_rician_line_of_sight_is_common_to_the_slots_of_a_device():
    k_factor = 3.0
    h = gains(Rician(k_factor=k_factor))[:, 0, :, 0]
    line = k_factor / (k_factor + 1)
    scattered = 1 / (k_factor + 1)
    product = (h[:, 0] * h[:, 1].conj()).real
    variance = line * scattered + scattered**2 / 2  # of Re(l s'* + s l'* + s s'*)
    assert_mean(product, mean=line, variance=variance)


def test_rician_phase_is_uniform():
    assert_distributed(gains(Rician(k_factor=9.0))[:, 0, 0].angle(), "uniform", -math.pi, 2 * math.pi)


@pytest.mark.parametrize("k_factor", [-1.0, math.nan, math.inf])
def test_impossible_k_factor_is_refused(k_factor):
    with pytest.raises(ValueError, match="k_factor"):
        Rician(k_factor=k_factor)


def test_rounds_drawn_as_a_batch_are_the_rounds_drawn_one_by_one():
    streams = Streams(4)
    batch = draw_rounds(Rayleigh(), 3, GRID, num_rounds=4, streams=streams, device="cpu")
    assert batch.shape == (4, 3, 2)
    for round in range(4):
        h = Rayleigh()(3, 1, GRID, round=round, generator=streams.generator("gains", round))
        assert torch.equal(batch[round], h.flatten(1))


def test_no_fading_drawn_as_a_batch_is_ones():
    batch = draw_rounds(NoFading(), 3, GRID, num_rounds=2, streams=Streams(0), device="cpu")
    assert torch.equal(batch, torch.ones(2, 3, 1))


def constant(value):
    def my_fading(num_devices, num_rx_antennas, grid, *, round, generator):
        return value

    return my_fading


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([1.0, 1.0], TypeError, r"my_fading must return a torch\.Tensor of gains, got list"),
        (torch.ones(2, 1, 1, 1, dtype=torch.int64), TypeError, r"must return complex gains, got torch\.int64"),
        (torch.ones(2, 1, 1, 1, device="meta"), TypeError, "must return gains on cpu, got meta"),
        (torch.ones(2), ValueError, r"shape \[num_devices, num_rx_antennas, T, F\] = \[2, 1, 1, 1\].* got \[2\]"),
        (torch.ones(3, 1, 1, 1), ValueError, r"got \[3, 1, 1, 1\]"),
        (torch.ones(2, 1, 4, 1), ValueError, r"got \[2, 1, 4, 1\]"),
        (torch.ones(2, 4, 1, 1), ValueError, r"got \[2, 4, 1, 1\]"),
    ],
)
def test_users_fading_is_told_what_is_wrong_with_its_gains(value, error, message):
    uplink = AnalogUplink(energy_budget=1.0, fading=constant(value))
    with pytest.raises(error, match=message):
        uplink.aggregate(torch.ones(2, 4), (4,), round=0, streams=Streams(0))


def test_fading_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="fading must be a function"):
        AnalogUplink(energy_budget=1.0, fading="rayleigh")
