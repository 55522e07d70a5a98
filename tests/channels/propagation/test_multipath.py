"""Paths become gains and taps: closed forms, Sionna's functions on the same coefficients, and what is asked of a model."""

import cmath
import math

import pytest
import torch
from helpers.statistical import seeded
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from laser_wireless.channels import AnalogUplink, Streams
from laser_wireless.channels.propagation.multipath import Multipath, block_frequencies, slot_times
from laser_wireless.channels.propagation.paths import (
    check_paths,
    draw_paths,
    frequency_response,
    mean_delay,
    mean_powers,
    power_delay_profile,
    rms_delay_spread,
    taps,
)
from laser_wireless.channels.segments import Grid

GRID = Grid(num_slots=3, num_frequency_blocks=4, symbols_per_cell=2, slot_s=1e-3, block_hz=180e3)
TIMES = torch.arange(3, dtype=torch.float64) * 1e-3


def some_paths(*, per_antenna=False, dtype=torch.complex128):
    """a [3, 2, 5, 4] and tau up to a microsecond."""
    a = torch.randn(3, 2, 5, 4, dtype=dtype, generator=seeded(1))
    shape = (3, 2, 5) if per_antenna else (3, 5)
    return a, 1e-6 * torch.rand(shape, dtype=torch.float64, generator=seeded(2))


def two_rays(num_devices, num_rx_antennas, times, *, round, generator):
    """A user's model: a direct ray and an echo 2 microseconds later, of equal power."""
    a = torch.full((num_devices, num_rx_antennas, 2, len(times)), math.sqrt(0.5), dtype=torch.complex64)
    return a, torch.tensor([1e-6, 3e-6]).expand(num_devices, 2)


class Counting:
    """A process whose only amplitude is the number of the call."""

    def advance(self, num_devices, num_rx_antennas, times, *, round, generator, state):
        count = torch.ones(1) if state is None else state["count"] + 1
        a = count.to(torch.complex64).expand(num_devices, num_rx_antennas, 1, len(times))
        return a, torch.zeros(num_devices, 1), {"count": count}


@pytest.fixture(scope="module")
def sionna_channel():
    with torch.random.fork_rng():
        return pytest.importorskip("sionna.phy.channel")


def as_sionna(a, tau):
    """[K, N_r, P, T] -> [batch, rx, rx_ant, tx, tx_ant, paths, time], devices as the batch."""
    delays = tau[:, None, None] if tau.ndim == 2 else tau[:, None, :, None, None]
    return a[:, None, :, None, None], delays


@pytest.mark.parametrize("per_antenna", [False, True])
def test_frequency_response_equals_sionnas(sionna_channel, per_antenna):
    a, tau = some_paths(per_antenna=per_antenna)
    frequencies = sionna_channel.subcarrier_frequencies(12, 30e3, precision="double", device="cpu")
    expected = sionna_channel.cir_to_ofdm_channel(frequencies, *as_sionna(a, tau))[:, 0, :, 0, 0]
    assert expected.dtype == torch.complex128
    found = frequency_response(a, tau, frequencies)
    assert found.shape == (3, 2, 4, 12)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("per_antenna", [False, True])
def test_taps_equal_sionnas(sionna_channel, per_antenna):
    a, tau = some_paths(per_antenna=per_antenna)
    expected = sionna_channel.cir_to_time_channel(20e6, *as_sionna(a, tau), l_min=-6, l_max=25)[:, 0, :, 0, 0]
    found = taps(a, tau, 20e6, -6, 25)
    assert found.shape == (3, 2, 4, 32)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_frequency_response_is_the_sum_over_paths():
    a, tau = some_paths()
    h = frequency_response(a, tau, torch.tensor([-2e5, 0.0, 7e5]))
    for f, hertz in enumerate((-2e5, 0.0, 7e5)):
        turned = sum(a[2, 1, p, 3].item() * cmath.exp(-2j * math.pi * hertz * tau[2, p].item()) for p in range(5))
        assert h[2, 1, 3, f].item() == pytest.approx(turned, rel=1e-12)


def test_two_rays_fade_at_odd_multiples_of_half_the_inverse_delay():
    """|h(f)|^2 = 1 + cos(2 pi f dtau) for two rays of power 1/2."""
    a, tau = two_rays(1, 1, TIMES[:1], round=0, generator=seeded(0))
    f = torch.linspace(-1e6, 1e6, 201, dtype=torch.float64)
    h = frequency_response(a.to(torch.complex128), tau, f).flatten()
    expected = 1 + torch.cos(2 * math.pi * f * (tau[0, 1].double() - tau[0, 0].double()))
    torch.testing.assert_close(h.abs().square(), expected, rtol=0, atol=1e-7)  # sqrt(0.5) in single precision
    assert h.abs().square().min() < 1e-7


def test_delays_of_many_turns_lose_no_phase_in_single_precision():
    a = torch.ones(1, 1, 1, 1, dtype=torch.complex64)
    tau = torch.tensor([[1e-4]], dtype=torch.float64)  # 30 km: 2000 turns at 20 MHz
    f = torch.tensor([20e6 + 1.25e3], dtype=torch.float64)
    h = frequency_response(a, tau, f).item()
    assert h == pytest.approx(cmath.exp(-2j * math.pi * 0.125), abs=1e-6)


def test_taps_keep_a_delay_of_whole_samples_and_lose_no_more_than_stated():
    fractions = torch.linspace(-0.5, 0.5, 41, dtype=torch.float64)
    a = torch.ones(41, 1, 1, 1, dtype=torch.complex128)
    for kept in (1, 3, 6, 20, 100):
        h = taps(a, fractions[:, None] / 1e6, 1e6, -kept, kept)
        lost = 1 - h.abs().square().sum(-1).flatten()
        bound = (2 * kept + 1) / (math.pi**2 * kept * (kept + 1))
        assert lost.max() <= bound
        assert lost.max() >= 0.8 * bound  # the bound is worth stating
        assert lost[20].abs() < 1e-12


def test_taps_and_frequency_response_are_fourier_pairs_within_the_band():
    a, tau = some_paths()
    bandwidth, reach = 10e6, 4000
    f = torch.linspace(-0.3, 0.3, 7, dtype=torch.float64)
    lags = torch.arange(-reach, reach + 1, dtype=torch.float64)
    spectrum = taps(a, tau, bandwidth, -reach, reach) @ torch.exp(-2j * math.pi * lags[:, None] * f)
    torch.testing.assert_close(spectrum, frequency_response(a, tau, f * bandwidth), rtol=0, atol=2e-3)


def test_slots_without_a_path_add_nothing():
    a, tau = some_paths()
    f = torch.tensor([1e5, 3e5])
    padded = (
        torch.cat([a, torch.zeros_like(a[:, :, :2])], dim=2),
        torch.cat([tau, torch.tensor([[9.6, -1.0]]).expand(3, 2)], 1),
    )
    assert torch.equal(frequency_response(*padded, f), frequency_response(a, tau, f))
    torch.testing.assert_close(taps(*padded, 1e6, -3, 8), taps(a, tau, 1e6, -3, 8))
    spread = rms_delay_spread(mean_powers(a), tau)
    torch.testing.assert_close(rms_delay_spread(mean_powers(padded[0]), padded[1]), spread)


def test_leading_axes_broadcast():
    a, tau = some_paths()
    f = torch.tensor([1e5, 3e5])
    batch = torch.stack([a, 2 * a]), torch.stack([tau, 2 * tau])
    for i, (one, delays) in enumerate(zip(*batch, strict=True)):
        torch.testing.assert_close(frequency_response(*batch, f)[i], frequency_response(one, delays, f))
        torch.testing.assert_close(taps(*batch, 1e6, -3, 8)[i], taps(one, delays, 1e6, -3, 8))


class Largest(TorchDispatchMode):
    """Counts the numbers in the largest tensor that is formed."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.untyped_storage().nbytes() // 16)
        return out


def test_no_tensor_over_paths_times_and_frequencies_is_formed():
    a, tau = torch.ones(2, 8, 10, 20, dtype=torch.complex128), torch.ones(2, 10)
    with Largest() as largest:
        h = frequency_response(a, tau, torch.arange(30.0))
    assert largest.numbers <= h.numel()  # 9600; with the paths it would be ten times that


@pytest.mark.parametrize("per_antenna", [False, True])
def test_gradients(per_antenna):
    a, _ = some_paths()
    tau = torch.rand((3, 2, 5) if per_antenna else (3, 5), dtype=torch.float64, generator=seeded(3))
    a, tau = a.requires_grad_(), tau.requires_grad_()
    f = torch.tensor([-0.4, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(frequency_response, (a, tau, f))
    assert torch.autograd.gradcheck(lambda a, tau: taps(a, tau, 2.0, -2, 3), (a, tau))
    if not per_antenna:
        assert torch.autograd.gradcheck(lambda a, tau: rms_delay_spread(mean_powers(a), tau), (a, tau))


def test_delay_spread_of_two_rays_and_of_none():
    powers = torch.tensor([[0.8, 0.2], [0.0, 3.0], [0.0, 0.0]], requires_grad=True)
    tau = torch.tensor([1e-6, 3e-6])
    spread = rms_delay_spread(powers, tau)
    torch.testing.assert_close(spread, torch.tensor([0.4 * 2e-6, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(mean_delay(powers, tau), torch.tensor([1.4e-6, 3e-6, 0.0], dtype=torch.float64))
    spread.sum().backward()
    assert powers.grad.isfinite().all()


def test_power_delay_profile_collects_the_power_of_each_bin():
    powers = torch.tensor([[1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, 0.0]])
    tau = torch.tensor([[0.0, 1.9e-6, 1.1e-6, 9.6], [2.5e-6, -0.5e-6, 2.1e-6, 0.0]])
    profile = power_delay_profile(powers, tau, bin_s=1e-6, num_bins=3)
    assert profile.tolist() == [[1, 6, 0], [0, 0, 5]]


def test_times_and_frequencies_of_a_grid():
    assert slot_times(GRID, "cpu").tolist() == [0, 0.001, 0.002]
    assert block_frequencies(GRID, "cpu").tolist() == [-270e3, -90e3, 90e3, 270e3]
    one = Grid(num_slots=1, symbols_per_cell=2)
    assert slot_times(one, "cpu").tolist() == block_frequencies(one, "cpu").tolist() == [0]


def test_selective_gains_are_the_response_and_flat_ones_the_sum():
    h = Multipath(paths=two_rays)(3, 2, GRID, round=0, generator=seeded(0))
    a, tau = two_rays(3, 2, TIMES, round=0, generator=seeded(0))
    assert torch.equal(h, frequency_response(a, tau, block_frequencies(GRID, "cpu")))
    flat = Multipath(paths=two_rays, frequency="flat")(3, 2, GRID, round=0, generator=seeded(0))
    torch.testing.assert_close(flat, torch.full((3, 2, 3, 1), math.sqrt(2), dtype=torch.complex64))


def test_a_process_keeps_its_state_and_a_function_needs_none():
    fading, state = Multipath(paths=Counting(), frequency="flat"), None
    for round in range(3):
        h, state = fading.advance(2, 1, GRID, round=round, generator=seeded(round), state=state)
        assert h.real.unique().tolist() == [round + 1]
    assert fading(2, 1, GRID, round=3, generator=seeded(3)).real.unique().tolist() == [1]
    assert Multipath(paths=two_rays).advance(2, 1, GRID, round=0, generator=seeded(0), state=None)[1] == {}


def test_multipath_serves_the_uplink(global_rng_untouched):
    uplink = AnalogUplink(energy_budget=1e8, fading=Multipath(paths=two_rays))
    u = torch.randn(4, 6, generator=seeded(1))
    estimate = uplink.aggregate(u, (6,), round=0, streams=Streams(0)).estimate
    torch.testing.assert_close(estimate, u.mean(0), rtol=0, atol=1e-2)


def test_nothing_is_read_back():
    with FakeTensorMode():
        for frequency in ("flat", "selective"):
            h = Multipath(paths=two_rays, frequency=frequency)(3, 2, GRID, round=0, generator=seeded(0))
            assert h.shape == (3, 2, 3, 4 if frequency == "selective" else 1)
        a, tau = some_paths()
        assert taps(a, tau, 1e6, -3, 4).shape == (3, 2, 4, 8)
        power_delay_profile(mean_powers(a), tau, bin_s=1e-7, num_bins=4)


def test_a_grid_that_knows_no_times_or_frequencies_is_refused():
    slots, blocks = Grid(num_slots=2, symbols_per_cell=1), Grid(num_slots=1, num_frequency_blocks=2, symbols_per_cell=1)
    with pytest.raises(ValueError, match="seconds between the grid's 2 slots; give the grid its slot_s"):
        Multipath(paths=two_rays)(2, 1, slots, round=0, generator=seeded(0))
    with pytest.raises(ValueError, match="hertz between the grid's 2 frequency blocks; give the grid its block_hz"):
        Multipath(paths=two_rays)(2, 1, blocks, round=0, generator=seeded(0))
    assert Multipath(paths=two_rays, frequency="flat")(2, 1, blocks, round=0, generator=seeded(0)).shape == (2, 1, 1, 1)


def returning(*values):
    def my_paths(num_devices, num_rx_antennas, times, *, round, generator):
        return values

    return my_paths


A, TAU = torch.ones(2, 1, 3, 1, dtype=torch.complex64), torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("paths", "error", "message"),
    [
        (returning(A), TypeError, r"paths my_paths must return the tuple \(a, tau\), got tuple"),
        (returning(A, [0.0]), TypeError, r"must return tensors a and tau, got \(Tensor, list\)"),
        (returning(A.real, TAU), TypeError, r"my_paths: a must be complex, got torch\.float32"),
        (returning(A, TAU.long()), TypeError, r"tau must be real seconds, float32 or float64, got torch\.int64"),
        (returning(A, TAU[:1]), ValueError, r"tau \[K, P\] or \[K, N_r, P\], got \[2, 1, 3, 1\] and \[1, 3\]"),
        (returning(A[..., 0], TAU), ValueError, r"a must be \[K, N_r, P, T\]"),
        (returning(A[:1], TAU[:1]), ValueError, r"\[2, 1, P, 1\], got \[1, 1, 3, 1\]"),
        (returning(A.expand(-1, -1, -1, 4), TAU), ValueError, r"\[2, 1, P, 1\], got \[2, 1, 3, 4\]"),
        (returning(A.to("meta"), TAU.to("meta")), TypeError, "must return tensors on cpu, got meta"),
    ],
)
def test_a_model_of_paths_is_told_what_is_wrong(paths, error, message):
    with pytest.raises(error, match=message):
        draw_paths(paths, 2, 1, torch.zeros(1, dtype=torch.float64), round=0, generator=seeded(0))


def test_a_process_without_its_state_is_told():
    class Forgetful:
        def advance(self, num_devices, num_rx_antennas, times, *, round, generator, state):
            return A, TAU

    with pytest.raises(TypeError, match=r"Forgetful.*must return the tuple \(a, tau, state\)"):
        draw_paths(Forgetful(), 2, 1, torch.zeros(1, dtype=torch.float64), round=0, generator=seeded(0))


def test_bad_options_are_refused():
    with pytest.raises(TypeError, match=r"paths must be a function .* or an object with a method advance.*, got 3"):
        Multipath(paths=3)
    with pytest.raises(ValueError, match='frequency must be "flat" or "selective"'):
        Multipath(paths=two_rays, frequency="wide")
    with pytest.raises(ValueError, match="bandwidth_hz must be finite and > 0, got nan"):
        taps(A, TAU, math.nan, 0, 1)
    with pytest.raises(ValueError, match="l_max must be >= l_min, got l_min 2 and l_max 1"):
        taps(A, TAU, 1e6, 2, 1)
    with pytest.raises(ValueError, match="bin_s must be finite and > 0"):
        power_delay_profile(TAU, TAU, bin_s=0.0, num_bins=1)
    with pytest.raises(ValueError, match="num_bins must be >= 1"):
        power_delay_profile(TAU, TAU, bin_s=1.0, num_bins=0)
    with pytest.raises(TypeError, match=r"^a must be complex"):
        check_paths(A.real, TAU)
