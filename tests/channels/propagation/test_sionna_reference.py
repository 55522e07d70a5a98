"""Our OFDM gains, taps and superposition against Sionna's own channels on the same coefficients."""

import subprocess
import sys

import pytest
import torch
from helpers.statistical import seeded

from laser_wireless.channels.propagation.paths import draw_paths, frequency_response, taps
from laser_wireless.channels.propagation.sionna_paths import SionnaTdl
from laser_wireless.channels.propagation.sionna_runtime import load_sionna, sionna_draws_from
from laser_wireless.channels.propagation.sionna_topology import SionnaCell

K, N_R = 3, 2
TOLERANCE = {"single": 1e-5, "double": 1e-10}
MODELS = {
    "tdl": lambda precision: SionnaTdl(delay_spread_s=300e-9, min_speed_m_s=30.0, precision=precision),
    "umi": lambda precision: SionnaCell(min_speed_m_s=30.0, precision=precision),
}


@pytest.fixture(scope="module", autouse=True)
def sionna():
    pytest.importorskip("sionna")
    return load_sionna()


@pytest.fixture(params=["single", "double"])
def precision(request):
    return request.param


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


class Given:
    """A channel model in Sionna's order that returns given coefficients."""

    def __init__(self, a, tau):
        self.a, self.tau = a.transpose(0, 1)[None, None, :, :, None], tau[None, None]

    def __call__(self, batch_size, num_time_steps, sampling_frequency):
        assert self.a.shape[-1] == num_time_steps
        return self.a, self.tau


def draw(name, precision, num_steps, step_s):
    times = torch.arange(num_steps, dtype=torch.float64) * step_s
    a, tau, _ = draw_paths(MODELS[name](precision), K, N_R, times, round=0, generator=seeded(1))
    return a, tau


def assert_equal(ours, theirs, precision):
    assert ours.dtype == theirs.dtype
    error = (ours - theirs).abs().max() / theirs.abs().max()
    assert error < TOLERANCE[precision], f"largest difference {error:.2g} of the largest value"


def test_frequency_domain_is_sionnas_ofdm_channel(sionna, name, precision):
    grid = sionna.ofdm.ResourceGrid(
        num_ofdm_symbols=5, fft_size=24, subcarrier_spacing=15e3, num_tx=K, precision=precision, device="cpu"
    )
    a, tau = draw(name, precision, 5, grid.ofdm_symbol_duration)
    channel = sionna.channel.OFDMChannel(Given(a, tau), grid, return_channel=True, precision=precision, device="cpu")
    x = torch.randn(K, 5, 24, dtype=a.dtype, generator=seeded(2))
    with sionna_draws_from(seeded(3)):
        y, h_freq = channel(x[None, :, None])
    frequencies = sionna.channel.subcarrier_frequencies(24, 15e3, precision="double", device="cpu")
    h = frequency_response(a, tau, frequencies)
    assert_equal(h, h_freq[0, 0, :, :, 0].transpose(0, 1), precision)
    assert_equal((h * x[:, None]).sum(0), y[0, 0], precision)


def test_another_delay_is_noticed(sionna):
    a, tau = draw("tdl", "single", 1, 1.0)
    frequencies = sionna.channel.subcarrier_frequencies(24, 15e3, precision="double", device="cpu")
    with pytest.raises(AssertionError, match="largest difference"):
        assert_equal(frequency_response(a, tau * 1.001, frequencies), frequency_response(a, tau, frequencies), "single")


def test_time_domain_is_sionnas_time_channel(sionna, name, precision):
    bandwidth_hz, num_samples, l_min, l_max = 5e6, 40, -6, 20
    num_taps = l_max - l_min + 1
    a, tau = draw(name, precision, num_samples + num_taps - 1, 1 / bandwidth_hz)
    channel = sionna.channel.TimeChannel(
        Given(a, tau),
        bandwidth_hz,
        num_samples,
        l_min=l_min,
        l_max=l_max,
        return_channel=True,
        precision=precision,
        device="cpu",
    )
    x = torch.randn(K, num_samples, dtype=a.dtype, generator=seeded(2))
    with sionna_draws_from(seeded(3)):
        y, h_time = channel(x[None, :, None])
    h = taps(a, tau, bandwidth_hz, l_min, l_max)  # [K, N_r, samples, taps]
    assert_equal(h, h_time[0, 0, :, :, 0].transpose(0, 1), precision)
    late = torch.nn.functional.pad(x, (num_taps - 1, num_taps - 1)).unfold(-1, num_taps, 1).flip(-1)  # x[n - l]
    assert_equal((h * late[:, None]).sum((0, -1)), y[0, 0], precision)


MEMORY = """
import resource, torch
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.sionna_topology import SionnaCell
from laser_wireless.channels.waveform import Ofdm

torch.set_num_threads(1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
fading = Multipath(paths=SionnaCell())
generator = torch.Generator().manual_seed(0)
fading(2, 1, Ofdm().grid(10**5), round=0, generator=generator)
before = peak()
h = fading(16, 4, Ofdm().grid(10**7), round=0, generator=generator)
print(peak() - before, *h.shape)
"""


@pytest.mark.slow
def test_gains_of_ten_million_symbols_fit_in_memory():
    """16 devices, 4 antennas: a gain per symbol would take 2.4 GiB, the message itself takes 0.6."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    mebibytes, *shape = map(float, done.stdout.split())
    assert shape == [16, 4, 298, 100]
    assert mebibytes < 300
