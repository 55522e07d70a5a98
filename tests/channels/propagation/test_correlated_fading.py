"""Fading over time: autocorrelation against J0 and powers of rho, the law at each time, rounds that continue, bad input."""

import math

import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, seeded
from scipy.special import j0
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.fading.alpha_mu import AlphaMu, Nakagami, Weibull
from laser_wireless.channels.fading.contract import FadingProcess
from laser_wireless.channels.fading.correlated import GaussMarkov, Jakes, autoregression
from laser_wireless.channels.fading.correlated_law import CorrelatedLaw
from laser_wireless.channels.fading.laws import Rayleigh
from laser_wireless.channels.segments import Grid

NUM_DEVICES = 20_000
FLAT = Grid(num_slots=1, symbols_per_cell=4)
SLOTS = Grid(num_slots=5, symbols_per_cell=4, slot_s=2e-3)
DOPPLER_HZ = 30.0  # J0 at lags of 2, 4, 6, 8 ms: 0.965, 0.863, 0.707, 0.513
PROCESSES = [
    GaussMarkov(correlation=0.9),
    GaussMarkov(correlation=0.5, slot_correlation=-0.8, k_factor=2.0),
    GaussMarkov(doppler_hz=DOPPLER_HZ, round_interval_s=0.02),
    GaussMarkov(doppler_hz=[1.0, 30.0, 200.0], round_interval_s=0.02),
    Jakes(doppler_hz=DOPPLER_HZ, round_interval_s=0.02),
    Jakes(doppler_hz=[1.0, 30.0, 200.0], round_interval_s=0.02, num_sinusoids=8, k_factor=3.0),
    CorrelatedLaw(law=Nakagami(m=2.5), process=GaussMarkov(correlation=0.9)),
    CorrelatedLaw(law=Weibull(shape=1.5), process=Jakes(doppler_hz=3.0, round_interval_s=0.02)),
]


def rounds(process, num_rounds=1, *, grid=FLAT, num_devices=NUM_DEVICES, antennas=1, device="cpu", first=0, state=None):
    """Gains [num_rounds, K, N_r, T, F] of consecutive rounds, and the state after them."""
    found = []
    for round in range(first, first + num_rounds):
        h, state = process.advance(
            num_devices, antennas, grid, round=round, generator=seeded(100 + round, device), state=state
        )
        found.append(h.cpu())
    return torch.stack(found), state


def assert_correlated(h, other, rho, **options):
    """E[h other*] = rho for CN(0, 1) gains: the real part has variance (1 + rho^2) / 2, the imaginary (1 - rho^2) / 2."""
    product = h.flatten() * other.flatten().conj()
    assert_mean(product.real, mean=rho, variance=(1 + rho**2) / 2, **options)
    assert_mean(product.imag, mean=0, variance=max((1 - rho**2) / 2, 1e-9), **options)


@pytest.mark.parametrize("correlation", [0.9, 0.0, -0.7])
def test_gauss_markov_over_rounds(correlation, device):
    h, _ = rounds(GaussMarkov(correlation=correlation), 3, device=device)
    for lag in (1, 2):
        assert_correlated(h[lag], h[0], correlation**lag)
    assert_distributed(h[2].abs().square(), "expon")
    assert_distributed(h[2].angle(), "uniform", -math.pi, 2 * math.pi)


def test_gauss_markov_over_slots_and_the_gap_between_rounds():
    h, _ = rounds(GaussMarkov(correlation=0.5, slot_correlation=0.9), 2, grid=SLOTS)
    for lag in (1, 4):
        assert_correlated(h[0, :, 0, lag], h[0, :, 0, 0], 0.9**lag)
        assert_correlated(h[1, :, 0, lag], h[1, :, 0, 0], 0.9**lag)
    assert_correlated(h[1, :, 0, 0], h[0, :, 0, -1], 0.5)
    assert_correlated(h[1, :, 0, 0], h[0, :, 0, 0], 0.5 * 0.9**4)


def test_a_correlation_a_tenth_off_would_be_noticed():
    h, _ = rounds(GaussMarkov(correlation=0.8), 2)
    with pytest.raises(AssertionError, match=r"expected 0\.9"):
        assert_correlated(h[1], h[0], 0.9)


def test_without_slot_correlation_a_round_holds_still():
    h, _ = rounds(GaussMarkov(correlation=0.3), grid=SLOTS, num_devices=3)
    assert torch.equal(h, h[..., :1, :].expand_as(h))


def test_gauss_markov_neighbours_have_jakes_correlation(device):
    process = GaussMarkov(doppler_hz=DOPPLER_HZ, round_interval_s=0.015)
    h, _ = rounds(process, 2, grid=SLOTS, device=device)
    slot = j0(2 * math.pi * DOPPLER_HZ * 2e-3)
    assert_correlated(h[0, :, 0, 1], h[0, :, 0, 0], slot)
    assert_correlated(h[1, :, 0, 0], h[0, :, 0, -1], j0(2 * math.pi * DOPPLER_HZ * (0.015 - 4 * 2e-3)))
    with pytest.raises(AssertionError, match="expected"):  # two slots away it is no longer J0
        assert_correlated(h[0, :, 0, 4], h[0, :, 0, 0], j0(2 * math.pi * DOPPLER_HZ * 8e-3))


@pytest.mark.parametrize("rho", [0.999, 0.5, 0.0, -0.9, 1.0])
@pytest.mark.parametrize("num_slots", [1, 63, 64, 65, 5000])
def test_autoregression_in_blocks_is_the_loop(rho, num_slots):
    e = torch.randn(2, 3, num_slots, dtype=torch.complex128, generator=seeded(0))
    expected, last = [], torch.zeros(2, 3, dtype=torch.complex128)
    for t in range(num_slots):
        last = rho * last + e[..., t]
        expected.append(last)
    found = autoregression(e, torch.full((2, 1, 1), rho, dtype=torch.float64))
    torch.testing.assert_close(found, torch.stack(expected, dim=-1))


def test_each_row_of_an_autoregression_has_its_own_correlation():
    e, rho = torch.randn(3, 1, 200, dtype=torch.complex64, generator=seeded(0)), torch.tensor([0.1, -0.4, 0.99]).double()
    together = autoregression(e, rho.view(3, 1, 1))
    for k in range(3):
        torch.testing.assert_close(together[k], autoregression(e[k], rho[k].view(1, 1)))


@pytest.mark.parametrize("start_round", [0, 180_000])  # at 0.02 s: at once, and an hour later
def test_jakes_autocorrelation_is_j0(start_round, device):
    process = Jakes(doppler_hz=DOPPLER_HZ, round_interval_s=0.02)
    _, state = rounds(process, device=device)
    grid = Grid(num_slots=10, symbols_per_cell=4, slot_s=2e-3)
    h, state = rounds(process, 2, grid=grid, device=device, first=start_round, state=state)
    for lag in (1, 2, 4, 6, 9):  # J0 from 0.97 down to -0.33
        assert_correlated(h[0, :, 0, lag], h[0, :, 0, 0], j0(2 * math.pi * DOPPLER_HZ * lag * 2e-3))
    assert_correlated(h[1, :, 0, 3], h[0, :, 0, 8], j0(2 * math.pi * DOPPLER_HZ * 5 * 2e-3))  # across the border


def test_jakes_of_another_doppler_would_be_noticed():
    h, _ = rounds(Jakes(doppler_hz=1.1 * DOPPLER_HZ, round_interval_s=0.02), grid=SLOTS)
    with pytest.raises(AssertionError, match="expected"):
        assert_correlated(h[0, :, 0, 4], h[0, :, 0, 0], j0(2 * math.pi * DOPPLER_HZ * 8e-3))


def test_jakes_is_the_sum_of_its_sinusoids():
    """The plain formula in complex128, an hour into the run, device by device with Dopplers of their own."""
    process = Jakes(doppler_hz=[5.0, 300.0], round_interval_s=0.5, num_sinusoids=6, k_factor=2.0)
    grid = Grid(num_slots=37, num_frequency_blocks=2, symbols_per_cell=1, slot_s=1e-3)
    _, state = rounds(process, grid=grid, num_devices=2, antennas=3)
    h, _ = rounds(process, grid=grid, num_devices=2, antennas=3, first=7200, state=state)
    t = 3600 + torch.arange(37, dtype=torch.float64) * 1e-3
    for k, doppler in enumerate((5.0, 300.0)):
        turns = 2 * math.pi * doppler * t
        line = torch.exp(1j * (turns * state["line_arrival"][k] + state["line_phase"][k].double()))
        for r in range(3):
            for f in range(2):
                angle = turns.unsqueeze(-1) * state["arrivals"][k] + state["phases"][k, r, f].double()
                expected = math.sqrt(2 / 3) * line + math.sqrt(1 / 3 / 6) * torch.exp(1j * angle).sum(-1)
                torch.testing.assert_close(h[0, k, r, :, f].to(expected.dtype), expected.squeeze(), atol=3e-5, rtol=0)


@pytest.mark.parametrize("num_sinusoids", [1, 2, 16])
def test_jakes_power_has_the_variance_of_its_sinusoids(num_sinusoids):
    power = jakes_power(num_sinusoids)
    assert_mean(power, mean=1, variance=1 - 1 / num_sinusoids + 1e-9)
    if num_sinusoids == 2:  # |h|^2 = 1 + cos of a uniform angle
        assert_mean((power - 1).square(), mean=1 / 2, variance=1 / 8)
        assert_distributed(power, "arcsine", 0, 2)


def test_jakes_of_many_sinusoids_is_rayleigh_and_of_few_is_not():
    assert_distributed(jakes_power(64), "expon")
    with pytest.raises(AssertionError, match="not expon"):
        assert_distributed(jakes_power(3), "expon")


def jakes_power(num_sinusoids):
    process = Jakes(doppler_hz=5.0, round_interval_s=1.0, num_sinusoids=num_sinusoids)
    return rounds(process, first=3)[0].abs().double().square()


WITH_LINE_OF_SIGHT = [
    GaussMarkov(correlation=0.9, k_factor=4.0),
    Jakes(doppler_hz=9.0, round_interval_s=1.0, num_sinusoids=64, k_factor=4.0),
]


@pytest.mark.parametrize("process", WITH_LINE_OF_SIGHT, ids=str)
def test_k_factor_is_recovered(process):
    h, _ = rounds(process, 3)
    power = h[2].abs().double().square()
    assert_mean(power, mean=1, variance=1 - (4 / 5) ** 2)
    assert_distributed(2 * 5 * power, "ncx2", 2, 2 * 4.0)
    assert_distributed(h[2].angle(), "uniform", -math.pi, 2 * math.pi)
    with pytest.raises(AssertionError, match="not ncx2"):
        assert_distributed(2 * 6 * power, "ncx2", 2, 2 * 5.0)


def test_line_of_sight_of_gauss_markov_stays():
    h, _ = rounds(GaussMarkov(correlation=0.0, k_factor=3.0), 2)
    line, scattered = 3 / 4, 1 / 4
    assert_mean((h[0] * h[1].conj()).real, mean=line, variance=line * scattered + scattered**2 / 2)


def test_each_device_has_its_own_doppler():
    dopplers = [10.0, 60.0]
    for process in (
        Jakes(doppler_hz=[dopplers[k % 2] for k in range(NUM_DEVICES)], round_interval_s=0.02),
        GaussMarkov(doppler_hz=[dopplers[k % 2] for k in range(NUM_DEVICES)], round_interval_s=0.02),
    ):
        h, _ = rounds(process, grid=SLOTS)
        for k, doppler in enumerate(dopplers):
            assert_correlated(h[0, k::2, 0, 1], h[0, k::2, 0, 0], j0(2 * math.pi * doppler * 2e-3))


@pytest.mark.parametrize("process", [PROCESSES[0], PROCESSES[4], PROCESSES[6]], ids=str)
def test_antennas_frequencies_and_devices_are_uncorrelated(process):
    grid = Grid(num_slots=1, num_frequency_blocks=2, symbols_per_cell=1)
    h = rounds(process, 2, grid=grid, antennas=2)[0][1, :, :, 0]  # [K, N_r, F]
    assert_correlated(h[:, 0, 0], h[:, 1, 0], 0.0)
    assert_correlated(h[:, 0, 0], h[:, 0, 1], 0.0)
    assert_correlated(h[0::2, 0, 0], h[1::2, 0, 0], 0.0)
    with pytest.raises(AssertionError, match="expected 0"):
        assert_correlated(h[:, 0, 0], h[:, 0, 0] + 0.1 * h[:, 1, 0], 0.0)


@pytest.mark.parametrize("law", [Nakagami(m=2.5), Nakagami(m=0.5), Weibull(shape=1.5), AlphaMu(alpha=3.0, mu=0.7)], ids=str)
def test_correlated_law_has_the_law_and_the_correlation(law):
    process = GaussMarkov(correlation=0.9)
    h, _ = rounds(CorrelatedLaw(law=law, process=process), 2)
    assert_distributed(h[1].abs(), *envelope_of(law))
    z, _ = rounds(process, 2)
    torch.testing.assert_close(h.sgn(), z.sgn())
    in_order = h.flatten().abs()[z.flatten().abs().argsort()]
    assert (in_order.diff() >= -1e-6 * in_order[1:]).all()  # an increasing function of |z|, up to rounding
    with pytest.raises(AssertionError, match="expected 0"):
        assert_correlated(h[0], h[1], 0.0)


def envelope_of(law):
    """Name and arguments of scipy's distribution of |h|."""
    if isinstance(law, Nakagami):
        return "nakagami", law.m
    if isinstance(law, Weibull):
        return "weibull_min", law.shape, 0, 1 / math.sqrt(math.gamma(1 + 2 / law.shape))
    return "gengamma", law.mu, law.alpha, 0, math.sqrt(math.gamma(law.mu) / math.gamma(law.mu + 2 / law.alpha))


def test_correlated_rayleigh_law_is_its_process():
    process = GaussMarkov(correlation=0.9)
    z, _ = rounds(process, 2, num_devices=50)
    for law in (AlphaMu(), Nakagami(m=1.0 + 1e-12)):  # without the table and with it
        h, _ = rounds(CorrelatedLaw(law=law, process=process), 2, num_devices=50)
        torch.testing.assert_close(h, z, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_a_process_continues_where_its_state_says(process, device, global_rng_untouched):
    assert isinstance(process, FadingProcess)
    grid = Grid(num_slots=5, num_frequency_blocks=2, symbols_per_cell=4, slot_s=2e-3)
    whole, after = rounds(process, 4, grid=grid, num_devices=3, antennas=2, device=device)
    assert (whole.dtype, whole.shape) == (torch.complex64, (4, 3, 2, 5, 2))
    assert all(isinstance(value, torch.Tensor) for value in after.values())
    first, state = rounds(process, 2, grid=grid, num_devices=3, antennas=2, device=device)
    saved = {name: value.clone() for name, value in state.items()}
    second, _ = rounds(process, 2, grid=grid, num_devices=3, antennas=2, device=device, first=2, state=saved)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(torch.equal(value, saved[name]) for name, value in state.items())  # the state given is left alone


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_nothing_is_read_on_the_host(process):
    with FakeTensorMode():
        h, _ = rounds(process, 2, grid=SLOTS, num_devices=3)
        assert h.shape == (2, 3, 1, 5, 1)


def test_jakes_gains_do_not_depend_on_how_many_slots_are_asked():
    process = Jakes(doppler_hz=DOPPLER_HZ, round_interval_s=60.0)
    few, many = (
        rounds(process, grid=Grid(num_slots=n, symbols_per_cell=1, slot_s=1e-3), num_devices=4)[0] for n in (7, 1000)
    )
    torch.testing.assert_close(few, many[..., :7, :], atol=1e-5, rtol=0)


def test_many_slots_are_no_loop():
    grid = Grid(num_slots=100_000, symbols_per_cell=1, slot_s=1e-5)
    for process in (GaussMarkov(doppler_hz=5.0, round_interval_s=2.0), Jakes(doppler_hz=5.0, round_interval_s=2.0)):
        with torch.profiler.profile() as profile:
            rounds(process, grid=grid, num_devices=2)
        assert sum(event.count for event in profile.key_averages()) < 1000


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: GaussMarkov(), ValueError, "either correlation or doppler_hz"),
        (lambda: GaussMarkov(correlation=0.5, doppler_hz=1.0), ValueError, "either correlation or doppler_hz"),
        (lambda: GaussMarkov(correlation=1.1), ValueError, r"correlation must lie in \[-1, 1\], got 1.1"),
        (lambda: GaussMarkov(correlation=math.nan), ValueError, "correlation must lie in"),
        (lambda: GaussMarkov(correlation=0.5, slot_correlation=-2.0), ValueError, "slot_correlation must lie in"),
        (lambda: GaussMarkov(correlation=0.5, round_interval_s=1.0), ValueError, "round_interval_s goes with doppler_hz"),
        (
            lambda: GaussMarkov(doppler_hz=1.0, round_interval_s=1.0, slot_correlation=0.5),
            ValueError,
            "slot_correlation goes with correlation",
        ),
        (lambda: GaussMarkov(doppler_hz=1.0), ValueError, "round_interval_s must be finite and > 0 seconds, got None"),
        (lambda: GaussMarkov(doppler_hz=-1.0, round_interval_s=1.0), ValueError, "doppler_hz must be finite and >= 0"),
        (lambda: GaussMarkov(correlation=0.5, k_factor=-1.0), ValueError, "k_factor must be finite"),
        (lambda: Jakes(doppler_hz=[], round_interval_s=1.0), ValueError, "doppler_hz must be finite"),
        (lambda: Jakes(doppler_hz=[1.0, math.nan], round_interval_s=1.0), ValueError, "doppler_hz must be finite"),
        (lambda: Jakes(doppler_hz=1.0, round_interval_s=0.0), ValueError, "round_interval_s must be finite and > 0"),
        (lambda: Jakes(doppler_hz=1.0, round_interval_s=1.0, num_sinusoids=0), ValueError, "num_sinusoids must be >= 1"),
        (lambda: Jakes(doppler_hz=1.0, round_interval_s=1.0, k_factor=math.inf), ValueError, "k_factor must be finite"),
        (
            lambda: CorrelatedLaw(law="nakagami", process=PROCESSES[0]),
            TypeError,
            "law must be an AlphaMu, a Nakagami or a Weibull",
        ),
        (lambda: CorrelatedLaw(law=Nakagami(), process=Rayleigh()), TypeError, "process must have a method advance"),
        (lambda: CorrelatedLaw(law=Nakagami(), process=PROCESSES[1]), ValueError, "process must have k_factor = 0"),
    ],
)
def test_impossible_parameters_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("build", [Jakes, GaussMarkov])
def test_grids_states_and_dopplers_that_do_not_fit_are_refused(build):
    process = build(doppler_hz=10.0, round_interval_s=0.009)
    with pytest.raises(ValueError, match="5 slots needs the grid's slot_s, got None"):
        rounds(process, grid=Grid(num_slots=5, symbols_per_cell=1))
    with pytest.raises(ValueError, match=r"hold the round's 5 slots of 0\.002 s, got 0\.009 s"):
        rounds(process, grid=SLOTS)
    with pytest.raises(ValueError, match="one for each of the 3 devices, got 2"):
        rounds(build(doppler_hz=[1.0, 2.0], round_interval_s=1.0), num_devices=3)
    _, state = rounds(process, num_devices=3)
    with pytest.raises(ValueError, match=r"state must hold '(last|phases)' of shape \[4, 1, 1"):
        rounds(process, num_devices=4, state=state)
    with pytest.raises(ValueError, match="start again with state=None"):
        rounds(process, num_devices=3, state={"other": torch.zeros(3)})
