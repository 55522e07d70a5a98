"""`laser check`: our own parts hold every property; a planted fault in each kind is found."""

import time
from dataclasses import dataclass

import pytest
import torch

from laser_wireless.benchmarks.checks.channel_parts import properties_of_channel_part
from laser_wireless.benchmarks.checks.command import KINDS, check
from laser_wireless.benchmarks.checks.schemes import properties_of_scheme
from laser_wireless.benchmarks.checks.tasks import properties_of_task
from laser_wireless.benchmarks.tasks import Digits
from laser_wireless.channels import (
    AlignedInversion,
    CellGain,
    Clipping,
    DigitalUplink,
    EnergyDifference,
    FullPower,
    GaussMarkov,
    LeastNoiseAllocation,
    Lmmse,
    NormAllocation,
    PilotCsi,
    RandomDropout,
    Rayleigh,
    StepEnergy,
    Streams,
    TappedDelayLine,
    Transceiver,
    Unnormalised,
)
from laser_wireless.compression import LowRank, Message, RandomK, Sign, Uncompressed

OURS = [
    ("fading", Rayleigh()),
    ("fading", GaussMarkov(correlation=0.9)),
    ("fading", TappedDelayLine(profile="C", delay_spread_s=1e-7)),
    ("power_control", FullPower()),
    ("receiver", Lmmse(alternations=1)),
    ("csi", PilotCsi()),
    ("allocation", LeastNoiseAllocation()),
    ("impairments", Clipping(saturation_db=0.0)),
    ("participation", RandomDropout(drop_probability=0.3)),
    ("link_gain", CellGain()),
    ("energy_budget", StepEnergy(energy_budget=3.0, num_rounds=30)),
    ("uplink", DigitalUplink(energy_budget=100.0, fading=Rayleigh())),
    ("uplink", EnergyDifference(energy_budget=100.0, fading=Rayleigh(), num_chips=2, coherence="chip")),
]
SCHEMES = [LowRank(rank=2), Sign(), RandomK(fraction=0.3), Uncompressed(error_feedback=True)]


def failed(findings):
    """Names of the properties that do not hold."""
    return {finding.property for finding in findings if finding.holds is False}


@pytest.mark.parametrize(("slot", "part"), OURS, ids=lambda value: str(value)[:30])
def test_our_parts_hold_every_property(slot, part):
    assert slot in KINDS
    assert not failed(properties_of_channel_part(slot, part))


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_our_schemes_hold_every_property(scheme):
    assert not failed(properties_of_scheme(scheme))


def test_our_task_holds_every_property():
    assert not failed(properties_of_task(Digits(width=8)))


class Deaf(Digits):
    """Draws the same batches whatever the seed."""

    def batches(self, round, num_devices, streams):
        return super().batches(round, num_devices, Streams(0))


def test_a_task_that_ignores_the_seed_is_found():
    assert failed(properties_of_task(Deaf(width=8))) == {"another seed gives other batches"}


def weak(num_devices, num_rx_antennas, grid, *, round, generator):
    return 0.5 * Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)


def elsewhere(num_devices, num_rx_antennas, grid, *, round, generator):
    return torch.randn(num_devices, num_rx_antennas, grid.num_slots, grid.num_frequency_blocks, dtype=torch.complex64)


def flat_only(num_devices, num_rx_antennas, grid, *, round, generator):
    return torch.randn(num_devices, num_rx_antennas, dtype=torch.complex64, generator=generator)


def reader(num_devices, num_rx_antennas, grid, *, round, generator):
    h = Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)
    return h if h.abs().max() > 0 else -h


def loud(h, norms, energy, noise_variance, *, agreement):
    found = AlignedInversion()(h, norms, energy, noise_variance, agreement=agreement)
    return found._replace(precoder=1.1 * found.precoder)


def restless(norms, block_sizes, air):
    return NormAllocation()(norms, block_sizes, air) * (1 + time.perf_counter_ns() % 1000) ** torch.arange(len(block_sizes))


def careless(h, norms, energy, noise_variance, *, agreement):
    one = torch.ones_like(norms)  # divides by the norm of a message that may be zero
    return Transceiver(one * (energy.sum(-1, keepdim=True).sqrt() / norms / 10), one[..., :1, :], one, one > 0)


FAULTS = [
    ("fading", weak, "E|h|^2 is 1"),
    ("fading", elsewhere, "torch's own generator is left alone"),
    ("fading", elsewhere, "equal seeds give equal rounds"),
    ("fading", flat_only, "gains have the shapes of grids"),
    ("fading", Unnormalised(fading=reader), "no value is read on the host"),
    ("power_control", loud, "no device exceeds its energy"),
    ("power_control", careless, "estimates are finite at any scale"),
    ("allocation", restless, "equal seeds give equal rounds"),
]


@pytest.mark.parametrize(("slot", "part", "property"), FAULTS, ids=lambda value: getattr(value, "__name__", str(value))[:30])
def test_planted_faults_are_found(slot, part, property):
    with torch.random.fork_rng([]):
        assert property in failed(properties_of_channel_part(slot, part))


@dataclass(frozen=True, kw_only=True)
class Forgetful(Uncompressed):
    """Says that it keeps what it does not send, and does not."""

    error_feedback: bool = True

    def encode(self, gradients, state, *, round):
        return Message(gradients[:, ::2].contiguous(), (-(-gradients.shape[1] // 2),))

    def subtract_(self, memory, sent, delivered, state, *, round):
        memory.zero_()

    def decode(self, estimate, state, *, round, noise_variance=None, out=None):
        whole = torch.zeros(2 * len(estimate), dtype=estimate.dtype)
        whole[::2] = estimate
        return Uncompressed.decode(self, whole, state, round=round, noise_variance=noise_variance)


@dataclass(frozen=True, kw_only=True)
class Writer(Uncompressed):
    """Writes into the gradients, and claims another number of symbols."""

    def encode(self, gradients, state, *, round):
        gradients.mul_(2)
        return Message(gradients, (gradients.shape[1] - 1,))


def test_planted_faults_of_schemes_are_found():
    assert "without noise, decoded plus kept is what was asked" in failed(properties_of_scheme(Forgetful()))
    found = failed(properties_of_scheme(Writer()))
    assert {"the gradients are left alone", "the message has the symbols of its layout"} <= found


def test_the_command_says_what_holds(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine_to_check.py").write_text(
        "import torch\n\n\n"
        "def law(devices, antennas, grid, *, round, generator, gain: float = 1.0):\n"
        "    shape = (devices, antennas, grid.num_slots, grid.num_frequency_blocks)\n"
        "    return gain * torch.randn(shape, dtype=torch.complex64, generator=generator)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert check(["mine_to_check.law"]) == 0
    assert "E|h|^2 is 1" in capsys.readouterr().out
    assert check(["mine_to_check.law", "--gain", "2"]) == 1
    assert "FAILS" in capsys.readouterr().out
    assert check(["--help"]) == 0
    assert "--as KIND" in capsys.readouterr().out
