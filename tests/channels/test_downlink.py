"""The downlink: what reaches the devices, with which error, at what energy."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.statistical import assert_distributed, assert_mean, assert_standard_normal, seeded
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.downlinks.analog import AnalogBroadcast, NoiselessBroadcast
from laser_wireless.channels.downlinks.digital import DigitalBroadcast
from laser_wireless.channels.energy.allocation import NormAllocation, UniformAllocation
from laser_wireless.channels.fading.laws import Rayleigh
from laser_wireless.channels.round import Streams

NUM_DEVICES = 5
LAYOUT = (600, 40, 1500)
SIZE = sum(LAYOUT)


def model(dtype=torch.float32, *, seed=0):
    """Parameters [d] whose blocks differ in scale."""
    scales = torch.cat([torch.full((size,), 3.0**-b, dtype=dtype) for b, size in enumerate(LAYOUT)])
    return scales * torch.randn(SIZE, dtype=dtype, generator=seeded(seed))


def send(downlink, values=None, *, round=3, held=None, num_devices=NUM_DEVICES, layout=LAYOUT, seed=0, state=None):
    values = model() if values is None else values
    held = torch.zeros_like(values).unsqueeze(0) if held is None else held
    return downlink.broadcast(
        values, layout, num_devices=num_devices, round=round, streams=Streams(seed), held=held, state=state
    )


def fixed(*gains):
    """A user's fading: these gains."""

    def gains_of(num_devices, num_rx_antennas, grid, *, round, generator):
        return torch.tensor(gains, dtype=torch.complex64).view(-1, 1, 1, 1)

    return gains_of


class Counting:
    """Fading that goes on from round to round: gain 1, 2, 3, ..."""

    def advance(self, num_devices, num_rx_antennas, grid, *, round, generator, state):
        count = torch.zeros(()) if state is None else state["count"]
        return (count + 1).expand(num_devices, 1, 1, 1), {"count": count + 1}


GAINS = (1.0, 2.0j, -0.5, 1.0 + 1.0j, 0.8)
BROADCASTS = [
    AnalogBroadcast(energy_budget=100.0),
    AnalogBroadcast(energy_budget=3.0, fading=Rayleigh(), noise_variance=2.0),
    AnalogBroadcast(energy_budget=3.0, fading=Rayleigh(), allocation=UniformAllocation(), threshold=0.0),
    AnalogBroadcast(energy_budget=lambda round: 1.0 + round, fading=fixed(*GAINS), allocation=NormAllocation()),
    DigitalBroadcast(energy_budget=1e6),
    DigitalBroadcast(energy_budget=1e6, fading=Rayleigh(), bits=3),
    DigitalBroadcast(energy_budget=lambda round: 1e5, symbols_per_parameter=3.5),
    DigitalBroadcast(energy_budget=1.0),
]


every = pytest.mark.parametrize("downlink", BROADCASTS, ids=lambda downlink: type(downlink).__name__)


def block_noise(delivery, values):
    """Errors over their standard deviation, [K, S], for devices that received."""
    std = delivery.noise_variance.sqrt().repeat_interleave(torch.tensor(LAYOUT), dim=1)
    return ((delivery.received - values).double() / std)[delivery.ledger.received]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("downlink", BROADCASTS[:4], ids=["gaussian", "faded", "uniform", "fixed"])
def test_analog_error_has_the_stated_variance(downlink, dtype):
    values = model(dtype)
    delivery = send(downlink, values)
    assert delivery.received.dtype == dtype
    z = block_noise(delivery, values)
    assert_mean(z.square(), mean=1, variance=2)
    assert_distributed(z, "norm")


def test_variance_ten_percent_wrong_is_noticed():
    values = model()
    delivery = send(AnalogBroadcast(energy_budget=100.0, fading=fixed(*GAINS)), values)
    with pytest.raises(AssertionError, match="expected 1"):
        assert_mean(1.1 * block_noise(delivery, values).square(), mean=1, variance=2)


def test_analog_variance_is_the_closed_form():
    """sigma^2 / (a_b^2 |h_k|^2), a_b^2 = P share_b / ||theta_b||^2, share_b proportional to ||theta_b|| sqrt(N_b)."""
    values = model(torch.float64)
    delivery = send(AnalogBroadcast(energy_budget=100.0, noise_variance=0.3, fading=fixed(*GAINS)), values)
    norms = torch.stack([block.norm() for block in values.split(LAYOUT)])
    weights = norms * torch.tensor(LAYOUT).sqrt()
    amplitude_squared = 100 * weights / weights.sum() / norms.square()
    power = torch.tensor(GAINS, dtype=torch.complex128).abs().square()
    torch.testing.assert_close(delivery.noise_variance, 0.3 / (power[:, None] * amplitude_squared), rtol=1e-6, atol=0)


def test_least_noise_allocation_has_the_least_total_noise():
    sizes = torch.tensor(LAYOUT, dtype=torch.float64)

    def total(**options):
        return (send(AnalogBroadcast(energy_budget=10.0, **options)).noise_variance[0] * sizes).sum()

    def others(norms, block_sizes, air):
        return torch.rand(1, 3, dtype=torch.float64, generator=generator)

    generator = seeded(1)
    best = total()
    assert all(total(allocation=others) > best for _ in range(50))


def test_noise_is_independent_over_devices_rounds_and_seeds():
    values = torch.ones(SIZE)
    downlink = AnalogBroadcast(energy_budget=SIZE)
    noises = [send(downlink, values, round=r, seed=s).received - values for r, s in ((1, 0), (2, 0), (1, 1))]
    rows = torch.cat(noises)  # variance 1 each
    for i, one in enumerate(rows):
        for other in rows[i + 1 :]:
            assert_mean(one * other, mean=0, variance=1, num_comparisons=105)
    assert_standard_normal(rows[:, :50])
    with pytest.raises(AssertionError, match="expected 0"):  # a tenth of the noise in common would be noticed
        assert_mean(rows[0] * (rows[1] + 0.2 * rows[0]), mean=0, variance=1, num_comparisons=105)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_energy_never_exceeds_the_budget(downlink, dtype, scale):
    for round in range(5):
        ledger = send(downlink, scale * model(dtype, seed=round), round=round).ledger
        assert ledger.energy_spent <= ledger.energy_allowed
        assert ledger.summary()["energy_allowed"] == ledger.energy_allowed


def test_energy_on_the_air_is_what_the_ledger_says():
    """Without fading, sigma^2 / variance is a_b^2: the energy of a_b theta_b, added up."""
    values = model()
    delivery = send(AnalogBroadcast(energy_budget=7.0, noise_variance=0.5), values)
    amplitude_squared = 0.5 / delivery.noise_variance[0]
    energy = sum(a * block.double().square().sum() for a, block in zip(amplitude_squared, values.split(LAYOUT), strict=True))
    torch.testing.assert_close(delivery.ledger.energy_spent, energy, rtol=1e-6, atol=0)
    assert 0.99999 * 7 < energy <= 7


def test_device_below_the_threshold_keeps_its_model():
    held = torch.full((NUM_DEVICES, SIZE), 7.0)
    delivery = send(AnalogBroadcast(energy_budget=1e12, fading=fixed(1, 0.3, 0, 0.33, 0.1), threshold=0.1), held=held)
    assert delivery.ledger.received.tolist() == [True, False, False, True, False]
    assert torch.equal(delivery.received[[1, 2, 4]], held[[1, 2, 4]])
    assert not delivery.noise_variance[[1, 2, 4]].any()
    torch.testing.assert_close(delivery.received[[0, 3]], model().expand(2, -1), rtol=1e-2, atol=1e-3)


def test_dead_channel_without_a_threshold_keeps_its_model():
    delivery = send(AnalogBroadcast(energy_budget=1.0, fading=fixed(1, 0, 1, 1, 1), threshold=0.0))
    assert not delivery.received[1].any()
    assert delivery.received.isfinite().all()


def test_block_of_zeros_arrives_exactly_and_block_without_energy_not_at_all():
    values = model()
    values[600:640] = 0
    held = torch.full((1, SIZE), 7.0)
    received = send(AnalogBroadcast(energy_budget=1.0), values, held=held).received
    assert not received[:, 600:640].any()
    assert (received[:, :600] != 7).all()

    def first_only(norms, block_sizes, air):
        return torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)

    received = send(AnalogBroadcast(energy_budget=1.0, allocation=first_only), values, held=held).received
    assert (received[:, 640:] == 7).all()
    assert not received[:, 600:640].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_noise_all_devices_hold_the_model(dtype):
    values = model(dtype)
    for downlink in (NoiselessBroadcast(), AnalogBroadcast(energy_budget=1.0, noise_variance=0.0, fading=fixed(*GAINS))):
        assert torch.equal(send(downlink, values).received, values.expand(len(send(downlink, values).received), -1))


def test_noiseless_broadcast_copies_nothing():
    values = model()
    delivery = send(NoiselessBroadcast(), values)
    assert delivery.received.data_ptr() == values.data_ptr()
    assert delivery.ledger is None


def test_analog_broadcast_is_differentiable():
    values = model(torch.float64)[:60].requires_grad_()
    downlink = AnalogBroadcast(energy_budget=5.0, fading=fixed(*GAINS), threshold=0.3)  # the third keeps its model

    def received(x):
        return send(downlink, x, layout=(20, 40)).received

    assert torch.autograd.gradcheck(received, values)
    assert torch.autograd.grad(received(values)[2].sum(), values, allow_unused=True)[0].abs().max() == 0


def rounding_of(bits, *, seeds, held=None):
    values = model(torch.float64)
    held = torch.zeros(1, SIZE, dtype=torch.float64) if held is None else held
    downlink = DigitalBroadcast(energy_budget=1e30, bits=bits)
    return values, torch.cat([send(downlink, values, seed=seed, held=held).received for seed in range(seeds)])


@pytest.mark.parametrize("bits", [2, 5, 9])
def test_rounding_is_unbiased_and_its_variance_is_f_times_1_minus_f(bits):
    """Between two levels a step apart, at the fraction f of the way, the variance is step^2 f (1 - f)."""
    values, received = rounding_of(bits, seeds=40)
    largest = torch.cat([block.abs().amax().expand(len(block)) for block in values.split(LAYOUT)])
    step = 2 * largest / (2**bits - 1)
    f = ((values + largest) / step).frac()
    inner = (f > 0.01) & (f < 0.99)  # at a level the variance is 0
    std = step * (f * (1 - f)).sqrt()
    z = ((received - values) / std)[:, inner]
    assert_mean(z, mean=0, variance=1)
    fourth = 1 / (f * (1 - f))[inner] - 3  # of a Bernoulli variable, standardised
    assert_mean(z.square(), mean=1, variance=(fourth - 1).mean().item())
    assert ((received - values).abs() <= step * (1 + 1e-6)).all()


def test_stated_variance_bounds_the_quantisers():
    values = model()
    delivery = send(DigitalBroadcast(energy_budget=1e30, bits=4), values)
    errors = (delivery.received - values)[0].double().square()
    for bound, block in zip(delivery.noise_variance[0], errors.split(LAYOUT), strict=True):
        assert 0.2 * bound < block.mean() <= bound  # f (1 - f) is 1/6 on average, 1/4 at most


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_differences_shrink_geometrically_at_any_number_of_bits(bits):
    """Error feedback: the largest difference of a block falls by 2 / (2^q - 1) at least in each round."""
    values = model(torch.float64)
    held = torch.zeros(1, SIZE, dtype=torch.float64)
    before = values.abs().max()
    for round in range(12):
        held = send(DigitalBroadcast(energy_budget=1e30, bits=bits), values, round=round, held=held).received
        after = (values - held).abs().max()
        assert after <= before * (2 / (2**bits - 1)) * (1 + 1e-5) + 1e-15  # rounding of float64
        before = after


@pytest.mark.parametrize("gain", [1.0, 0.25])
@pytest.mark.parametrize("symbols_per_parameter", [1.0, 2.5])
def test_bits_are_the_most_that_the_worst_device_can_decode(gain, symbols_per_parameter):
    num_symbols = math.ceil(SIZE * symbols_per_parameter)
    for budget in (1e3, 3e4, 1e6, 1e8):
        downlink = DigitalBroadcast(
            energy_budget=budget,
            bits=16,
            noise_variance=0.5,
            fading=fixed(2, gain**0.5, 1, 1, 1),
            symbols_per_parameter=symbols_per_parameter,
        )
        ledger = send(downlink).ledger
        capacity = num_symbols / 2 * math.log2(1 + gain * budget / (num_symbols * 0.5))
        q = min(math.floor((capacity - 3 * 32) / SIZE), 16)
        assert ledger.bits == (q * SIZE + 3 * 32 if q >= 2 else 0)
        assert ledger.num_symbols == num_symbols
        needed = num_symbols * 0.5 / gain * (2 ** (2 * ledger.bits.item() / num_symbols) - 1)
        assert ledger.energy_spent.item() == pytest.approx(needed)
        assert ledger.received.tolist() == [q >= 2] * NUM_DEVICES


def test_round_without_two_bits_sends_nothing_and_loses_nothing():
    held = 0.5 * model().unsqueeze(0)
    delivery = send(DigitalBroadcast(energy_budget=1.0), held=held)
    assert torch.equal(delivery.received, held)
    assert not delivery.ledger.received.any()
    assert delivery.ledger.energy_spent == delivery.ledger.bits == 0


@pytest.mark.parametrize("gain", [1.0, 0.0])
def test_digital_without_noise_needs_no_energy_unless_the_channel_is_dead(gain):
    delivery = send(DigitalBroadcast(energy_budget=1.0, noise_variance=0.0, fading=fixed(*[gain] * NUM_DEVICES)))
    assert delivery.ledger.energy_spent == 0
    assert delivery.ledger.received.all() == (gain > 0)
    assert delivery.received.any() == (gain > 0)


@every
def test_fading_process_goes_on(downlink):
    twin = replace(downlink, fading=Counting())
    first = send(twin, round=1)
    second = send(twin, round=2, state=first.state)
    assert (first.state["count"], second.state["count"]) == (1, 2)
    if isinstance(twin, AnalogBroadcast):
        energies = [d.ledger.energy_spent for d in (first, second)]
        ratio = (first.noise_variance * energies[0]) / (second.noise_variance * energies[1])
        torch.testing.assert_close(ratio, torch.full_like(ratio, 4.0))


@every
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_broken_model_is_not_sent(downlink, value):
    values = model()
    values[5] = value
    held = model(seed=1).unsqueeze(0)
    delivery = send(downlink, values, held=held)
    assert torch.equal(delivery.received, held.expand(len(delivery.received), -1))
    assert delivery.ledger.energy_spent == 0
    with pytest.raises(FloatingPointError, match="not finite in the broadcast of round 3"):
        delivery.ledger.summary()


@pytest.mark.parametrize("kind", [AnalogBroadcast, DigitalBroadcast])
def test_broken_gain_voids_the_broadcast(kind):
    delivery = send(kind(energy_budget=1e6, fading=fixed(1, math.nan, 1, 1, 1)))
    assert not delivery.received.any()
    with pytest.raises(FloatingPointError, match="model or a downlink gain"):
        delivery.ledger.check()


@every
def test_model_of_zeros_is_received(downlink):
    delivery = send(downlink, torch.zeros(SIZE))
    assert not delivery.received.any()
    delivery.ledger.check()


@every
def test_draws_repeat_and_leave_inputs_and_the_global_generator_alone(downlink, global_rng_untouched):
    values, held = model(), model(seed=1).unsqueeze(0)
    kept = values.clone(), held.clone()
    one, other = send(downlink, values, held=held), send(downlink, values, held=held)
    assert torch.equal(one.received, other.received)
    assert torch.equal(values, kept[0])
    assert torch.equal(held, kept[1])


@every
def test_broadcast_reads_nothing_on_the_host(downlink):
    if downlink.fading.__class__.__name__ == "function":
        downlink = replace(downlink, fading=Rayleigh())
    with FakeTensorMode():
        delivery = send(downlink, torch.ones(SIZE))
        assert delivery.received.shape in ((NUM_DEVICES, SIZE), (1, SIZE))


def test_ledger_counts_the_broadcast():
    ledger = send(AnalogBroadcast(energy_budget=1.0, fading=Rayleigh(), bandwidth_hz=1e3)).ledger
    assert (ledger.num_symbols, ledger.num_channel_uses, ledger.seconds) == (SIZE, SIZE // 2, SIZE / 2e3)
    assert (ledger.side_information, ledger.known_gains, ledger.round) == (3, NUM_DEVICES, 3)
    assert ledger.summary()["received"] == ledger.received.double().mean()
    assert math.isnan(send(AnalogBroadcast(energy_budget=1.0)).ledger.seconds)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (AnalogBroadcast, {"energy_budget": 0.0}, "energy_budget must be finite and > 0"),
        (AnalogBroadcast, {"energy_budget": math.nan}, "energy_budget must be finite and > 0"),
        (DigitalBroadcast, {"noise_variance": -1.0}, "noise_variance must be finite and >= 0"),
        (AnalogBroadcast, {"noise_variance": math.nan}, "noise_variance must be finite and >= 0"),
        (AnalogBroadcast, {"threshold": math.nan}, "threshold must be finite and >= 0"),
        (AnalogBroadcast, {"bandwidth_hz": 0.0}, "bandwidth_hz must be finite and > 0"),
        (DigitalBroadcast, {"bits": 1}, r"bits must be an integer in 2 \.\. 16"),
        (DigitalBroadcast, {"symbols_per_parameter": 0.0}, "symbols_per_parameter must be finite and > 0"),
    ],
)
def test_impossible_options_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**{"energy_budget": 1.0, **options})


def test_options_of_another_type_are_refused():
    with pytest.raises(TypeError, match=r"energy_budget must be a number or a function \(round\) -> float"):
        DigitalBroadcast(energy_budget=[1.0, 2.0])
    with pytest.raises(TypeError, match=r"fading must be a function .* or an object with a method advance"):
        DigitalBroadcast(energy_budget=1.0, fading="rayleigh")
    with pytest.raises(TypeError, match="allocation must be a function"):
        AnalogBroadcast(energy_budget=1.0, allocation=3)


@pytest.mark.parametrize("downlink", [NoiselessBroadcast(), BROADCASTS[0], BROADCASTS[4]], ids=lambda d: type(d).__name__)
def test_models_of_another_form_are_refused(downlink):
    with pytest.raises(TypeError, match=r"values must be float32 or float64, got torch\.bfloat16"):
        send(downlink, model(torch.bfloat16))
    with pytest.raises(ValueError, match=r"values must be \[d\] with d = 2139"):
        send(downlink, layout=(600, 40, 1499))
    with pytest.raises(ValueError, match=r"or \[num_devices, d\] = \[5, 2140\], got shape \[4, 2140\]"):
        send(downlink, held=torch.zeros(4, SIZE))


def test_held_models_of_another_precision_are_refused():
    with pytest.raises(TypeError, match=r"held must be torch\.float32, as the values are, got torch\.float64"):
        send(BROADCASTS[0], held=torch.zeros(1, SIZE).double())


def test_digital_broadcast_to_devices_that_differ_is_refused():
    with pytest.raises(ValueError, match=r"held must be the devices' common copy \[1, d\], got \[5, 2140\]"):
        send(DigitalBroadcast(energy_budget=1.0), held=torch.zeros(NUM_DEVICES, SIZE))
