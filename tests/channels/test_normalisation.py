"""A law that is not normalised is refused before the run, one that is never, and no draw of the run shifts by it."""

import itertools
import math

import pytest
import torch

from laser_wireless.benchmarks.assembly import build, component
from laser_wireless.benchmarks.bound_function import BoundFunction
from laser_wireless.benchmarks.channel_views.error import study_error
from laser_wireless.benchmarks.channel_views.study import ChannelStudy
from laser_wireless.benchmarks.options import read_options
from laser_wireless.benchmarks.training_run import TrainingRun
from laser_wireless.channels import (
    AnalogBroadcast,
    AnalogUplink,
    DigitalBroadcast,
    DigitalUplink,
    EnergyDifference,
    FskMajorityVote,
    FullPower,
    Multipath,
    Nakagami,
    Ofdm,
    Rayleigh,
    Streams,
    TappedDelayLine,
    TensorFlowFading,
    TruncatedInversion,
    Unnormalised,
    draw_rounds,
)
from laser_wireless.channels.fading import normalisation
from laser_wireless.channels.fading.mean_power import check_normalised
from laser_wireless.channels.segments import Grid
from laser_wireless.compression import Sign, Uncompressed
from laser_wireless.training import UplinkBridge

GRID = Grid(num_slots=1, symbols_per_cell=2)
DECIBEL = 10**0.1
WHOLE = normalisation._GAINS


@pytest.fixture(autouse=True)
def _small_samples(monkeypatch):
    """An eighth of the gains, for tests that are not about the bounds."""
    monkeypatch.setattr(normalisation, "_GAINS", WHOLE // 8)


def rayleigh(power: float = 1.0):
    def users_law(num_devices, num_rx_antennas, grid, *, round, generator):
        h = Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)
        return h * math.sqrt(power)

    return users_law


def lognormal(power: float = 1.0, sigma_db: float = 8.0):
    """Shadowing within the small-scale gains: half of the mean power comes from one gain in a hundred."""
    sigma = sigma_db * math.log(10) / 10

    def users_law(num_devices, num_rx_antennas, grid, *, round, generator):
        x = torch.randn(num_devices, 1, 1, 1, dtype=torch.float64, generator=generator)
        return (power * torch.exp(sigma * x - sigma**2 / 2)).sqrt()

    return users_law


def two_paths(power: float = 1.0):
    def users_paths(num_devices, num_rx_antennas, times, *, round, generator):
        shape = (num_devices, num_rx_antennas, 2, 1)
        a = torch.randn(shape, dtype=torch.complex64, generator=generator) * math.sqrt(power / 2)
        return a.expand(-1, -1, -1, len(times)), torch.tensor([[0.0, 1e-6]]).expand(num_devices, -1)

    return users_paths


def replay(power: float = 1.0, num_rounds: int = 40):
    """Slow gains that a file might hold: nothing is drawn, and there are only so many rounds."""
    h = Rayleigh()(
        64, 1, Grid(num_slots=num_rounds, symbols_per_cell=1), round=0, generator=torch.Generator().manual_seed(3)
    )
    for round in range(1, num_rounds):
        h[:, :, round] = 0.9 * h[:, :, round - 1] + math.sqrt(1 - 0.81) * h[:, :, round]
    h = h * math.sqrt(power) / h.abs().square().mean().sqrt()

    def users_law(num_devices, num_rx_antennas, grid, *, round, generator):
        return h[:num_devices, :, round].unsqueeze(-1)[:, :, [0]] if round < num_rounds else h[:, :, 99:][0, 0, 0]

    return users_law


class Process:
    """Gains that remember: h moves towards a new draw, stationary from the first round on."""

    def __init__(self, power: float = 1.0):
        self.power = power

    def advance(self, num_devices, num_rx_antennas, grid, *, round, generator, state):
        new = Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)
        h = new if state is None else 0.9 * state["h"] + math.sqrt(1 - 0.81) * new
        return h * math.sqrt(self.power), {"h": h}


def check(fading, num_devices: int = 8, **more) -> None:
    check_normalised(fading, num_devices, GRID, device="cpu", **more)


MAKERS = [rayleigh, two_paths, replay, Process, lambda power=1.0: Multipath(paths=two_paths(power))]


@pytest.mark.parametrize("make", MAKERS, ids=["law", "paths", "replay", "process", "multipath"])
@pytest.mark.parametrize("num_devices", [4, 50])
def test_twenty_decibels_are_told_with_their_remedies(make, num_devices):
    with pytest.raises(ValueError, match=r"fading must have E\|h\|\^2 = 1, that of .* is .*dB; over \d+ rounds") as caught:
        check(make(100.0), num_devices)
    assert "link_gain" in str(caught.value)
    assert "fading=Unnormalised(fading=...)" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="dB"):
        check(make(0.01), num_devices)


@pytest.mark.parametrize("make", MAKERS, ids=["law", "paths", "replay", "process", "multipath"])
@pytest.mark.parametrize("num_devices", [4, 50])
def test_normalised_laws_pass(make, num_devices):
    check(make(1.0), num_devices)


def test_the_measured_value_is_told():
    with pytest.raises(ValueError, match=r"that of users_law is 4\.\d+ \(\+6\.\d dB; over 128 rounds\)"):
        check(rayleigh(4.0))
    with pytest.raises(ValueError, match=r"is 0 .no power at all; over"):
        check(rayleigh(0.0))


@pytest.mark.parametrize("power", [DECIBEL, 1 / DECIBEL])
@pytest.mark.parametrize("num_devices", [1, 8, 100])
def test_one_decibel_is_seen_for_certain(power, num_devices):
    """Mean and bound of a sample of the rule's own size, over many samples: none passes."""
    for sample in range(20):
        powers = power * drawn(Rayleigh(), sample, num_devices)
        assert not normalisation.mean_power(powers, independent=True).is_one
    for sample in range(20):
        powers = drawn(Rayleigh(), sample, num_devices)
        assert normalisation.mean_power(powers, independent=True).is_one


@pytest.mark.parametrize("law", [lognormal(), lognormal(sigma_db=12.0), Nakagami(m=0.5)], ids=["8 dB", "12 dB", "Nakagami"])
@pytest.mark.parametrize("num_devices", [1, 16])
def test_heavy_tails_are_no_reason_to_refuse(law, num_devices):
    for sample in range(40):
        assert normalisation.mean_power(drawn(law, sample, num_devices), independent=True).is_one


def test_heavy_tails_do_not_hide_twenty_decibels():
    for power in (100.0, 0.01):
        assert not normalisation.mean_power(power * drawn(lognormal(), 0, 16), independent=True).is_one


def drawn(law, sample: int, num_devices: int) -> torch.Tensor:
    """Powers [R, K] as the check draws them: rounds enough for its number of gains."""
    num_rounds = min(max(WHOLE // num_devices, normalisation._FEWEST), normalisation._MOST)
    h = law(num_devices * num_rounds, 1, GRID, round=0, generator=torch.Generator().manual_seed(sample))
    return h.abs().double().square().view(num_rounds, num_devices)


def test_a_constant_is_measured_exactly():
    def wire(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.ones(1, 1, 1, 1)

    def loud(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.full((1, 1, 1, 1), 1.1)

    check(wire)
    with pytest.raises(ValueError, match=r"that of loud is 1\.21 \(\+0\.8 dB"):
        check(loud)


def test_links_that_differ_are_judged_by_their_mean():
    def unequal(num_devices, num_rx_antennas, grid, *, round, generator):
        large = torch.tensor([0.2, 1.8]).sqrt().view(2, 1, 1, 1)
        return large * Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)

    check(unequal, 2)


def test_gains_that_are_not_finite_are_left_to_the_runs_own_error():
    def broken(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.full((num_devices, 1, 1, 1), math.nan)

    check(broken)


def test_gains_of_the_wrong_shape_are_told_as_ever():
    def wrong(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.ones(3)

    with pytest.raises(ValueError, match="fading wrong must return gains of shape"):
        check(wrong)


def counted(law):
    def users_law(*args, **options):
        users_law.calls += 1
        return law(*args, **options)

    users_law.calls = 0
    return users_law


def test_a_law_is_measured_once():
    law = counted(rayleigh())
    check(law)
    first = law.calls
    check(law)
    assert law.calls == first > 64


def test_a_slow_law_is_asked_for_few_rounds(monkeypatch):
    monkeypatch.setattr(normalisation, "_SECONDS", 0.0)
    law = counted(rayleigh())
    check(law)
    assert law.calls == 9  # round 0 twice
    with pytest.raises(ValueError, match="over 8 rounds"):
        check(rayleigh(100.0))


@pytest.mark.parametrize(
    "fading",
    [
        Rayleigh(),
        TappedDelayLine(profile="C", delay_spread_s=1e-7),
        Multipath(paths=TappedDelayLine(profile="A", delay_spread_s=1e-7)),
    ],
)
def test_laws_of_the_package_are_not_drawn(monkeypatch, fading):
    monkeypatch.setattr("laser_wireless.channels.fading.mean_power.sample", lambda *args: pytest.fail("drawn"))
    check(fading)
    with pytest.raises(pytest.fail.Exception, match="drawn"):
        check(Multipath(paths=two_paths()))


@pytest.mark.parametrize("make", MAKERS, ids=["law", "paths", "replay", "process", "multipath"])
def test_what_is_meant_passes_and_changes_no_gain(make):
    law = make(100.0)
    check(Unnormalised(fading=law))
    plain = uplink_rounds(AnalogUplink(energy_budget=1.0, fading=law))
    meant = uplink_rounds(AnalogUplink(energy_budget=1.0, fading=Unnormalised(fading=law)))
    assert all(torch.equal(a, b) for a, b in zip(plain, meant, strict=True))
    once, twice = Unnormalised(fading=law), Unnormalised(fading=Unnormalised(fading=law))
    first, second = (model(3, 1, GRID, round=1, generator=torch.Generator().manual_seed(0)) for model in (once, twice))
    assert torch.equal(first, second)


def uplink_rounds(uplink: AnalogUplink) -> list[torch.Tensor]:
    u, estimates, state = torch.arange(1.0, 13.0).view(3, 4), [], None
    for round in range(3):
        reception = uplink.aggregate(u, (4,), round=round, streams=Streams(5), state=state)
        estimates.append(reception.estimate)
        state = reception.state
    return estimates


def test_what_is_meant_keeps_its_paths_in_a_waveform():
    ofdm = Ofdm(num_subcarriers=16, symbols_per_slot=1, subcarriers_per_block=4, time_domain=True)
    options = {"energy_budget": 10.0, "ofdm": ofdm, "power_control": TruncatedInversion(threshold=0.1)}
    plain = uplink_rounds(AnalogUplink(fading=two_paths(), **options))
    meant = uplink_rounds(AnalogUplink(fading=Unnormalised(fading=two_paths()), **options))
    assert all(torch.equal(a, b) for a, b in zip(plain, meant, strict=True))


def bridge_of(fading, **links) -> UplinkBridge:
    links = links or {"uplink": AnalogUplink(energy_budget=10.0, fading=fading, power_control=TruncatedInversion())}
    model = torch.nn.Linear(3, 2)
    for p in model.parameters():
        torch.nn.init.constant_(p, 0.1)
    return UplinkBridge(model, num_devices=4, compressor=Uncompressed(), seed=7, **links)


def gradients(bridge: UplinkBridge, num_rounds: int = 3) -> list[torch.Tensor]:
    found = []
    for round in range(num_rounds):
        for k in range(4):
            with bridge.gradients_of(k):
                bridge.model(torch.ones(1, 3) * (k + round)).square().sum().backward()
        bridge.exchange()
        found += [p.grad.clone() for p in bridge.model.parameters()]
    return found


@pytest.mark.parametrize("make", [rayleigh, two_paths, Process])
def test_measuring_shifts_no_draw_of_a_run(make):
    measured = gradients(bridge_of(make()))
    unmeasured = gradients(bridge_of(Unnormalised(fading=make())))
    assert all(torch.equal(a, b) for a, b in zip(measured, unmeasured, strict=True))


def test_a_law_that_draws_from_torchs_global_generator_leaves_it_alone():
    def careless(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.randn(num_devices, 1, 1, 1, dtype=torch.complex64)

    before = torch.get_rng_state()
    check(careless)
    assert torch.equal(before, torch.get_rng_state())


LINKS = {
    "analog": lambda law: {"uplink": AnalogUplink(energy_budget=1.0, fading=law)},
    "antennas": lambda law: {"uplink": DigitalUplink(energy_budget=1.0, fading=law, num_rx_antennas=2)},
    "energies": lambda law: {"uplink": EnergyDifference(energy_budget=1.0, fading=law)},
    "votes": lambda law: {"uplink": FskMajorityVote(energy_budget=1.0, fading=law)},
    "waveform": lambda law: {"uplink": AnalogUplink(energy_budget=1.0, fading=law, ofdm=Ofdm(time_domain=True))},
    "downlink": lambda law: {
        "uplink": AnalogUplink(energy_budget=1.0),
        "downlink": AnalogBroadcast(energy_budget=1.0, fading=law),
    },
    "digital downlink": lambda law: {
        "uplink": AnalogUplink(energy_budget=1.0),
        "downlink": DigitalBroadcast(energy_budget=1.0, fading=law),
    },
}


@pytest.mark.parametrize(("name", "make"), [*itertools.product(LINKS, [rayleigh, two_paths, Process])])
def test_every_link_of_a_run_is_judged_where_it_begins(name, make):
    side = "downlink" if "downlink" in name else "uplink"
    scheme = Sign() if name == "votes" else Uncompressed()
    model = torch.nn.Linear(3, 2)
    with pytest.raises(ValueError, match=rf"fading of the {side} must have E\|h\|\^2 = 1"):
        UplinkBridge(model, num_devices=4, compressor=scheme, **LINKS[name](make(100.0)))
    UplinkBridge(model, num_devices=4, compressor=scheme, **LINKS[name](make()))
    UplinkBridge(model, num_devices=4, compressor=scheme, **LINKS[name](Unnormalised(fading=make(100.0))))


def test_a_study_of_a_channel_judges_its_laws():
    options = {"num_devices": 2, "num_rounds": 20, "snr_db": [0.0], "power_control": FullPower()}
    with pytest.raises(ValueError, match=r"fading of the uplink must have E\|h\|\^2 = 1"):
        study_error(ChannelStudy(fading=rayleigh(100.0), **options).error_view(), torch.device("cpu"))
    meant = ChannelStudy(fading=[rayleigh(), Unnormalised(fading=rayleigh(100.0))], **options)
    assert len(study_error(meant.error_view(), torch.device("cpu"))) == 2


def test_rounds_drawn_for_monte_carlo_are_judged():
    with pytest.raises(ValueError, match=r"fading must have E\|h\|\^2 = 1"):
        draw_rounds(rayleigh(100.0), 3, GRID, num_rounds=2, streams=Streams(0), device="cpu")
    draw_rounds(rayleigh(), 3, GRID, num_rounds=2, streams=Streams(0), device="cpu")


LOUD = """
import torch
def loud(num_devices, num_rx_antennas, grid, *, round, generator):
    return 10 * torch.randn(num_devices, num_rx_antennas, 1, 1, dtype=torch.complex64, generator=generator)
"""


@pytest.mark.parametrize("way", ["options", "yaml"])
def test_options_and_yaml_can_say_that_it_is_meant(way, tmp_path, monkeypatch):
    (tmp_path / "laws_of_mine.py").write_text(LOUD)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = {"uplink": component("AnalogUplink", "uplink")}
    if way == "options":
        line = "--uplink.energy_budget 1 --uplink.fading Unnormalised --uplink.fading.fading laws_of_mine.loud"
        read_options(line.split(), spec, {}, TrainingRun)
    else:
        fading = {"class_path": "Unnormalised", "init_args": {"fading": "laws_of_mine.loud"}}
        content = {"class_path": "AnalogUplink", "init_args": {"energy_budget": 1.0, "fading": fading}}
        spec = {"uplink": component(content, "uplink")}
    uplink = build(spec["uplink"], "uplink")
    bridge_of(None, uplink=uplink)
    with pytest.raises(ValueError, match=r"that of loud is .* \(\+[12]\d\.\d dB"):
        bridge_of(None, uplink=AnalogUplink(energy_budget=1.0, fading=uplink.fading.fading))


def test_a_tensorflow_function_is_the_users_however_it_is_named(monkeypatch):
    fading = object.__new__(TensorFlowFading)  # without TensorFlow
    object.__setattr__(fading, "function", "my_module.my_fading")
    monkeypatch.setattr("laser_wireless.channels.fading.mean_power.sample", lambda *args: pytest.fail("drawn"))
    with pytest.raises(pytest.fail.Exception, match="drawn"):
        check(fading)


def scaled(num_devices, num_rx_antennas, grid, *, round, generator, gain: float = 1.0):
    return gain * Rayleigh()(num_devices, num_rx_antennas, grid, round=round, generator=generator)


def test_a_users_function_with_arguments_from_options_is_measured():
    """Options bind arguments in a class of this package; the function is still the user's."""
    with pytest.raises(ValueError, match=r"must have E\|h\|\^2 = 1, that of scaled\(gain=2\.0\) is"):
        check(BoundFunction(scaled, gain=2.0))
    check(BoundFunction(scaled, gain=1.0))
