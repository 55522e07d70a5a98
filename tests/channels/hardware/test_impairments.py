"""What every impairment keeps: shape, dtype, inputs, the scope of its draws; no host reads; finite and differentiable."""

import math

import pytest
import torch
from helpers.statistical import seeded
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from laser_wireless.channels.hardware.amplifier import Clipping, Rapp, Saleh
from laser_wireless.channels.hardware.converters import IqImbalance, Quantiser
from laser_wireless.channels.hardware.impairments import Generators, Radio, generators_of
from laser_wireless.channels.hardware.impulsive_noise import BernoulliGaussianNoise, MiddletonNoise
from laser_wireless.channels.hardware.interference import BarrageJammer, OtherCells, PulsedJammer, ToneJammer
from laser_wireless.channels.hardware.oscillator import CarrierFrequencyOffset, PhaseError, PhaseNoise
from laser_wireless.channels.hardware.spread import NormalSpread, UniformSpread
from laser_wireless.channels.hardware.timing import TimingOffset
from laser_wireless.channels.round import Streams

TRANSMITTER = [
    PhaseError(rad=NormalSpread(std=0.3)),
    PhaseError(rad=UniformSpread(low=-1.0, high=1.0), scope="run"),
    CarrierFrequencyOffset(hz=UniformSpread(low=-200.0, high=200.0)),
    CarrierFrequencyOffset(hz=(10.0, -20.0, 30.0)),
    PhaseNoise(linewidth_hz=50.0),
    PhaseNoise(linewidth_hz=50.0, common=True),
    TimingOffset(samples=UniformSpread(low=-2.0, high=3.0)),
    Rapp(saturation_db=1.0),
    Saleh(saturation_db=3.0),
    Clipping(saturation_db=0.0),
    IqImbalance(amplitude_db=NormalSpread(std=1.0), phase_rad=NormalSpread(std=0.1)),
]
QUANTISERS = [Quantiser(bits=1), Quantiser(bits=8)]
RECEIVER = [
    OtherCells(powers=(0.5, 2.0)),
    BarrageJammer(power=1.0),
    PulsedJammer(power=1.0, duty=0.3, pulse_samples=4),
    ToneJammer(power=1.0),
    ToneJammer(power=1.0, frequency=0.2),
    BernoulliGaussianNoise(noise_variance=1.0, probability=0.2),
    MiddletonNoise(noise_variance=1.0),
]
STAGES = [*TRANSMITTER, *QUANTISERS, *RECEIVER]
MEMORYLESS = [Rapp(saturation_db=1.0), Saleh(saturation_db=3.0), Clipping(saturation_db=0.0), *QUANTISERS]
CONTINUED = [*TRANSMITTER[:4], TRANSMITTER[-1], *MEMORYLESS, *RECEIVER[3:5]]  # same in one piece or in chunks
ROWS, NUM_SAMPLES = 3, 48


def generators(seed=0, *, round=0, first_sample=0, device="cpu"):
    return generators_of(Streams(seed), "stage", radio(round=round, first_sample=first_sample), device)


def radio(scale=1.0, *, round=0, first_sample=0, rows=ROWS, device="cpu"):
    power = torch.full((rows, 1), scale**2, dtype=torch.float64, device=device)
    return Radio(mean_power=power, sample_rate_hz=1e4, first_sample=first_sample, round=round)


def samples(*shape, dtype=torch.complex64, seed=1, device="cpu"):
    return torch.randn(*shape, ROWS, NUM_SAMPLES, dtype=dtype, generator=seeded(seed)).to(device)


@pytest.mark.usefixtures("global_rng_untouched")
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_stage_keeps_shape_dtype_device_and_input(stage, dtype, device):
    x = samples(2, dtype=dtype, device=device)
    before = x.clone()
    after = stage(x, radio(device=device), generators=generators(device=device))
    assert (after.shape, after.dtype, after.device) == (x.shape, x.dtype, x.device)
    assert torch.equal(x, before)
    assert not torch.allclose(after, x, rtol=1e-3)
    assert torch.equal(after, stage(x, radio(device=device), generators=generators(device=device)))


@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_stage_reads_nothing(stage):
    with FakeTensorMode():
        x = torch.randn(2, ROWS, NUM_SAMPLES, dtype=torch.complex64)
        assert stage(x, radio(), generators=generators()).shape == x.shape


def test_stage_that_reads_a_value_is_noticed():
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        samples().abs().max().item()


@pytest.mark.parametrize("stage", [*TRANSMITTER, *RECEIVER], ids=str)
def test_gradient_with_respect_to_samples_and_power_is_right(stage):
    x = samples(dtype=torch.complex128)[:, :6].requires_grad_()
    power = torch.tensor([[0.7], [1.0], [1.3]], dtype=torch.float64, requires_grad=True)

    def through(x, power):
        return stage(x, Radio(mean_power=power, sample_rate_hz=1e4), generators=generators())

    assert torch.autograd.gradcheck(through, (x, power))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_extreme_scales_and_zeros_stay_finite(stage, scale):
    x = scale * samples()
    x[:, ::3] = 0
    x.requires_grad_()
    for power in (scale, 1.0):
        after = stage(x, radio(power), generators=generators())
        assert after.isfinite().all()
        (gradient,) = torch.autograd.grad(torch.view_as_real(after).sum(), x)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("power", [0.0, 1e-100])
@pytest.mark.parametrize("stage", [*TRANSMITTER, *QUANTISERS], ids=str)
def test_silent_device_stays_silent(stage, power):
    x = samples()
    x[1] = 0
    x.requires_grad_()
    levels = torch.tensor([[1.0], [power], [1.0]], dtype=torch.float64)
    after = stage(x, Radio(mean_power=levels, sample_rate_hz=1e4), generators=generators())
    assert (after[1].abs() <= 1e-40).all()
    (gradient,) = torch.autograd.grad(after.abs().sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("stage", TRANSMITTER, ids=str)
def test_no_transmitter_stage_raises_energy(stage):
    for x in (samples(50, dtype=torch.complex128), samples(50, dtype=torch.complex128).real + 0j):
        after = stage(x, radio(), generators=generators())
        assert (after.abs().square().sum(-1) <= (1 + 1e-12) * x.abs().square().sum(-1)).all()


def test_one_bit_may_raise_energy():
    """The guard of the uplink is needed: small samples are raised to the one level there is."""
    x = 0.1 * samples()
    after = Quantiser(bits=1)(x, radio(), generators=generators())
    assert (after.abs().square().sum(-1) > x.abs().square().sum(-1)).all()


@pytest.mark.parametrize("stage", CONTINUED, ids=str)
def test_chunks_are_the_whole(stage):
    x = samples(dtype=torch.complex128)
    whole = stage(x, radio(round=4), generators=generators(round=4))
    pieces = [
        stage(x[:, first:last], radio(round=4, first_sample=first), generators=generators(round=4, first_sample=first))
        for first, last in ((0, 20), (20, 21), (21, NUM_SAMPLES))
    ]
    assert torch.allclose(torch.cat(pieces, -1), whole, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "make",
    [
        lambda scope: PhaseError(rad=NormalSpread(std=1.0), scope=scope),
        lambda scope: CarrierFrequencyOffset(hz=NormalSpread(std=1e3), scope=scope),
        lambda scope: TimingOffset(samples=NormalSpread(std=3.0), scope=scope),
        lambda scope: IqImbalance(amplitude_db=NormalSpread(std=3.0), scope=scope),
    ],
)
def test_hardware_is_the_same_in_every_round_and_on_every_leading_axis(make):
    x = samples().expand(2, ROWS, NUM_SAMPLES)
    fixed = [make("run")(x, radio(round=r), generators=generators(round=r)) for r in (0, 1)]
    assert torch.equal(*fixed)
    assert torch.equal(*fixed[0])
    redrawn = [make("round")(x, radio(round=r), generators=generators(round=r)) for r in (0, 1)]
    assert not torch.allclose(*redrawn, rtol=1e-2)
    assert not torch.allclose(*redrawn[0], rtol=1e-2)
    assert not torch.allclose(redrawn[0][0, 0] / x[0, 0], redrawn[0][0, 1] / x[0, 1], rtol=1e-2)  # devices differ


@pytest.mark.parametrize("stage", [PhaseNoise(linewidth_hz=50.0), *RECEIVER[:3], *RECEIVER[-2:]], ids=str)
def test_noise_differs_between_rounds_and_chunks(stage):
    x = samples()
    drawn = [stage(x, radio(), generators=generators(round=r, first_sample=f)) for r, f in ((0, 0), (1, 0), (0, 48))]
    assert not torch.allclose(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])


def test_stages_of_different_names_draw_differently():
    streams = Streams(0)
    first = generators_of(streams, "impairment-0", radio())
    second = generators_of(streams, "impairment-1", radio())
    draws = [torch.rand(1, generator=generator) for generator in (*first, *second)]
    assert len({float(draw) for draw in draws}) == 6
    assert isinstance(first, Generators)


@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_samples_that_are_no_complex_rows_are_refused(stage):
    with pytest.raises(TypeError, match=r"x must be complex64 or complex128, got torch\.float32"):
        stage(torch.ones(ROWS, 4), radio(), generators=generators())
    with pytest.raises(ValueError, match=r"x must be \[\.\.\., K, n\].* got shape \[4\]"):
        stage(torch.ones(4, dtype=torch.complex64), radio(), generators=generators())


@pytest.mark.parametrize("stage", [CarrierFrequencyOffset(hz=1.0), PhaseNoise(linewidth_hz=1.0)], ids=str)
def test_stage_that_needs_time_says_so(stage):
    with pytest.raises(
        ValueError, match=f"{type(stage).__name__} needs the time between samples: give the uplink a bandwidth_hz"
    ):
        stage(samples(), Radio(mean_power=torch.ones(ROWS, 1)), generators=generators())


@pytest.mark.parametrize("name", ["rad", "hz", "samples", "amplitude_db"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (math.nan, ValueError, "must be finite, one number or one for each device, got nan"),
        ((), ValueError, r"must be finite, one number or one for each device, got \(\)"),
        ((1.0, math.inf), ValueError, "must be finite"),
        ("often", TypeError, "must be a number, a list of numbers or a function \\(shape, .*, got 'often'"),
        (True, TypeError, "must be a number"),
    ],
)
def test_impossible_property_is_refused(name, value, error, message):
    stage = {"rad": PhaseError, "hz": CarrierFrequencyOffset, "samples": TimingOffset, "amplitude_db": IqImbalance}[name]
    with pytest.raises(error, match=f"{name} {message}"):
        stage(**{name: value})
    with pytest.raises(ValueError, match="scope must be"):
        stage(**{name: 1.0}, scope="symbol")


def test_as_many_properties_as_rows_are_wanted():
    with pytest.raises(ValueError, match=r"rad must hold one number or one for each of the 3 rows .*, got 2"):
        PhaseError(rad=(0.1, 0.2))(samples(), radio(), generators=generators())
