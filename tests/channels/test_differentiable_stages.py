"""Gradients through the uplink's stages match finite differences: rules, knowledge, antennas, samples, waveforms, zeros."""

import pytest
import torch
from helpers.statistical import seeded
from helpers.uplinks import name_of
from torch.autograd.gradcheck import GradcheckError

from laser_wireless.channels import (
    AnalogUplink,
    BarrageJammer,
    CarrierFrequencyOffset,
    Clipping,
    DelayedCsi,
    FullPower,
    IqImbalance,
    Knowledge,
    Lmmse,
    MaximumRatio,
    MseOptimal,
    NoCsi,
    NoisyCsi,
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
    Rapp,
    RegularisedInversion,
    Saleh,
    Streams,
    TimeVaryingPrecoding,
    TimingOffset,
    ToneJammer,
    TruncatedInversion,
    UniformSpread,
    ZeroForcing,
)

LAYOUT = (3, 1, 2)

RULES = [
    FullPower(),
    FullPower(phase=False, scale="unit_sum"),
    OpenLoop(p0=0.1, max_power=0.2),
    MseOptimal(),
    RegularisedInversion(),
    TimeVaryingPrecoding(threshold=0.01),
    PeakLimited(power_control=MseOptimal(), peak_power=1e3),
]
RECEIVERS = [MaximumRatio(), MaximumRatio(direction="dominant"), ZeroForcing(), Lmmse(), Lmmse(alternations=1)]
KNOWLEDGE = [
    NoCsi(),
    NoisyCsi(nmse=0.1),
    NoisyCsi(nmse=0.1, model="mmse"),
    PilotCsi(),
    PilotCsi(estimator="ls"),
    PhaseOnlyCsi(),
    QuantisedCsi(),
    [PilotCsi(), PhaseOnlyCsi()],
]
IMPAIRMENTS = [
    Rapp(saturation_db=3.0),
    Saleh(saturation_db=6.0),
    PhaseError(rad=UniformSpread(low=-0.5, high=0.5)),
    CarrierFrequencyOffset(hz=30.0),
    PhaseNoise(linewidth_hz=10.0),
    TimingOffset(samples=0.4),
    IqImbalance(amplitude_db=1.0, phase_rad=0.1),
]
INTERFERENCE = [
    OtherCells(powers=0.3),
    BarrageJammer(power=0.1),
    PulsedJammer(power=0.1),
    ToneJammer(power=0.1),
    Clipping(saturation_db=-3.0),
]


def symbols():
    return torch.randn(3, 6, dtype=torch.float64, generator=seeded(0)).requires_grad_()


def gains(*shape):
    """For 3 devices: [3, C], or [3, N_r, C]."""
    return torch.randn(3, *(shape or (1,)), dtype=torch.complex128, generator=seeded(1)).requires_grad_()


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def estimate(u, h, budget, **options):
    uplink = AnalogUplink(energy_budget=budget, **options)
    return uplink.aggregate(u, LAYOUT, round=0, streams=Streams(0), gains=h).estimate


def agrees(run, *inputs):
    """Compare along random directions, which costs two rounds and not two for each number."""
    return torch.autograd.gradcheck(run, inputs, atol=1e-6, fast_mode=True)


def round_agrees(h, **options):
    """With respect to symbols, gains and budgets."""
    return agrees(lambda u, h, budget: estimate(u, h, budget, **options), symbols(), h, numbers(1.0, 2.0, 3.0))


@pytest.mark.parametrize("coherence", ["round", "block"])
@pytest.mark.parametrize("power_control", RULES, ids=str)
def test_every_rule(power_control, coherence):
    assert round_agrees(gains(1 if coherence == "round" else 3), coherence=coherence, power_control=power_control)


@pytest.mark.parametrize("csi", KNOWLEDGE, ids=str)
@pytest.mark.parametrize("power_control", [TruncatedInversion(threshold=0.01), MseOptimal()], ids=name_of)
def test_every_kind_of_knowledge(power_control, csi):
    assert round_agrees(gains(), power_control=power_control, csi=csi)


def test_delayed_knowledge_is_a_constant():
    def constant(h, *, energy, noise_variance, generator, state):
        return Knowledge(h.detach())

    found = []
    for csi in (DelayedCsi(), constant):
        h = gains()
        estimate(symbols(), h, 2.0, csi=csi, power_control=MseOptimal()).square().sum().backward()
        found.append(h.grad)
    assert torch.equal(*found)
    assert found[0].abs().min() > 0  # through the channel itself


@pytest.mark.parametrize("receiver_csi", [PerfectCsi(), PilotCsi(), NoisyCsi(nmse=0.1)], ids=str)
@pytest.mark.parametrize("receiver", RECEIVERS, ids=str)
def test_every_receiver(receiver, receiver_csi):
    options = {"num_rx_antennas": 2, "receiver": receiver, "receiver_csi": receiver_csi, "power_control": MseOptimal()}
    assert round_agrees(gains(2, 1), **options)


@pytest.mark.parametrize("stages", [[], [Rapp(saturation_db=3.0)]], ids=["quick", "samples"])
def test_noise_variance_and_link_gain(stages):
    u, h = symbols().detach(), gains(2, 1).detach()
    options = {"num_rx_antennas": 2, "receiver": Lmmse(), "impairments": stages}

    def run(noise_variance, link_gain):
        return estimate(u, h, 4.0, noise_variance=noise_variance, link_gain=link_gain, **options)

    assert agrees(run, torch.tensor(0.5, dtype=torch.float64, requires_grad=True), numbers(0.5, 1.0, 0.2))


@pytest.mark.parametrize("impairment", IMPAIRMENTS, ids=name_of)
def test_every_impairment_of_the_samples(impairment):
    assert round_agrees(gains(), power_control=MseOptimal(), impairments=[impairment], bandwidth_hz=1e3)


@pytest.mark.parametrize("stage", INTERFERENCE, ids=name_of)
def test_every_interference(stage):
    assert round_agrees(gains(2, 1), num_rx_antennas=2, receiver=Lmmse(), front_end=[stage])


def test_samples_raised_above_the_budget_and_lowered_again():
    """The level control goes by the loudest device, and passes its gradient on."""

    def louder(x, radio, *, generators):
        return 2 * x

    assert round_agrees(gains(), power_control=FullPower(), impairments=[louder])


def test_a_stage_that_stops_the_gradient_is_noticed():
    def stopping(x, radio, *, generators):
        return x * x.detach().abs()

    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        round_agrees(gains(), power_control=FullPower(), impairments=[stopping])


def test_a_channel_of_the_users_own():
    def run(u, h):
        def channel(x, *, round, generator):
            return h.mT @ (x / (1 + x.abs().square()))

        return estimate(u, None, 2.0, channel=channel, num_rx_antennas=2, receiver=Lmmse())

    assert agrees(run, symbols(), gains(2))


@pytest.mark.parametrize("stages", [[], [Rapp(saturation_db=3.0)]], ids=["quick", "samples"])
def test_ofdm_with_a_gain_for_each_subcarrier(stages):
    ofdm = Ofdm(num_subcarriers=4, subcarriers_per_block=1, symbols_per_slot=1)
    assert round_agrees(gains(4), ofdm=ofdm, impairments=stages, power_control=MseOptimal())


@pytest.mark.parametrize("stages", [[], [Rapp(saturation_db=3.0)]], ids=["waveform", "amplified"])
def test_ofdm_waveform_down_to_the_paths(stages):
    ofdm = Ofdm(num_subcarriers=4, symbols_per_slot=1, subcarriers_per_block=1, time_domain=True, max_delay_s=1e-5)
    tau = torch.tensor([[0.0, 4e-6], [1e-6, 7e-6], [0.0, 2e-6]], dtype=torch.float64)

    def run(u, a, budget):
        def paths(num_devices, num_rx_antennas, times, *, round, generator):
            return a, tau

        options = {"num_rx_antennas": 2, "receiver": Lmmse(), "power_control": FullPower()}
        return estimate(u, None, budget, ofdm=ofdm, fading=paths, impairments=stages, **options)

    assert agrees(run, symbols(), gains(2, 2, 1), numbers(1.0, 2.0, 3.0))


ZEROS = {
    "a rule": {"power_control": MseOptimal()},
    "antennas": {"num_rx_antennas": 2, "receiver": Lmmse(alternations=1), "power_control": MseOptimal()},
    "zero forcing": {"num_rx_antennas": 2, "receiver": ZeroForcing(), "power_control": RegularisedInversion()},
    "pilots": {"num_rx_antennas": 2, "receiver": Lmmse(), "csi": PilotCsi(), "receiver_csi": PilotCsi()},
    "phase only": {"csi": PhaseOnlyCsi(), "power_control": FullPower()},
    "amplifiers": {"impairments": [Rapp(saturation_db=3.0), Saleh(saturation_db=6.0)], "power_control": FullPower()},
    "converters": {"impairments": [Quantiser(bits=3)], "front_end": [Quantiser(bits=3), Clipping(saturation_db=0.0)]},
    "no noise": {"noise_variance": 0.0, "num_rx_antennas": 2, "receiver": Lmmse(), "power_control": MseOptimal()},
}


@pytest.mark.parametrize("silent", ["nobody", "a device", "a block", "all"])
@pytest.mark.parametrize("options", ZEROS.values(), ids=ZEROS.keys())
def test_zeros_leave_every_stages_gradients_finite(options, silent):
    u = symbols().detach()
    if silent != "nobody":
        u[{"a device": (0, slice(None)), "a block": (slice(None), slice(0, 3)), "all": ()}[silent]] = 0
    h = gains(*((2, 1) if "num_rx_antennas" in options else (1,))).detach()
    h[1] = 0
    inputs = u.requires_grad_(), h.requires_grad_(), numbers(1.0, 2.0, 0.0)
    estimate(*inputs, **options).square().sum().backward()
    for tensor in inputs:
        assert tensor.grad.isfinite().all()
