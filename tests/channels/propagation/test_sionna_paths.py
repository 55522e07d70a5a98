"""Sionna's link-level models: laws, delays, Doppler, axes; bad input."""

import math

import pytest
import scipy.special
import scipy.stats
import torch
from helpers.statistical import FALSE_ALARM, assert_distributed, assert_mean, seeded

from laser_wireless.channels.fading.laws import Rayleigh
from laser_wireless.channels.power_control.full_power import FullPower
from laser_wireless.channels.propagation import sionna_paths
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.paths import draw_paths, mean_powers, rms_delay_spread
from laser_wireless.channels.propagation.sionna_conventions import draw_at, silence_padding
from laser_wireless.channels.propagation.sionna_paths import SionnaCdl, SionnaPaths, SionnaRayleigh, SionnaTdl
from laser_wireless.channels.propagation.sionna_runtime import load_sionna
from laser_wireless.channels.round import Streams
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.uplinks.analog import AnalogUplink
from laser_wireless.channels.waveform import Ofdm

NOW = torch.zeros(1, dtype=torch.float64)
MODELS = [SionnaRayleigh(), SionnaTdl(), SionnaTdl(profile="B100"), SionnaTdl(profile="D", precision="double"), SionnaCdl()]


@pytest.fixture(scope="module", autouse=True)
def sionna():
    pytest.importorskip("sionna")
    return load_sionna()


def paths_of(model, num_devices, num_rx_antennas=1, times=NOW, seed=1, state=None):
    a, tau, _ = draw_paths(model, num_devices, num_rx_antennas, times, round=0, generator=seeded(seed), state=state)
    return a, tau


def flat(model, num_devices, seed=1):
    """Gains [K] of a narrow band."""
    return paths_of(model, num_devices, seed=seed)[0].sum(2).flatten()


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_paths_have_the_promised_shape(model, global_rng_untouched):
    times = torch.arange(3, dtype=torch.float64) * 1e-3
    a, tau = paths_of(model, 5, 2, times)
    assert a.shape == (5, 2, tau.shape[-1], 3)
    assert tau.shape == (5, a.shape[2])
    assert a.dtype == (torch.complex128 if getattr(model, "precision", "single") == "double" else torch.complex64)
    assert torch.equal(paths_of(model, 5, 2, times)[0], a)


@pytest.mark.parametrize("model", [*MODELS, SionnaCdl(profile="D")], ids=str)
def test_mean_power_is_one(model):
    """The phases of the paths are independent, so the variance of |h|^2 is at most 1."""
    assert_mean(flat(model, 2000).abs().square(), mean=1, variance=1)


def test_sionnas_rayleigh_channel_has_the_law_of_ours():
    sionna = flat(SionnaRayleigh(), 20_000)
    ours = Rayleigh()(20_000, 1, Grid(num_slots=1, symbols_per_cell=2), round=0, generator=seeded(2)).flatten()
    assert_distributed(sionna.abs().square(), "expon")
    assert_distributed(sionna.angle(), "uniform", -math.pi, 2 * math.pi)
    for part in (torch.abs, torch.angle):
        assert scipy.stats.ks_2samp(part(sionna).numpy(), part(ours).numpy()).pvalue >= FALSE_ALARM


def test_line_of_sight_is_not_taken_for_rayleigh():
    with pytest.raises(AssertionError, match="not expon"):
        assert_distributed(flat(SionnaTdl(profile="D"), 20_000).abs().square(), "expon")


@pytest.mark.parametrize("delay_spread_s", [30e-9, 300e-9])
def test_tdl_has_the_delay_spread_asked_for(sionna, delay_spread_s):
    model = SionnaTdl(profile="C", delay_spread_s=delay_spread_s)
    a, tau = paths_of(model, 4000)
    reference = model.build(1, 1, device="cpu")
    assert torch.equal(tau[0], reference.delays)
    table = reference.mean_powers / reference.mean_powers.sum()
    for power, mean in zip(mean_powers(a).T, table.tolist(), strict=True):
        assert_mean(power, mean=mean, variance=mean**2, num_comparisons=len(table))  # (1 - 1/20) mean^2 of 20 sinusoids
    # the table has four digits and powers of a tenth of a decibel
    assert rms_delay_spread(table, tau[0]).item() == pytest.approx(delay_spread_s, rel=2e-3)


def test_fixed_profile_has_the_delay_spread_of_its_name():
    _, tau = paths_of(SionnaTdl(profile="C300"), 1)
    assert rms_delay_spread(SionnaTdl(profile="C300").build(1, 1, device="cpu").mean_powers, tau[0]) == pytest.approx(
        300e-9, rel=0.01
    )


def test_tdl_follows_the_jakes_spectrum():
    doppler_hz, lag = 100.0, 2e-3
    model = SionnaTdl(min_speed_m_s=doppler_hz * 299_792_458.0 / 3.5e9)
    a, _ = paths_of(model, 5000, times=torch.tensor([0.0, lag], dtype=torch.float64))
    h = a.sum(2)[:, 0]
    expected = scipy.special.j0(2 * math.pi * doppler_hz * lag)
    product = (h[:, 0] * h[:, 1].conj()).real  # variance (1 + rho^2) / 2 of jointly normal gains
    assert_mean(product, mean=expected, variance=(1 + expected**2) / 2)
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(product, mean=scipy.special.j0(0.8 * 2 * math.pi * doppler_hz * lag), variance=1)


def test_interpolation_between_coarse_steps_has_the_stated_error():
    """One realisation, drawn finely and coarsely from one generator state."""
    doppler_hz, step = 20.0, 4e-3
    speed = doppler_hz * 299_792_458.0 / 3.5e9
    times = torch.arange(0, 0.1, 0.5e-3, dtype=torch.float64)
    fine, _ = paths_of(SionnaTdl(min_speed_m_s=speed, precision="double"), 150, times=times)
    coarse, _ = paths_of(SionnaTdl(min_speed_m_s=speed, precision="double", time_step_s=step), 150, times=times)
    error = (fine - coarse).abs().square().sum() / fine.abs().square().sum()
    assert error.item() == pytest.approx((2 * math.pi * doppler_hz * step) ** 4 / 320, rel=0.15)


def test_devices_drawn_a_few_at_a_time_are_independent(monkeypatch):
    monkeypatch.setattr(sionna_paths, "_LINK_STEPS", 4)
    a, tau = paths_of(SionnaTdl(), 5, 2)  # two devices in each call
    assert a.shape == (5, 2, 24, 1)
    assert tau.shape == (5, 24)
    assert len(a.sum(2).real.unique()) == 10


def test_times_in_any_order_may_be_interpolated():
    def line(num_steps, frequency):
        return (torch.arange(num_steps) / frequency).to(torch.complex128).reshape(1, 1, 1, -1), torch.zeros(1, 1)

    times = torch.tensor([0.25, 0.0, 0.7, 0.31], dtype=torch.float64)
    a, _ = draw_at(line, times, 0.1)
    torch.testing.assert_close(a.flatten().real, times)


@pytest.mark.parametrize("times", [[0.0, 1e-3, 3e-3], [0.0, 0.0], [1e-3, 0.0], [0.0, math.nan]])
def test_times_that_are_not_uniform_are_refused(times):
    with pytest.raises(ValueError, match="times must be uniform and increasing"):
        paths_of(SionnaTdl(), 1, times=torch.tensor(times, dtype=torch.float64))


def effective_rank(model):
    h = paths_of(model, 300, 16)[0].sum(2)[..., 0]
    eigenvalues = torch.linalg.eigvalsh(h.T @ h.conj())
    return (eigenvalues.sum().square() / eigenvalues.square().sum()).item()


def test_cdl_devices_arrive_from_distinct_angles():
    """Participation ratio of the eigenvalues of the covariance over devices: 16 for white antennas."""
    assert effective_rank(SionnaCdl()) > 1.8 * effective_rank(SionnaCdl(sector_deg=0))


def test_cdl_bearings_last_for_a_run():
    model, generator = SionnaCdl(), seeded(3)
    first, _, state = draw_paths(model, 4, 2, NOW, round=0, generator=generator)
    resumed = {name: value.clone() for name, value in state.items()}
    second, _, after = draw_paths(model, 4, 2, NOW, round=1, generator=seeded(4), state=state)
    again, _, _ = draw_paths(model, 4, 2, NOW, round=1, generator=seeded(4), state=resumed)
    assert torch.equal(after["bearing"], state["bearing"])
    assert torch.equal(second, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("paths", [SionnaTdl(delay_spread_s=30e-9), SionnaRayleigh()], ids=["tdl", "rayleigh"])
def test_an_ofdm_uplink_gives_one_estimate_in_frequency_and_in_time(paths):
    symbols = torch.randn(4, 600, generator=seeded(1))

    def estimate(time_domain):
        ofdm = Ofdm(num_subcarriers=24, subcarriers_per_block=1, time_domain=time_domain)
        uplink = AnalogUplink(
            energy_budget=1e3, noise_variance=0.0, fading=Multipath(paths=paths), ofdm=ofdm, power_control=FullPower()
        )
        return uplink.aggregate(symbols, (600,), round=0, streams=Streams(0)).estimate

    difference = (estimate(True) - estimate(False)).square().sum() / estimate(False).square().sum()
    assert difference < 1e-3  # the delay filter of the waveform is cut after 16 samples


def test_selective_gains_come_out_of_multipath():
    grid = Grid(num_slots=3, num_frequency_blocks=4, symbols_per_cell=168, slot_s=1e-3, block_hz=180e3)
    h = Multipath(paths=SionnaTdl())(5, 2, grid, round=0, generator=seeded(1))
    assert h.shape == (5, 2, 3, 4)
    assert (h[..., 0] - h[..., 3]).abs().mean() > 0.01


# a user's own models


def test_any_channel_model_will_do(sionna):
    build = sionna.channel.RayleighBlockFading
    rayleigh = build(2, 3, 4, 1, precision="double", device="cpu")  # two receivers of three antennas
    a, tau = paths_of(SionnaPaths(model=rayleigh, devices="transmitters"), 4, 6)
    assert a.shape == (4, 6, 1, 1)
    assert a.dtype == torch.complex128
    assert tau.shape == (4, 6, 1)

    def built(num_devices, num_rx_antennas, *, device):
        return build(1, num_rx_antennas, num_devices, 1, precision="single", device=device)

    assert paths_of(SionnaPaths(model=built, devices="transmitters"), 4, 6)[0].shape == (4, 6, 1, 1)


def test_receivers_and_antennas_keep_their_order():
    a = torch.arange(24.0).reshape(1, 2, 3, 4, 1, 1, 1).to(torch.complex64) + 1
    tau = torch.arange(8.0).reshape(1, 2, 4, 1)

    def built(num_devices, num_rx_antennas, *, device):
        return lambda batch_size, num_time_steps, sampling_frequency: (a, tau)

    found, delays = paths_of(SionnaPaths(model=built, devices="transmitters"), 4, 6)
    for receiver, antenna, device in [(0, 0, 0), (0, 2, 1), (1, 0, 3), (1, 2, 2)]:
        assert found[device, 3 * receiver + antenna] == a[0, receiver, antenna, device]
        assert delays[device, 3 * receiver + antenna] == tau[0, receiver, device]


def test_fillers_get_delay_zero():
    a = torch.tensor([1.0, 0.0, 2.0]).to(torch.complex64).reshape(1, 1, 3, 1)
    tau = torch.tensor([[1e-6, 9.6, 2e-6]])
    assert silence_padding(a, tau)[1].tolist() == [tau.where(tau < 1, 0).tolist()[0]]
    assert silence_padding(a, tau[:, None])[1].shape == (1, 1, 3)


def test_model_with_other_devices_or_antennas_is_refused():
    tdl = SionnaTdl().build(1, 2, device="cpu")
    with pytest.raises(ValueError, match="must have 3 single-antenna devices as its batch and 4 receive antennas"):
        paths_of(SionnaPaths(model=tdl), 3, 4)
    with pytest.raises(ValueError, match="as transmitters"):
        paths_of(SionnaPaths(model=tdl, devices="transmitters"), 3, 2)


def test_model_on_another_device_is_refused(sionna):
    class Elsewhere(sionna.channel.ChannelModel):
        device = "cuda:7"

        def __call__(self, batch_size, num_time_steps, sampling_frequency):
            raise AssertionError

    with pytest.raises(ValueError, match=r'computes on cuda:7, the uplink on cpu; build it with device="cpu"'):
        paths_of(SionnaPaths(model=Elsewhere(precision="single", device="cpu")), 1)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: SionnaPaths(model="UMi"), TypeError, "model must be a function"),
        (lambda: SionnaPaths(model=print, devices="rows"), ValueError, "devices must be"),
        (lambda: SionnaPaths(model=print, time_step_s=0.0), ValueError, "time_step_s must be finite and > 0"),
        (lambda: SionnaTdl(delay_spread_s=math.nan), ValueError, "delay_spread_s must be finite and > 0"),
        (lambda: SionnaTdl(carrier_hz=0.0), ValueError, "carrier_hz must be finite and > 0"),
        (lambda: SionnaTdl(profile="Z"), ValueError, 'profile must be "A", "B", "C", "D", "E", "A10"'),
        (lambda: SionnaTdl(min_speed_m_s=3.0, max_speed_m_s=1.0), ValueError, "0 <= min_speed_m_s <= max_speed_m_s"),
        (lambda: SionnaCdl(min_speed_m_s=math.nan), ValueError, "0 <= min_speed_m_s <= max_speed_m_s"),
        (lambda: SionnaCdl(profile="C300"), ValueError, 'profile must be "A", "B", "C", "D" or "E", got .C300.'),
        (lambda: SionnaCdl(sector_deg=361.0), ValueError, "sector_deg must be between 0 and 360"),
        (lambda: SionnaCdl(time_step_s=-1.0), ValueError, "time_step_s must be finite and > 0"),
        (lambda: SionnaTdl(precision="half"), ValueError, 'precision must be "single" or "double"'),
        (lambda: SionnaTdl(spec_version="17"), ValueError, r'spec_version must be "16\.1" or "19\.2"'),
    ],
)
def test_bad_parameters_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()
