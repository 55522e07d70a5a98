"""Tapped delay line: 3GPP's tables, power, Doppler spectrum, line of sight, and fading that goes on over rounds."""

import math

import numpy as np
import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded
from scipy.special import j0
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.propagation import tapped_delay
from laser_wireless.channels.propagation.delay_profiles import exponential, from_table
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.paths import PathsProcess, mean_powers
from laser_wireless.channels.propagation.tapped_delay import TappedDelayLine, doppler_of_speed
from laser_wireless.channels.segments import Grid

NUM_DEVICES = 2000
DOPPLER_HZ = 20.0
START = torch.zeros(1, dtype=torch.float64)
TIMES = torch.tensor([0.0, 0.008, 0.0191, 0.05], dtype=torch.float64)  # 2 pi f_D t = 0, 1, 2.4 (a zero of J_0), 6.3


def line(profile="C", **options):
    defaults = {"delay_spread_s": 100e-9, "doppler_hz": DOPPLER_HZ, "round_interval_s": 0.25}
    return TappedDelayLine(profile=profile, **(defaults | options))


def advance(paths, num_devices=NUM_DEVICES, num_rx_antennas=1, times=START, *, round=0, state=None, seed=3):
    return paths.advance(num_devices, num_rx_antennas, times, round=round, generator=seeded(seed), state=state)


@pytest.mark.parametrize("name", "ABCDE")
def test_tables_equal_sionnas(name):
    with torch.random.fork_rng():
        tdl = pytest.importorskip("sionna.phy.channel.tr38901").TDL
    other = tdl(name, 1.0, 3.5e9, spec_version="19.2", precision="double", device="cpu")
    own = from_table(name)
    powers = torch.tensor(own.powers, dtype=torch.float64)
    powers[0] += own.line_of_sight
    torch.testing.assert_close(torch.tensor(own.delays, dtype=torch.float64), other.delays, rtol=0, atol=1e-12)
    torch.testing.assert_close(powers, other.mean_powers, rtol=1e-12, atol=0)
    k_factor = other.k_factor.item() if other.los else 0.0  # over the scattered part of the first path
    assert own.line_of_sight / own.powers[0] == pytest.approx(k_factor, rel=1e-12)


@pytest.mark.parametrize("name", "ABCDE")
def test_tables_are_normalised(name):
    profile = from_table(name)
    assert profile.line_of_sight + sum(profile.powers) == pytest.approx(1, abs=1e-12)
    assert profile.spread == pytest.approx(1, abs=7e-3)  # what the standard's rounding leaves; 6e-3 for D


@pytest.mark.parametrize("profile", [*"ABC", "exponential"])
def test_every_path_has_its_mean_power(profile):
    paths = line(profile)
    a = advance(paths)[0]
    powers = torch.tensor(paths.delay_profile.powers)
    variance = 1 - 1 / paths.num_sinusoids  # of |a|^2 / p, since E|a|^4 = (2 - 1/N) p^2
    assert_mean(a[..., 0].abs().square() / powers[:, None].T, mean=1, variance=variance)
    for p in range(len(powers)):
        power = a[:, 0, p].abs().square() / powers[p]
        assert_mean(power, mean=1, variance=variance, num_comparisons=len(powers))


def test_a_profile_ten_percent_too_strong_in_one_path_is_noticed():
    paths = line("A")
    power = 1.1 * advance(paths, 2 * NUM_DEVICES)[0][:, 0].abs().square() / torch.tensor(paths.delay_profile.powers)[:, None]
    with pytest.raises(AssertionError, match="expected 1"):
        assert_mean(power, mean=1, variance=1)


@pytest.mark.parametrize("profile", "DE")
def test_the_first_path_carries_the_line_of_sight(profile):
    paths = line(profile)
    power = advance(paths)[0][:, 0, 0].abs().square()
    direct, scattered = paths.delay_profile.line_of_sight, paths.delay_profile.powers[0]
    variance = scattered**2 * (1 - 1 / paths.num_sinusoids) + 2 * scattered * direct
    assert_mean(power, mean=direct + scattered, variance=variance)


@pytest.mark.parametrize("num_sinusoids", [1, 2, 8])
def test_the_fourth_moment_approaches_rayleigh_fading(num_sinusoids):
    paths = TappedDelayLine(delays_s=[0.0], powers_db=[0.0], num_sinusoids=num_sinusoids)
    power = advance(paths, 20 * NUM_DEVICES)[0].abs().square()
    if num_sinusoids == 1:
        torch.testing.assert_close(power, torch.ones_like(power))
    else:  # E|a|^8 <= 24 as for a Gaussian; the variance of |a|^4 is smaller
        assert_mean(power.square(), mean=2 - 1 / num_sinusoids, variance=20)


def test_the_sum_of_many_paths_is_rayleigh():
    h = advance(line("A"))[0].sum(2)
    assert_distributed(h.abs().square(), "expon")
    assert_distributed(h.angle(), "uniform", -math.pi, 2 * math.pi)
    few = advance(line("A", num_sinusoids=1, k_factor=20.0))[0].sum(2)
    with pytest.raises(AssertionError, match="not expon"):
        assert_distributed(few.abs().square(), "expon")


def correlation(a, powers):
    """Re a(0) a*(t) / p at each of TIMES, for each link; its variance is at most 1: E|a(0) a*(t)|^2 <= p^2 (1 + J_0^2)."""
    return ((a[..., :1] * a.conj()).real / torch.tensor(powers)[:, None]).flatten(0, 2)


@pytest.mark.parametrize("hours", [0, 10])
def test_each_path_has_jakes_autocorrelation_for_hours(hours):
    paths = line("C", round_interval_s=3600.0)
    a = advance(paths, times=TIMES, round=hours)[0]
    samples = correlation(a, paths.delay_profile.powers)
    for i in range(1, len(TIMES)):
        expected = float(j0(2 * math.pi * DOPPLER_HZ * TIMES[i].item()))
        assert_mean(samples[:, i], mean=expected, variance=1, num_comparisons=3)


def test_a_doppler_shift_ten_percent_too_high_is_noticed():
    paths = line("C", doppler_hz=1.1 * DOPPLER_HZ)
    samples = correlation(advance(paths, times=TIMES)[0], paths.delay_profile.powers)
    with pytest.raises(AssertionError, match="expected 0"):
        assert_mean(samples[:, 1], mean=float(j0(2 * math.pi * DOPPLER_HZ * 0.008)), variance=1)


def test_phases_after_a_day_are_those_of_the_formula():
    paths = line("B", round_interval_s=1.0)
    a, _, state = advance(paths, 2, 3, TIMES, round=86_400)
    elapsed = np.longdouble(86_400) + TIMES.numpy().astype(np.longdouble)
    turns = DOPPLER_HZ * state["cosines"].numpy().astype(np.longdouble)[:, None, ..., None] * elapsed
    turns = turns + state["phases"].numpy()[..., None]
    waves = np.exp(2j * np.pi * (turns - np.round(turns)).astype(np.float64)).sum(-2)
    powers = np.array(paths.delay_profile.powers)[:, None] / paths.num_sinusoids
    np.testing.assert_allclose(a.numpy(), waves * np.sqrt(powers), rtol=0, atol=2e-6)


def test_the_mean_over_time_of_each_link_is_its_power():
    """Times spread over a year: phases are as good as independent from sample to sample."""
    paths = TappedDelayLine(
        delays_s=[0.0, 1e-6], powers_db=[0.0, -3.0], doppler_hz=50.0, round_interval_s=1.0, num_sinusoids=4
    )
    times = 3e7 * torch.rand(20_000, dtype=torch.float64, generator=seeded(4))
    a = advance(paths, 2, 1, times)[0]
    for link in (a.abs().square() / torch.tensor(paths.delay_profile.powers)[:, None]).flatten(0, 2):
        assert_mean(link, mean=1, variance=1 - 1 / 4, num_comparisons=4)


def test_fading_continues_from_round_to_round(global_rng_untouched):
    paths = line("D", round_interval_s=0.004)
    assert isinstance(paths, PathsProcess)
    whole, _, _ = advance(paths, 3, 2, torch.arange(8, dtype=torch.float64) * 1e-3)
    first, _, state = advance(paths, 3, 2, torch.arange(4, dtype=torch.float64) * 1e-3)
    second, _, after = advance(paths, 3, 2, torch.arange(4, dtype=torch.float64) * 1e-3, round=1, state=state, seed=99)
    torch.testing.assert_close(torch.cat([first, second], -1), whole, rtol=0, atol=1e-6)
    assert after is state


def test_rounds_infinitely_far_apart_are_independent():
    paths = line("A", round_interval_s=math.inf)
    first, _, state = advance(paths, seed=1)
    second, _, _ = advance(paths, round=1, state=state, seed=2)
    powers = torch.tensor(paths.delay_profile.powers)[:, None]
    assert_mean((first * second.conj()).real / powers, mean=0, variance=0.5)


def test_without_doppler_the_gains_hold_still():
    paths = TappedDelayLine(profile="D", delay_spread_s=1e-7)
    first, _, state = advance(paths, 3, 1, TIMES)
    second, _, _ = advance(paths, 3, 1, TIMES, round=7, state=state)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, first[..., :1].expand_as(first))


def test_antennas_and_paths_are_independent_and_the_line_of_sight_is_not():
    a = advance(line("A"), num_rx_antennas=2)[0][..., 0]
    powers = torch.tensor(line("A").delay_profile.powers)
    assert_mean((a[:, 0] * a[:, 1].conj()).real / powers, mean=0, variance=0.5)
    neighbours = (a[:, :, 1:] * a[:, :, :-1].conj()).real / (powers[1:] * powers[:-1]).sqrt()
    assert_mean(neighbours[:, 0, ::2], mean=0, variance=0.5)
    direct = advance(line("D", k_factor=1e9), 4, 2)[0][:, :, 0]
    torch.testing.assert_close(direct[:, 0], direct[:, 1], rtol=0, atol=2e-4)


def test_the_line_of_sight_turns_at_seven_tenths_of_the_doppler_shift():
    a = advance(line("E", k_factor=1e10), 5, 1, TIMES)[0][:, 0, 0]
    turned = a / a[:, :1]
    expected = torch.polar(torch.ones(4), (2 * math.pi * 0.7 * DOPPLER_HZ * TIMES).float())
    torch.testing.assert_close(turned, expected.expand(5, 4), rtol=0, atol=1e-4)


def test_every_device_has_its_own_phase_of_the_line_of_sight():
    direct = advance(line("D", k_factor=1e9))[0][:, 0, 0]
    assert_distributed(direct.angle(), "uniform", -math.pi, 2 * math.pi)


def test_k_factor_moves_power_and_keeps_the_delay_spread():
    profile = line("D", k_factor=4.0).delay_profile
    assert profile.line_of_sight == pytest.approx(0.8)
    assert sum(profile.powers) == pytest.approx(0.2)
    assert profile.spread == pytest.approx(from_table("D").spread * 100e-9)
    scattered = np.array(profile.powers) / 0.2
    np.testing.assert_allclose(scattered, np.array(from_table("D").powers) / sum(from_table("D").powers))
    own = TappedDelayLine(delays_s=[0.0, 1e-6], powers_db=[0.0, 0.0], k_factor=1.0).delay_profile
    assert own.delays == (0.0, 1e-6)
    assert own.line_of_sight == pytest.approx(0.5)
    assert own.powers == pytest.approx((0.25, 0.25))


def test_delays_scale_with_the_delay_spread():
    tau = advance(line("B", delay_spread_s=363e-9), 2)[1]
    torch.testing.assert_close(tau[1], 363e-9 * torch.tensor(from_table("B").delays, dtype=torch.float64))


def test_the_exponential_profile_has_its_frequency_correlation():
    profile = exponential()
    assert profile.spread == pytest.approx(1, rel=1e-12)
    s = np.linspace(0, 6, 200)
    found = np.exp(-1j * np.outer(s, profile.delays)) @ profile.powers
    assert np.abs(found - 1 / (1 + 1j * s)).max() < 0.06


@pytest.mark.parametrize("profile", ["exponential", "C"])
def test_gains_of_frequency_blocks_are_correlated_as_the_profile_says(profile):
    """E h(f + F) h*(f) = sum_p p e^{-j 2 pi F tau_p}; real and imaginary part of the product vary by at most 1."""
    paths = line(profile)
    grid = Grid(num_slots=1, num_frequency_blocks=3, symbols_per_cell=1, block_hz=1e6)
    h = Multipath(paths=paths)(4 * NUM_DEVICES, 1, grid, round=0, generator=seeded(2))[:, 0, 0]
    delays, powers = np.array(paths.delay_profile.delays), np.array(paths.delay_profile.powers)
    for spacing in (1, 2):
        expected = (np.exp(-2j * np.pi * spacing * 1e6 * delays) * powers).sum()
        product = h[:, spacing] * h[:, 0].conj()
        assert_mean(product.real, mean=expected.real, variance=1, num_comparisons=4)
        assert_mean(product.imag, mean=expected.imag, variance=1, num_comparisons=4)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean((h[:, 1] * h[:, 0].conj()).real, mean=1, variance=1)


def test_a_device_does_not_depend_on_how_many_there_are():
    few, many = (advance(line("C"), num_devices, 2, TIMES)[0] for num_devices in (3, 40))
    assert torch.equal(few, many[:3])


def test_devices_may_move_at_their_own_speeds():
    a = advance(line("A", doppler_hz=[0.0, 30.0]), 2, 1, TIMES)[0]
    torch.testing.assert_close(a[0], a[0, ..., :1].expand_as(a[0]))
    assert (a[1] - a[1, ..., :1]).abs().max() > 0.1
    same = advance(line("A", doppler_hz=30.0), 2, 1, TIMES)[0]
    assert torch.equal(a[1], same[1])


def test_times_computed_in_parts_are_the_same(monkeypatch):
    whole = advance(line("C"), 3, 2, TIMES)[0]
    monkeypatch.setattr(tapped_delay, "_CHUNK", 1)
    torch.testing.assert_close(advance(line("C"), 3, 2, TIMES)[0], whole)


def test_all_devices(device):
    paths = line("D")
    times = TIMES.to(device)
    a, tau, state = paths.advance(50, 4, times, round=0, generator=seeded(0, device), state=None)
    assert {x.device.type for x in (a, tau, *state.values())} == {device.type}
    assert a.dtype == torch.complex64
    assert mean_powers(a).sum(-1).mean().item() == pytest.approx(1, abs=0.1)


def test_nothing_is_read_back():
    with FakeTensorMode():
        grid = Grid(num_slots=4, num_frequency_blocks=3, symbols_per_cell=2, slot_s=1e-3, block_hz=1e5)
        fading, state = Multipath(paths=line("D", doppler_hz=[1.0, 2.0, 3.0])), None
        for round in range(2):
            h, state = fading.advance(3, 2, grid, round=round, generator=seeded(round), state=state)
            assert h.shape == (3, 2, 4, 3)


def test_doppler_of_a_speed():
    assert doppler_of_speed(speed_m_s=1.5, carrier_hz=3.5e9) == pytest.approx(17.512, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "profile or delays_s must be given, and not both"),
        ({"profile": "A", "delays_s": [0.0]}, "profile or delays_s must be given, and not both"),
        ({"profile": "F", "delay_spread_s": 1.0}, "profile must be .* got 'F'"),
        ({"profile": "A"}, "delay_spread_s must be finite and >= 0 seconds with profile 'A', got None"),
        ({"profile": "A", "delay_spread_s": math.nan}, "delay_spread_s must be finite"),
        ({"profile": "A", "delay_spread_s": 1.0, "powers_db": [0.0]}, "powers_db belongs to delays_s"),
        ({"delays_s": [0.0], "powers_db": [0.0], "delay_spread_s": 1.0}, "delay_spread_s belongs to a profile"),
        ({"delays_s": [], "powers_db": []}, "powers_db must hold one power for each of delays_s, at least one"),
        ({"delays_s": [0.0, 1.0], "powers_db": [0.0]}, "got 1 powers for 2 delays"),
        ({"delays_s": [math.nan], "powers_db": [0.0]}, "delays_s must be finite and >= 0"),
        ({"delays_s": [0.0], "powers_db": [-math.inf]}, "powers_db must be finite decibels"),
        ({"profile": "A", "delay_spread_s": 1.0, "k_factor": math.nan}, "k_factor must be finite and >= 0"),
        ({"profile": "A", "delay_spread_s": 1.0, "doppler_hz": -1.0}, "doppler_hz must be finite and >= 0"),
        ({"profile": "A", "delay_spread_s": 1.0, "doppler_hz": []}, "doppler_hz must be finite and >= 0"),
        (
            {"profile": "A", "delay_spread_s": 1.0, "doppler_hz": [1.0]},
            "round_interval_s must be given where doppler_hz > 0",
        ),
        ({"profile": "A", "delay_spread_s": 1.0, "round_interval_s": math.nan}, "round_interval_s must be > 0"),
        ({"profile": "A", "delay_spread_s": 1.0, "num_sinusoids": 0}, "num_sinusoids must be >= 1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TappedDelayLine(**options)


def test_a_state_of_other_devices_is_refused():
    state = advance(line("A"), 3, 2)[2]
    with pytest.raises(ValueError, match="state holds 3 devices and 2 antennas, asked for 4 and 2"):
        advance(line("A"), 4, 2, round=1, state=state)
    with pytest.raises(ValueError, match="doppler_hz must hold one number or 3, one per device, got 2"):
        advance(line("A", doppler_hz=[1.0, 2.0]), 3)
