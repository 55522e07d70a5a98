"""Energy over the rounds, and other ways of stating it."""

import doctest
import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded

from laser_wireless.channels import (
    AnalogUplink,
    LinearEnergy,
    StepEnergy,
    Streams,
    energy_from_complex_power,
    energy_from_power,
    energy_from_snr,
    from_db,
    snr_from_energy,
    to_db,
)
from laser_wireless.channels.energy import units

SCHEDULES = [
    LinearEnergy(energy_budget=250.0, num_rounds=150),
    LinearEnergy(energy_budget=250.0, num_rounds=150, rising=False),
    LinearEnergy(energy_budget=250.0, num_rounds=150, period=25),
    StepEnergy(energy_budget=250.0, num_rounds=150),
    StepEnergy(energy_budget=250.0, num_rounds=150, rising=False, num_steps=5),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_mean_over_the_run_is_the_budget(schedule):
    assert math.fsum(map(schedule, range(150))) / 150 == pytest.approx(250.0, rel=1e-14)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_budget_runs_from_a_third_to_five_thirds(schedule):
    budgets = [schedule(round) for round in range(150)]
    assert (min(budgets), max(budgets)) == pytest.approx((250 / 3, 5 * 250 / 3), rel=1e-14)
    assert sorted(budgets, reverse=not schedule.rising) == budgets


def test_three_steps_are_a_third_one_and_five_thirds():
    schedule = StepEnergy(energy_budget=3.0, num_rounds=6)
    assert [schedule(round) for round in range(6)] == pytest.approx([1, 1, 3, 3, 5, 5])


def test_linear_budget_holds_during_a_period():
    schedule = LinearEnergy(energy_budget=3.0, num_rounds=6, period=2)
    assert [schedule(round) for round in range(6)] == pytest.approx([1, 1, 3, 3, 5, 5])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("round", [-1, 150])
def test_round_outside_the_run_is_refused(schedule, round):
    with pytest.raises(ValueError, match="num_rounds = 150"):
        schedule(round)


def test_one_round_gets_the_whole_budget():
    assert LinearEnergy(energy_budget=7.0, num_rounds=1)(0) == 7.0
    assert StepEnergy(energy_budget=7.0, num_rounds=4, num_steps=1)(3) == 7.0


@pytest.mark.parametrize("budget", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("schedule", [LinearEnergy, StepEnergy])
def test_schedule_without_a_sound_budget_is_refused(schedule, budget):
    with pytest.raises(ValueError, match="energy_budget"):
        schedule(energy_budget=budget, num_rounds=3)


@pytest.mark.parametrize(
    ("schedule", "options", "name"),
    [
        (LinearEnergy, {"num_rounds": 0}, "num_rounds"),
        (LinearEnergy, {"num_rounds": 10, "period": 3}, "period"),
        (LinearEnergy, {"num_rounds": 10, "period": 0}, "period"),
        (StepEnergy, {"num_rounds": 10, "num_steps": 3}, "num_steps"),
        (StepEnergy, {"num_rounds": 10, "num_steps": 0}, "num_steps"),
    ],
)
def test_uneven_stairs_are_refused(schedule, options, name):
    with pytest.raises(ValueError, match=name):
        schedule(energy_budget=1.0, **options)


def test_uplink_follows_its_schedule():
    uplink = AnalogUplink(energy_budget=StepEnergy(energy_budget=3.0, num_rounds=3))
    u = torch.ones(1, 4)
    spent = [uplink.aggregate(u, (4,), round=t, streams=Streams(0)).ledger.energy_spent.item() for t in range(3)]
    assert spent == pytest.approx([1, 3, 5], rel=1e-5)


@pytest.mark.parametrize("budget", [-1.0, math.nan, math.inf])
def test_unsound_budget_of_a_users_schedule_is_refused_by_round(budget):
    uplink = AnalogUplink(energy_budget=lambda round: budget)
    with pytest.raises(ValueError, match=r"energy_budget .* round 4"):
        uplink.aggregate(torch.ones(1, 4), (4,), round=4, streams=Streams(0))


def test_decibels_and_back():
    assert to_db(100.0) == pytest.approx(20.0)
    assert from_db(-3.0) == pytest.approx(0.501187, rel=1e-6)
    assert from_db(to_db(0.37)) == pytest.approx(0.37, rel=1e-14)


def test_snr_is_budget_over_symbols_times_noise():
    assert energy_from_snr(0.05, 1024, 2.0) == pytest.approx(102.4)
    assert snr_from_energy(102.4, 1024, 2.0) == pytest.approx(0.05)
    assert energy_from_power(0.5, 8) == 4.0
    assert energy_from_complex_power(0.5, 8) == 2.0
    assert energy_from_complex_power(0.5, 7) == 2.0  # the last channel use carries one real symbol


def test_worked_example_says_what_comes_out():
    found = doctest.testmod(units)
    assert found.attempted >= 7
    assert found.failed == 0


@pytest.mark.parametrize(("noise_variance", "snr_db"), [(0.5, 10.0), (1.0, 10 - to_db(2.0))], ids=["half", "hasty"])
def test_snr_of_a_paper_is_the_snr_received(noise_variance, snr_db):
    """E|x|^2 <= P = 10, n ~ CN(0, N0 = 1); a hasty noise_variance = N0 loses 3 dB."""
    n = 200_000
    uplink = AnalogUplink(energy_budget=energy_from_complex_power(10.0, n), noise_variance=noise_variance)
    u = torch.randn(1, n, dtype=torch.float64, generator=seeded(3))
    plan = uplink.plan(u, (n,), round=0, streams=Streams(1))
    x = uplink.transmit(u, plan)
    assert x.abs().square().mean().item() == pytest.approx(10.0, rel=1e-9)
    error = uplink.aggregate(u, (n,), round=0, streams=Streams(1)).estimate - u[0]
    received = error * plan.design.transceiver.precoder.item()  # the receiver's noise, as real numbers
    noise = torch.view_as_complex(received.view(-1, 2))
    assert_mean(noise.abs().square(), mean=2 * noise_variance, variance=(2 * noise_variance) ** 2)
    assert to_db(10.0 / (2 * noise_variance)) == pytest.approx(snr_db)
