"""Any analog uplink, with any message: every option of `AnalogUplink` drawn together with the others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from helpers.statistical import seeded
from helpers.uplinks import ALLOCATIONS, COHERENCES, FADINGS, POWER_CONTROLS, SCALES, rising
from laser_wireless.channels import (
    AlphaMu,
    AnalogUplink,
    BarrageJammer,
    BernoulliGaussianNoise,
    CarrierFrequencyOffset,
    CellGain,
    Clipping,
    CorrelatedLaw,
    DelayedCsi,
    EveryDevice,
    GaussMarkov,
    IqImbalance,
    Jakes,
    LinearEnergy,
    Lmmse,
    MaximumRatio,
    MiddletonNoise,
    Multipath,
    Nakagami,
    NoCsi,
    NoFading,
    NoisyCsi,
    NormalSpread,
    Ofdm,
    OpenLoop,
    OtherCells,
    PeakLimited,
    PerfectCsi,
    PhaseError,
    PhaseNoise,
    PhaseOnlyCsi,
    PilotCsi,
    PulsedJammer,
    QuantisedCsi,
    Quantiser,
    RandomDropout,
    Rapp,
    Saleh,
    SampledDevices,
    SingleAntenna,
    SionnaRayleigh,
    SionnaTdl,
    Stragglers,
    TappedDelayLine,
    TimingOffset,
    ToneJammer,
    Unnormalised,
    Weibull,
    ZeroForcing,
    draw_rounds,
)
from laser_wireless.channels.round import Streams

CONTROLS = [
    *POWER_CONTROLS,
    OpenLoop(p0=1e6, alpha=1.0, phase=False, scale="unit_sum"),
    PeakLimited(power_control=OpenLoop(p0=1e9), peak_power=1e3),
]
PATHS = [
    Multipath(paths=TappedDelayLine(profile="C", delay_spread_s=1e-6)),
    Multipath(paths=TappedDelayLine(profile="D", delay_spread_s=1e-7, doppler_hz=50.0, round_interval_s=1e-3)),
    SionnaTdl(profile="A"),
    SionnaRayleigh(),
]
LAWS = [
    *FADINGS,
    Nakagami(m=0.5),
    Weibull(shape=1.2),
    AlphaMu(alpha=3.0, mu=0.6),
    GaussMarkov(correlation=0.9, slot_correlation=0.5),
    Jakes(doppler_hz=2.0, round_interval_s=0.1),
    CorrelatedLaw(law=Nakagami(m=0.7), process=GaussMarkov(correlation=0.9)),
]
KNOWLEDGE = [
    PerfectCsi(),
    NoCsi(),
    NoisyCsi(nmse=0.3),
    NoisyCsi(nmse=0.5, model="mmse"),
    PilotCsi(energy_fraction=0.3),
    PilotCsi(energy_fraction=0.9, estimator="ls"),
    [PilotCsi(), DelayedCsi()],
    [DelayedCsi(rounds=2), QuantisedCsi(phase_bits=1, amplitude_bits=0)],
    PhaseOnlyCsi(),
    QuantisedCsi(),
]
RECEIVERS = [
    *(Lmmse(alternations=n) for n in range(4)),
    ZeroForcing(),
    MaximumRatio(),
    MaximumRatio(direction="dominant"),
]
IMPAIRMENTS = [
    PhaseError(rad=0.3),
    CarrierFrequencyOffset(hz=NormalSpread(std=50.0)),
    PhaseNoise(linewidth_hz=10.0),
    TimingOffset(samples=0.4),
    Rapp(saturation_db=0.0),
    Saleh(saturation_db=3.0),
    Clipping(saturation_db=0.0),
    Clipping(saturation_db=-10.0),
    Quantiser(bits=1),
    Quantiser(bits=1, full_scale=0.5),
    Quantiser(bits=3),
    IqImbalance(amplitude_db=2.0, phase_rad=0.2),
]
FRONT_ENDS = [
    OtherCells(powers=1.0),
    BarrageJammer(power=1.0),
    PulsedJammer(power=1.0, pulse_samples=2),
    ToneJammer(power=0.5),
    BernoulliGaussianNoise(noise_variance=10.0),
    MiddletonNoise(noise_variance=1.0),
    Quantiser(bits=4),
]
WAVES = [
    Ofdm(num_subcarriers=4, symbols_per_slot=2, subcarriers_per_block=2),
    Ofdm(num_subcarriers=3, symbols_per_slot=1, subcarriers_per_block=1, cyclic_prefix_s=0.0),
    Ofdm(num_subcarriers=12, symbols_per_slot=3, subcarriers_per_block=3),
    Ofdm(num_subcarriers=4, symbols_per_slot=1, subcarriers_per_block=4, time_domain=True),
    Ofdm(num_subcarriers=12, symbols_per_slot=2, subcarriers_per_block=4, time_domain=True, cyclic_prefix_s=10e-6),
]
PARTICIPATION = [
    None,
    None,
    EveryDevice(),
    RandomDropout(drop_probability=0.5),
    Stragglers(extra_s=1.0, deadline_s=1.0),
    SampledDevices(num_sampled=1),
]
KINDS = ["symbols", "symbols", "samples", "ofdm", "ofdm samples"]
EXPONENTS = [-30, -12, -3, 0, 3, 12, 30]


class Rounds(NamedTuple):
    """Rounds that stand side by side on a leading axis: messages [R, K, S], gains as `aggregate` takes them or None."""

    uplink: AnalogUplink
    layout: tuple[int, ...]
    messages: Tensor
    gains: Tensor | None
    seed: int

    def __repr__(self) -> str:
        given = "given" if self.gains is not None else "drawn"
        u = self.messages
        return f"{self.uplink}, layout {self.layout}, {list(u.shape)} {u.dtype}, gains {given}, seed {self.seed}"


def add_and_turn(x: Tensor, *, round: int, generator: torch.Generator) -> Tensor:
    """A user's channel with one antenna."""
    return 1j * x.sum(-2, keepdim=True)


@st.composite
def uplinks(draw, num_devices: int, num_rounds: int) -> AnalogUplink:
    """Any options that go together."""
    per_device = st.lists(st.sampled_from([0.0, 1e-6, 1.0, 1e6]), min_size=num_devices, max_size=num_devices).filter(any)
    by_round = per_device.map(lambda values: torch.tensor(values, dtype=torch.float64).expand(num_rounds, -1))
    one = st.sampled_from([1e-6, 0.3, 2.0, 10.0, 1e6])
    schedules = st.sampled_from([rising, LinearEnergy(energy_budget=5.0, num_rounds=4)])
    options = {
        "energy_budget": draw(one | per_device | per_device.map(torch.tensor) | by_round | schedules),
        "noise_variance": draw(st.sampled_from([0.0, 1e-12, 1.0, 1e12, torch.linspace(0, 1, num_rounds)])),
        "csi": draw(st.sampled_from(KNOWLEDGE)),
        "receiver_csi": draw(st.sampled_from(KNOWLEDGE)),
        "power_control": draw(st.sampled_from(CONTROLS)),
        "allocation": draw(st.sampled_from(ALLOCATIONS)),
        "scale": draw(st.sampled_from(SCALES)),
        "num_rx_antennas": draw(st.sampled_from([1, 1, 2, 4])),
    }
    gains = st.lists(st.sampled_from([0.0, 1e-9, 1.0, 1e3]), min_size=num_devices, max_size=num_devices).filter(any)
    options["link_gain"] = draw(st.none() | gains | st.just(CellGain()))
    options["participation"] = draw(st.sampled_from(PARTICIPATION))
    if options["num_rx_antennas"] > 1 or draw(st.booleans()):
        options["receiver"] = draw(st.sampled_from(RECEIVERS))
    baseband = draw(st.sampled_from(["complex", "complex", "real"]))
    kind = "symbols" if baseband == "real" else draw(st.sampled_from(KINDS))
    options |= {"baseband": baseband, "fading": draw(st.sampled_from(LAWS))}
    if "samples" in kind:
        options["impairments"] = draw(st.lists(st.sampled_from(IMPAIRMENTS), max_size=3))
        options["front_end"] = draw(st.lists(st.sampled_from(FRONT_ENDS), max_size=2))
    if "ofdm" in kind:
        timed = any(isinstance(stage, CarrierFrequencyOffset | PhaseNoise) for stage in options.get("impairments", []))
        options["ofdm"] = draw(st.sampled_from([wave for wave in WAVES if wave.time_domain or not timed]))
        options["fading"] = draw(st.sampled_from([*LAWS, *PATHS]))
        return AnalogUplink(**options)
    timed = isinstance(options["fading"], Jakes)  # needs slots of equal length
    options["coherence"] = draw(st.sampled_from([c for c in COHERENCES if c != "block" or not timed]))
    options["bandwidth_hz"] = 1e5
    if kind == "samples" and draw(st.integers(0, 4)) == 0:
        options |= {"fading": NoFading(), "channel": add_and_turn, "num_rx_antennas": 1, "receiver": SingleAntenna()}
    return AnalogUplink(**options)


@st.composite
def rounds(draw, num_rounds: int = 64) -> Rounds:
    """An uplink, and messages whose blocks, devices and rounds are of any scale, some of them empty."""
    num_devices = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 16, 64]))
    uplink = draw(uplinks(num_devices, num_rounds))
    layout = tuple(draw(st.lists(st.sampled_from([1, 1, 2, 3, 5, 7, 8, 13]), min_size=1, max_size=5)))
    seed = draw(st.integers(0, 10**6))
    generator = seeded(seed)
    u = torch.randn(num_rounds, num_devices, sum(layout), dtype=torch.float64, generator=generator)
    if draw(st.booleans()):
        u = u.sign()  # equal magnitudes round the same way
    exponents = torch.tensor(draw(st.lists(st.sampled_from(EXPONENTS), min_size=1, max_size=4)), dtype=torch.float64)
    sizes = torch.tensor(layout)
    picked = exponents[torch.randint(len(exponents), (num_rounds, 1, len(layout)), generator=generator)]
    u = u * (10**picked).repeat_interleave(sizes, dim=-1)
    there = torch.rand(num_rounds, num_devices, len(layout), generator=generator) > draw(st.sampled_from([0.0, 0.2]))
    u = u * there.repeat_interleave(sizes, dim=-1)
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    gains = None
    if not (uplink.ofdm and uplink.ofdm.time_domain) and uplink.channel is None and draw(st.booleans()):
        options = {"num_rounds": num_rounds, "streams": Streams(seed), "device": "cpu"}
        gains = draw_rounds(
            Unnormalised(fading=uplink.fading),
            num_devices,
            uplink.grid(layout),
            num_rx_antennas=uplink.num_rx_antennas,
            **options,
        )
    return Rounds(uplink, layout, u.to(dtype), gains, seed)
