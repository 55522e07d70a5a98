"""OFDM: a one-to-one map of symbols to elements and samples, and a waveform that meets the gains of its subcarriers."""

import dataclasses
import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from helpers.uplinks import random_message
from hypothesis import given, settings
from hypothesis import strategies as st

from laser_wireless.channels import (
    AnalogUplink,
    Jakes,
    Lmmse,
    Multipath,
    Ofdm,
    Rayleigh,
    Streams,
    TappedDelayLine,
    TruncatedInversion,
)
from laser_wireless.channels.propagation.paths import frequency_response
from laser_wireless.channels.waveform import convolve

SMALL = Ofdm(num_subcarriers=12, symbols_per_slot=3, subcarriers_per_block=4, subcarrier_spacing_hz=15e3)
NUMEROLOGIES = [
    SMALL,
    Ofdm(num_subcarriers=7, symbols_per_slot=1, subcarriers_per_block=1),
    Ofdm(num_subcarriers=64, symbols_per_slot=2, subcarriers_per_block=8, cyclic_prefix_s=0.0, fft_size=64),
]


def symbols(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex128, generator=seeded(seed))


@pytest.mark.parametrize("ofdm", NUMEROLOGIES, ids=str)
@pytest.mark.parametrize("num_uses", [1, 36, 95])
def test_elements_hold_the_symbols(ofdm, num_uses):
    x = symbols(2, num_uses)
    elements = ofdm.to_elements(x)
    assert elements.shape[-2:] == (ofdm.num_slots(2 * num_uses) * ofdm.symbols_per_slot, ofdm.num_subcarriers)
    assert torch.equal(ofdm.from_elements(elements, num_uses), x)
    torch.testing.assert_close(elements.abs().square().sum(), x.abs().square().sum())


def test_a_cell_of_the_grid_is_a_block_of_subcarriers_in_a_slot():
    """The gain of cell (t, f) belongs to the OFDM symbols of slot t and the subcarriers of block f."""
    num_uses = 2 * SMALL.symbols_per_slot * SMALL.num_subcarriers
    grid = SMALL.grid(2 * num_uses)
    assert (grid.num_slots, grid.num_frequency_blocks) == (2, 3)
    cell = torch.arange(num_uses) // (grid.symbols_per_cell // 2)
    elements = SMALL.to_elements(cell.to(torch.complex128)).real
    for slot in range(2):
        for block in range(3):
            inside = elements[3 * slot : 3 * slot + 3, 4 * block : 4 * block + 4]
            assert (inside == slot * 3 + block).all()


@pytest.mark.parametrize("ofdm", NUMEROLOGIES, ids=str)
def test_samples_carry_the_energy_of_the_elements_and_come_back(ofdm):
    elements = symbols(3, 4, ofdm.num_subcarriers)
    samples = ofdm.modulate(elements)
    assert samples.shape == (3, 4, ofdm.num_samples + ofdm.prefix_samples)
    body = samples[..., ofdm.prefix_samples :]
    torch.testing.assert_close(body.abs().square().sum(), elements.abs().square().sum())
    for advance in {0, ofdm.prefix_samples // 2, ofdm.prefix_samples}:
        torch.testing.assert_close(ofdm.demodulate(samples, advance), elements)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(num_subcarriers=st.integers(1, 40), spare=st.integers(0, 30), prefix=st.integers(0, 70), advance=st.integers(0, 80))
def test_any_numerology_is_a_unitary_map_and_its_inverse(num_subcarriers, spare, prefix, advance):
    size = num_subcarriers + spare
    prefix = min(prefix, size)
    ofdm = Ofdm(
        num_subcarriers=num_subcarriers,
        subcarriers_per_block=1,
        symbols_per_slot=1,
        fft_size=size,
        cyclic_prefix_s=prefix / size / 15e3,
    )
    assert ofdm.prefix_samples == prefix
    elements = symbols(2, num_subcarriers)
    samples = ofdm.modulate(elements)
    assert samples.shape == (2, size + prefix)
    torch.testing.assert_close(samples[:, prefix:].abs().square().sum(), elements.abs().square().sum())
    torch.testing.assert_close(ofdm.demodulate(samples, advance), elements)
    torch.testing.assert_close(ofdm.demodulate(samples, ofdm.filter_reach), elements)


@pytest.mark.parametrize("num_subcarriers", [60, 59])
@pytest.mark.parametrize("prefix", [0, 1, 2, 5, 6, 24])
def test_uplink_with_a_prefix_of_any_length_and_no_delay_is_that_of_the_subcarriers(prefix, num_subcarriers):
    ofdm = Ofdm(
        num_subcarriers=num_subcarriers,
        symbols_per_slot=2,
        subcarriers_per_block=num_subcarriers,
        fft_size=64,
        cyclic_prefix_s=prefix / 64 / 15e3,
    )
    still = TappedDelayLine(profile="A", delay_spread_s=0.0)
    for fading in (Rayleigh(), Multipath(paths=still)):
        by_subcarrier, by_sample = both_domains(ofdm, fading=fading, power_control=TruncatedInversion())
        torch.testing.assert_close(by_sample.estimate, by_subcarrier.estimate)


@pytest.mark.parametrize("prefix", [0, 1, 2, 5, 6, 9, 24])
def test_fractional_delay_keeps_its_amplitude_at_the_carrier(prefix):
    ofdm = Ofdm(num_subcarriers=48, fft_size=64, cyclic_prefix_s=prefix / 64 / 15e3)
    tau = torch.linspace(0, 3, 31, dtype=torch.float64).unsqueeze(-1) / ofdm.sample_rate_hz
    taps = ofdm.taps(torch.ones(31, 1, 1, 1, dtype=torch.complex128), tau)
    torch.testing.assert_close(taps.sum(-1).abs().flatten(), torch.ones(31).double(), rtol=0, atol=0.04)
    precursors = taps[..., : ofdm.filter_reach]
    assert prefix >= 6 or not precursors.any()  # nothing arrives before the window, which cannot start earlier


def test_subcarriers_lie_evenly_around_the_carrier():
    for ofdm in NUMEROLOGIES:
        samples = ofdm.modulate(torch.eye(ofdm.num_subcarriers, dtype=torch.complex128))[:, ofdm.prefix_samples :]
        step = (samples[:, 1:] * samples[:, :-1].conj()).sum(-1).angle() / (2 * math.pi) * ofdm.sample_rate_hz
        expected = (torch.arange(ofdm.num_subcarriers) - (ofdm.num_subcarriers - 1) / 2) * ofdm.subcarrier_spacing_hz
        torch.testing.assert_close(step, expected.double(), rtol=0, atol=1e-6)


def test_noise_of_the_samples_is_the_noise_of_the_subcarriers():
    noise = math.sqrt(2 * 0.7) * symbols(2000, SMALL.num_samples + SMALL.prefix_samples)
    elements = SMALL.demodulate(noise.unsqueeze(-2))
    assert_mean(elements.abs().square(), mean=1.4, variance=1.4**2)


def test_prefix_repeats_the_end_up_to_the_turn_of_the_half_subcarrier():
    odd = Ofdm(num_subcarriers=7, symbols_per_slot=1, subcarriers_per_block=1)
    samples = odd.modulate(symbols(1, 7))
    torch.testing.assert_close(samples[..., : odd.prefix_samples], samples[..., odd.num_samples :])


def test_seconds_count_whole_ofdm_symbols():
    assert SMALL.seconds(2) == pytest.approx(SMALL.symbol_s)
    assert SMALL.seconds(2 * 12) == pytest.approx(3 * SMALL.symbol_s)  # the first cell alone takes three rows
    assert SMALL.seconds(2 * 36) == pytest.approx(3 * SMALL.symbol_s)
    assert SMALL.seconds(2 * 37) == pytest.approx(4 * SMALL.symbol_s)


def test_convolution_is_the_sum_of_delayed_symbols():
    samples, taps = symbols(2, 4, 5), symbols(2, 3, 2, 7, seed=1)
    expected = torch.zeros(3, 20 + 6, dtype=torch.complex128)
    for k in range(2):
        for m in range(4):
            for i in range(5):
                expected[:, 5 * m + i : 5 * m + i + 7] += samples[k, m, i] * taps[k, :, m // 2]
    torch.testing.assert_close(convolve(samples, taps, 2), expected)


def tones_through(ofdm, a, tau, num_ofdm_symbols=3):
    """Response of each subcarrier to OFDM symbols sent one after another through the taps, over the exact one."""
    elements = symbols(1, num_ofdm_symbols, ofdm.num_subcarriers)
    taps = ofdm.taps(a.expand(-1, -1, -1, num_ofdm_symbols), tau)
    stream = convolve(ofdm.modulate(elements), taps, 1)[0, ofdm.filter_reach :]
    length = ofdm.num_samples + ofdm.prefix_samples
    received = ofdm.demodulate(stream[: elements.shape[-2] * length].unflatten(-1, (-1, length)), ofdm.filter_reach)
    frequencies = (torch.arange(ofdm.num_subcarriers) - (ofdm.num_subcarriers - 1) / 2) * ofdm.subcarrier_spacing_hz
    exact = frequency_response(a, tau, frequencies)[0, 0, 0]
    error = received - exact * elements[0]
    return (error.abs().square().mean() / (exact * elements[0]).abs().square().mean()).item()


@pytest.mark.parametrize("fraction", [0.0, 0.31, 0.5])
def test_paths_within_the_prefix_only_turn_the_subcarriers(fraction):
    ofdm = Ofdm(num_subcarriers=120, symbols_per_slot=1, subcarriers_per_block=1)
    a = symbols(1, 1, 2, 1)
    latest = ofdm.prefix_samples - 2 * ofdm.filter_reach
    tau = torch.tensor([[fraction, latest + fraction]], dtype=torch.float64) / ofdm.sample_rate_hz
    bound = 1e-25 if fraction == 0 else 1e-8
    assert tones_through(ofdm, a, tau) < bound


def test_path_beyond_the_prefix_disturbs_its_neighbours():
    """A path later than the prefix by e samples: e / N of the old symbol falls in, e / N of the own one is lost."""
    ofdm = Ofdm(num_subcarriers=120, symbols_per_slot=1, subcarriers_per_block=1)
    beyond = 40
    late = ofdm.prefix_samples - ofdm.filter_reach + beyond
    a = torch.ones(1, 1, 1, 1, dtype=torch.complex128)
    tau = torch.tensor([[late]], dtype=torch.float64) / ofdm.sample_rate_hz
    found = tones_through(ofdm, a, tau, num_ofdm_symbols=200)
    assert 0.8 < found / (2 * beyond / ofdm.num_samples) < 1.2  # the band's edges lose a little


def both_domains(ofdm, **options):
    u = random_message(4, (300, 120), dtype=torch.float64)
    estimates = []
    for time_domain in (False, True):
        uplink = AnalogUplink(
            energy_budget=1e3, noise_variance=0.0, ofdm=dataclasses.replace(ofdm, time_domain=time_domain), **options
        )
        estimates.append(uplink.aggregate(u, (300, 120), round=2, streams=Streams(5)))
    return estimates


PER_SUBCARRIER = Ofdm(num_subcarriers=60, symbols_per_slot=2, subcarriers_per_block=1)


@pytest.mark.parametrize(
    "options",
    [
        {"power_control": TruncatedInversion(threshold=0.05)},
        {"power_control": TruncatedInversion(threshold=0.05), "num_rx_antennas": 3, "receiver": Lmmse()},
        {"power_control": TruncatedInversion(threshold=0.05), "link_gain": [1.0, 0.5, 2.0, 0.1]},
    ],
    ids=["one antenna", "three antennas", "link gains"],
)
def test_waveform_and_subcarriers_give_one_estimate(options):
    tdl = Multipath(paths=TappedDelayLine(profile="C", delay_spread_s=50e-9), frequency="selective")
    by_subcarrier, by_sample = both_domains(PER_SUBCARRIER, fading=tdl, **options)
    error = (by_sample.estimate - by_subcarrier.estimate).square().mean() / by_subcarrier.estimate.square().mean()
    assert error < 1e-7
    assert torch.equal(by_sample.delivered, by_subcarrier.delivered)


def test_flat_fading_is_one_tap():
    by_subcarrier, by_sample = both_domains(
        dataclasses.replace(PER_SUBCARRIER, subcarriers_per_block=60), fading=Rayleigh(), power_control=TruncatedInversion()
    )
    torch.testing.assert_close(by_sample.estimate, by_subcarrier.estimate)


def test_prefix_is_paid_from_the_budget():
    tdl = Multipath(paths=TappedDelayLine(profile="A", delay_spread_s=30e-9), frequency="selective")
    by_subcarrier, by_sample = both_domains(PER_SUBCARRIER, fading=tdl, power_control=TruncatedInversion(threshold=0.05))
    for reception in (by_subcarrier, by_sample):
        assert (reception.ledger.energy_spent <= 1e3).all()
        assert reception.ledger.energy_spent.max() > 0.9e3
    assert by_sample.ledger.seconds == by_subcarrier.ledger.seconds == pytest.approx(4 * PER_SUBCARRIER.symbol_s)


def test_time_and_frequency_reach_the_fading():
    seen = []

    def recording(num_devices, num_rx_antennas, grid, *, round, generator):
        seen.append((grid.slot_s, grid.block_hz))
        return torch.ones(1, 1, 1, 1)

    u = random_message(2, (40,))
    AnalogUplink(energy_budget=1.0, fading=recording, ofdm=SMALL).aggregate(u, (40,), round=0, streams=Streams(0))
    AnalogUplink(energy_budget=1.0, fading=recording, coherence=8, bandwidth_hz=1e6).aggregate(
        u, (40,), round=0, streams=Streams(0)
    )
    assert seen == [(pytest.approx(3 * SMALL.symbol_s), 60e3), (pytest.approx(4e-6), None)]


def test_fading_that_moves_continues_over_the_rounds_of_a_waveform():
    uplink = AnalogUplink(
        energy_budget=1.0,
        fading=Jakes(doppler_hz=1.0, round_interval_s=1e-4),
        ofdm=dataclasses.replace(SMALL, time_domain=True),
    )
    u, state, gains = random_message(2, (40,)), None, []
    for round in range(2):
        plan = uplink.plan(u, (40,), round=round, streams=Streams(1), state=state)
        state = plan.state
        gains.append(plan.taps[..., 0, 0])
    torch.testing.assert_close(gains[0], gains[1], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_subcarriers": 0}, "num_subcarriers must be >= 1"),
        ({"num_subcarriers": 10, "subcarriers_per_block": 4}, "subcarriers_per_block must divide num_subcarriers = 10"),
        ({"subcarrier_spacing_hz": 0.0}, "subcarrier_spacing_hz must be finite and > 0"),
        ({"cyclic_prefix_s": 1.0}, "cyclic_prefix_s must lie between 0 and one symbol"),
        ({"cyclic_prefix_s": math.nan}, "cyclic_prefix_s must lie between 0 and one symbol"),
        ({"fft_size": 100}, "fft_size must be >= num_subcarriers = 1200"),
        ({"max_delay_s": -1.0}, "max_delay_s must be finite and >= 0"),
    ],
)
def test_impossible_numerology_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Ofdm(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bandwidth_hz": 1e6}, "bandwidth_hz follows from ofdm"),
        ({"coherence": "symbol"}, "coherence is that of the ofdm grid"),
        ({"baseband": "real"}, "work on complex samples"),
    ],
)
def test_options_that_ofdm_settles_are_refused_beside_it(options, message):
    with pytest.raises(ValueError, match=message):
        AnalogUplink(energy_budget=1.0, ofdm=SMALL, **options)


def test_given_gains_and_a_waveform_in_time_exclude_each_other():
    uplink = AnalogUplink(energy_budget=1.0, fading=Rayleigh(), ofdm=dataclasses.replace(SMALL, time_domain=True))
    with pytest.raises(ValueError, match="needs taps; give a fading"):
        uplink.aggregate(torch.ones(2, 4), (4,), round=0, streams=Streams(0), gains=torch.ones(2, 3))
