"""Signed sums by energy difference: closed forms of mean and variance, energies, limits, calibration, state, training."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.closed_forms import energy_difference_cumulants, energy_difference_moments
from helpers.statistical import assert_mean, seeded
from helpers.uplinks import ALLOCATIONS, FADINGS, SCALES, random_message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels import (
    EnergyDifference,
    GaussMarkov,
    Jakes,
    Nakagami,
    NoFading,
    OracleScale,
    PreviousScale,
    Rayleigh,
    Streams,
    UniformAllocation,
)
from laser_wireless.channels.round import LocalAir
from laser_wireless.compression import LowRank, Uncompressed
from laser_wireless.training import UplinkBridge

ROUND = {"round": 0, "streams": Streams(5)}
ENTRIES = [[1.0], [0.3, -0.5, 2.0], [1.0, 0.2, 0.0], [-1.0, -1.0, -1.0], [2.0, -2.0]]
"""An entry of each device."""


def samples_of(entries, *, energy=2.0, size=40_000, **options):
    """Differences of received energies, [size] independent ones, and what an entry of size 1 arrives with."""
    u = torch.tensor(entries).unsqueeze(1).expand(-1, size)
    uplink = EnergyDifference(**{"energy_budget": energy * size, "coherence": "symbol", "fading": Rayleigh(), **options})
    per_unit = energy / max(map(abs, entries))
    reception = uplink.aggregate(u, (size,), **ROUND)
    return reception.estimate.double() * len(entries) * per_unit, per_unit


def assert_moments(samples, mean, variance, *, of_square):
    """of_square: variance of (r - mean)^2."""
    assert_mean(samples, mean=mean, variance=variance)
    assert_mean((samples - mean).square(), mean=variance, variance=of_square)


@pytest.mark.parametrize("entries", ENTRIES, ids=str)
@pytest.mark.parametrize("num_chips", [1, 4])
@pytest.mark.parametrize("noise_variance", [0.0, 0.5, 3.0])
def test_mean_and_variance_under_rayleigh_fading(entries, num_chips, noise_variance):
    samples, per_unit = samples_of(entries, num_chips=num_chips, noise_variance=noise_variance)
    arriving = [per_unit * entry for entry in entries]
    mean, variance = energy_difference_moments(arriving, noise_variance, num_chips=num_chips)
    plus, minus = sum(a for a in arriving if a > 0), -sum(a for a in arriving if a < 0)
    published = (plus**2 + minus**2) / num_chips + 4 * noise_variance * (plus + minus) + 8 * num_chips * noise_variance**2
    second, fourth = energy_difference_cumulants(arriving, noise_variance, num_chips=num_chips)
    assert variance == pytest.approx(published)
    assert variance == pytest.approx(second)
    assert_moments(samples, mean, variance, of_square=fourth + 2 * second**2)


def nakagami_moments(m):
    """E|h|^(2n): |h|^2 is a gamma variable of shape m."""
    return [math.gamma(m + n) / math.gamma(m) / m**n for n in range(5)]


@pytest.mark.parametrize(
    ("fading", "powers"),
    [(NoFading(), [1.0] * 5), (Nakagami(m=0.7), nakagami_moments(0.7)), (Nakagami(m=3.0), nakagami_moments(3.0))],
    ids=["no fading", "deeper than Rayleigh", "shallower"],
)
@pytest.mark.parametrize("num_chips", [1, 3])
def test_mean_and_variance_of_any_law(fading, powers, num_chips):
    samples, per_unit = samples_of(ENTRIES[1], num_chips=num_chips, noise_variance=0.2, fading=fading)
    arriving = [per_unit * entry for entry in ENTRIES[1]]
    mean, variance = energy_difference_moments(arriving, 0.2, num_chips=num_chips, kurtosis=powers[2])
    second, fourth = energy_difference_cumulants(arriving, 0.2, num_chips=num_chips, power_moments=powers)
    assert variance == pytest.approx(second)
    assert_moments(samples, mean, variance, of_square=fourth + 2 * second**2)


@pytest.mark.parametrize(("coherence", "num_gains"), [("round", 1), ("chip", 3)])
def test_mean_and_variance_over_rounds_of_a_gain_for_all_entries(coherence, num_gains):
    """One entry a round, so that rounds are the independent samples.

    Given the phases, r is a quadratic form of complex Gaussian gains and noise, whose eigenvalues add up to at most the
    energy T that arrives: E(r - mean)^4 = 6 sum lambda^4 + 3 (sum lambda^2)^2 <= 9 T^4.
    """
    rounds, entries, noise_variance = 100_000, [1.0, 0.6, -0.4], 0.1
    uplink = EnergyDifference(energy_budget=2.0, noise_variance=noise_variance, num_chips=3, coherence=coherence)
    gains = torch.randn(rounds, 3, num_gains, dtype=torch.complex64, generator=seeded(3))
    u = torch.tensor(entries).unsqueeze(1).expand(rounds, 3, 1)  # the largest arrives with energy 2
    samples = uplink.aggregate(u, (1,), **ROUND, gains=gains).estimate.squeeze(-1).double() * 3 * 2
    arriving = [2 * entry for entry in entries]
    total = sum(map(abs, arriving)) + 2 * 3 * 2 * noise_variance
    mean, variance = energy_difference_moments(arriving, noise_variance, num_chips=3, same_gain=coherence == "round")
    assert_moments(samples, mean, variance, of_square=9 * total**4)
    other = energy_difference_moments(arriving, noise_variance, num_chips=3, same_gain=coherence != "round")[1]
    with pytest.raises(AssertionError, match="expected"):
        assert_moments(samples, mean, other, of_square=9 * total**4)


@pytest.mark.parametrize("wrong", ["noise", "chips", "sign"])
def test_another_model_is_noticed(wrong):
    noise_variance, num_chips, entries = 0.5, 4, [0.3, -0.5, 2.0]
    samples, per_unit = samples_of(entries, num_chips=num_chips, noise_variance=noise_variance)
    noise_variance, num_chips = noise_variance * (1.1 if wrong == "noise" else 1), 3 if wrong == "chips" else num_chips
    arriving = [per_unit * (abs(entry) if wrong == "sign" else entry) for entry in entries]
    mean, variance = energy_difference_moments(arriving, noise_variance, num_chips=num_chips)
    second, fourth = energy_difference_cumulants(arriving, noise_variance, num_chips=num_chips)
    with pytest.raises(AssertionError, match="expected"):
        assert_moments(samples, mean, variance, of_square=fourth + 2 * second**2)


def test_chips_divide_the_fading_and_multiply_the_noise():
    """At equal energy: with noise far below the signal L chips divide the variance by L, far above they multiply it by L.

    A variance of 40,000 samples is off by sqrt(8 / 40,000) at most, the ratio of two by 2 %: 10 % is five deviations.
    """

    def variance(noise_variance, num_chips):
        samples, _ = samples_of([1.0, -0.5], num_chips=num_chips, noise_variance=noise_variance)
        return samples.var().item()

    assert variance(1e-6, 8) / variance(1e-6, 1) == pytest.approx(1 / 8, rel=0.1)
    assert variance(100.0, 8) / variance(100.0, 1) == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_chips", [1, 5])
def test_one_device_without_fading_and_noise_is_received_exactly(dtype, num_chips, device):
    u = random_message(1, (4, 3), dtype=dtype, device=device)
    uplink = EnergyDifference(energy_budget=3.0, noise_variance=0.0, num_chips=num_chips)
    reception = uplink.aggregate(u, (4, 3), **ROUND)
    assert reception.estimate.dtype == dtype
    assert reception.estimate.device == u.device
    torch.testing.assert_close(reception.estimate, u[0], rtol=20 * torch.finfo(dtype).eps, atol=0)
    assert torch.equal(reception.delivered_symbols(u), u)


def test_devices_of_opposite_signs_do_not_disturb_each_other():
    u = torch.tensor([[1.0, -2.0, 0.5], [-3.0, 1.0, 0.0]])
    estimate = EnergyDifference(energy_budget=3.0, noise_variance=0.0).aggregate(u, (3,), **ROUND).estimate
    torch.testing.assert_close(estimate, u.mean(0), rtol=1e-5, atol=1e-6)


def test_energy_peak_uses_and_seconds():
    u = torch.tensor([[1.0, -2.0, 0.0, 5.0], [0.0, 0.0, 0.0, 0.0], [-1.0, 1.0, 1.0, 1.0]])
    uplink = EnergyDifference(energy_budget=8.0, num_chips=3, bandwidth_hz=12.0)
    ledger = uplink.aggregate(u, (4,), **ROUND).ledger
    ledger.check()
    assert ledger.energy_spent.tolist() == pytest.approx([8.0, 0.0, 4.0], rel=1e-5)
    assert ledger.energy_allowed.tolist() == [8.0, 8.0, 8.0]
    assert ledger.peak_power.tolist() == pytest.approx([5 / 3, 0.0, 1 / 3], rel=1e-5)
    assert ledger.papr.tolist() == pytest.approx([5 / 3 / (8 / 48), 0.0, 1 / 3 / (4 / 48)], rel=1e-5)
    assert ledger.num_channel_uses == 24
    assert ledger.seconds == 2.0
    assert ledger.side_information == 2
    assert ledger.known_gains == 0
    assert ledger.outage.item() == 0


class Listening(LocalAir):
    """An air that notes the energy of every device in the real and imaginary parts of all channel uses.

    num_symbols: S, by which signals are told from what devices agree on; not the number of blocks.
    """

    def __init__(self, num_symbols):
        self.num_symbols, self.energy, self.largest = num_symbols, 0.0, 0.0

    def sum(self, x, dim):
        if x.shape[-1] == self.num_symbols and dim == -2:
            power = x.double().square()
            self.energy = self.energy + power.sum(-1)
            self.largest = max(self.largest, power.max().item())
        return super().sum(x, dim)


@st.composite
def runs(draw):
    """An uplink, and three rounds of messages."""
    num_devices = draw(st.integers(1, 4))
    layout = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4).filter(lambda sizes: max(sizes) > 1)))
    budgets = st.lists(st.sampled_from([0.0, 1e-6, 1.0, 1e6]), min_size=num_devices, max_size=num_devices).filter(any)
    scale = draw(st.sampled_from(SCALES))
    uplink = EnergyDifference(
        energy_budget=draw(budgets | st.just(3.0)),
        noise_variance=draw(st.sampled_from([0.0, 1.0])),
        fading=draw(st.sampled_from(FADINGS)),
        num_chips=draw(st.integers(1, 3)),
        coherence=draw(st.sampled_from(["round", "chip", "symbol"])),
        allocation=draw(st.sampled_from(ALLOCATIONS)),
        scale=scale,
    )
    exponents = [-38, -30, -3, 0, 3, 30] if isinstance(scale, OracleScale) else [-2, 0, 2]
    dtype, generator = draw(st.sampled_from([torch.float32, torch.float64])), seeded(draw(st.integers(0, 1000)))
    rounds = []
    for _ in range(3):
        sizes = [draw(st.sampled_from(exponents)) for _ in layout]
        blocks = torch.cat([torch.full((n,), 10.0**e, dtype=torch.float64) for n, e in zip(layout, sizes, strict=True)])
        u = torch.randn(num_devices, sum(layout), dtype=torch.float64, generator=generator) * blocks
        if draw(st.booleans()):
            u[0] = 0
        rounds.append(u.to(dtype))
    return uplink, layout, rounds


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(run=runs())
def test_no_device_spends_more_than_its_budget(run):
    uplink, layout, rounds = run
    state = None
    for round, u in enumerate(rounds):
        reception = uplink.aggregate(u, layout, round=round, streams=Streams(0), state=state)
        ledger, air = reception.ledger, Listening(u.shape[1])
        ledger.check()
        assert (ledger.energy_spent <= ledger.energy_allowed).all()
        assert reception.estimate.isfinite().all()
        assert ((reception.delivered >= 0) & (reception.delivered <= 1)).all()
        still = replace(uplink, fading=NoFading())  # what arrives is what is sent
        still.aggregate(u, layout, round=round, streams=Streams(0), state=state, air=air)
        assert (air.energy <= ledger.energy_allowed).all()
        torch.testing.assert_close(air.energy, ledger.energy_spent, rtol=1e-4, atol=1e-30)
        assert air.largest <= ledger.peak_power.max().item() * (1 + 1e-5)
        state = reception.state


def test_the_check_notices_a_budget_overrun():
    u, air = random_message(2, (4,)), Listening(4)
    EnergyDifference(energy_budget=1.1).aggregate(u, (4,), **ROUND, air=air)
    assert not (air.energy <= 1.0).all()


@pytest.mark.parametrize("level", [1.0, 0.7, 0.1, 0.611, 1e-7, -0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_constant_message_keeps_to_the_budget(level, dtype):
    """Equal addends round the same way each time: the worst case for a sum."""
    u, air = torch.full((2, (1 << 17) + 1), level, dtype=dtype), Listening((1 << 17) + 1)
    ledger = EnergyDifference(energy_budget=1.0, num_chips=2).aggregate(u, (u.shape[1],), **ROUND, air=air).ledger
    assert (air.energy <= 1).all()
    assert (ledger.energy_spent <= 1).all()
    assert (ledger.energy_spent > 0.999).all()


def test_links_of_any_mean_power_count_alike():
    """Each device makes up for its link: the estimate is that of equal links at what the weakest can afford."""
    u = random_message(3, (5, 2))
    options = {"energy_budget": 6.0, "noise_variance": 0.0, "fading": Rayleigh()}
    calibrated = EnergyDifference(**options, link_gain=[2.0, 0.1, 30.0]).aggregate(u, (5, 2), **ROUND)
    alike = EnergyDifference(**options).aggregate(u, (5, 2), **ROUND)
    torch.testing.assert_close(calibrated.estimate, alike.estimate)
    spent = calibrated.ledger.energy_spent
    assert spent[1].item() == pytest.approx(6.0, rel=1e-4)
    sums = u.abs().sum(-1).double()
    only = EnergyDifference(energy_budget=6.0, link_gain=[2.0, 0.1, 30.0]).aggregate(u, (7,), **ROUND).ledger.energy_spent
    arriving = only / sums * torch.tensor([2.0, 0.1, 30.0]).double()
    torch.testing.assert_close(arriving, (6 * 0.1 / sums[1]).expand(3), rtol=1e-5, atol=0)


def test_devices_without_energy_or_link_never_count():
    u = random_message(4, (6,)).abs()
    uplink = EnergyDifference(energy_budget=[1.0, 0.0, 1.0, 1.0], link_gain=[1.0, 1.0, 0.0, 1.0], noise_variance=0.0)
    silent = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    alone = uplink.aggregate(u * silent, (6,), **ROUND)
    torch.testing.assert_close(alone.estimate, u[0] / 2)  # the other device that counts has nothing to send
    reception = uplink.aggregate(u, (6,), **ROUND)
    assert reception.delivered.squeeze(-1).tolist() == [1.0, 0.0, 0.0, 1.0]
    assert reception.ledger.active_fraction.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert reception.ledger.energy_spent[1:3].tolist() == [0.0, 0.0]


def test_message_of_zeros_is_silence():
    u = torch.zeros(3, 7)
    reception = EnergyDifference(energy_budget=1.0).aggregate(u, (4, 3), **ROUND)
    assert (reception.estimate == 0).all()
    assert (reception.ledger.energy_spent == 0).all()
    assert reception.ledger.outage.item() == 0


def test_block_without_energy_is_an_outage():
    def first_block_only(norms, block_sizes, air):
        return torch.tensor([[1.0, 0.0]], dtype=norms.dtype)

    uplink = EnergyDifference(energy_budget=1.0, allocation=first_block_only)
    reception = uplink.aggregate(torch.ones(2, 8), (2, 6), **ROUND)
    assert (reception.estimate[:2] != 0).all()
    assert (reception.estimate[2:] == 0).all()
    assert reception.ledger.outage.item() == pytest.approx(0.75)
    assert reception.delivered.tolist() == [[1.0, 0.0], [1.0, 0.0]]


def test_blocks_alike_share_one_gain_and_another_allocation_does_not():
    """By sums of magnitudes every entry of size 1 gets the same energy, wherever it stands: the paper's single gain."""
    u = torch.tensor([[3.0, -1.0, 2.0, 4.0]])
    whole = EnergyDifference(energy_budget=5.0).aggregate(u, (4,), **ROUND).ledger
    split = EnergyDifference(energy_budget=5.0).aggregate(u, (1, 3), **ROUND).ledger
    assert split.peak_power.item() == pytest.approx(whole.peak_power.item(), rel=1e-6)
    assert split.side_information == 2 * whole.side_information
    equal = EnergyDifference(energy_budget=5.0, allocation=UniformAllocation()).aggregate(u, (1, 3), **ROUND).ledger
    assert equal.peak_power.item() == pytest.approx(2.5, rel=1e-5)  # half the energy on the only entry of the first block
    shared = EnergyDifference(energy_budget=5.0).aggregate(u, (1, 3), share_as=(1, 1), **ROUND).ledger
    assert shared.peak_power.item() == pytest.approx(2.5, rel=1e-5)


def test_last_rounds_gain_clips_a_message_that_grew():
    uplink = EnergyDifference(energy_budget=1.0, noise_variance=0.0, scale=PreviousScale())
    u = torch.ones(1, 4)
    first = uplink.aggregate(u, (4,), **ROUND)
    second = uplink.aggregate(3 * u, (4,), round=1, streams=Streams(5), state=first.state)
    torch.testing.assert_close(second.estimate, torch.ones(4), rtol=1e-4, atol=0)  # at its limit: a third of the message
    torch.testing.assert_close(second.delivered_symbols(3 * u), u, rtol=1e-4, atol=0)
    assert second.ledger.energy_spent.item() == pytest.approx(1.0, rel=1e-4)
    third = uplink.aggregate(u, (4,), round=2, streams=Streams(5), state=second.state)
    torch.testing.assert_close(third.estimate, u[0], rtol=1e-4, atol=0)
    assert third.ledger.energy_spent.item() == pytest.approx(1 / 3, rel=1e-4)


@pytest.mark.parametrize("num_chips", [1, 4])
def test_measured_noise_is_that_of_the_estimate(num_chips):
    """E^2 / 2 of an exponential E is off by sqrt(5) of its mean, of 40,000 by 1.1 %: 10 % holds for both measures."""
    size, u = 40_000, torch.tensor([[0.3], [-0.5], [2.0]]).expand(3, 40_000)
    uplink = EnergyDifference(
        energy_budget=2.0 * size, noise_variance=0.5, fading=Rayleigh(), coherence="symbol", num_chips=num_chips
    )
    reception = uplink.aggregate(u, (size,), **ROUND)
    variance = energy_difference_moments([0.3, -0.5, 2.0], 0.5, num_chips=num_chips)[1] / 9
    assert reception.noise_variance.item() == pytest.approx(variance, rel=0.1)
    error = reception.estimate - u.mean(0)
    assert error.square().mean().item() == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize("coherence", ["round", "chip", "symbol"])
def test_fading_continues_from_round_to_round(coherence):
    uplink = EnergyDifference(
        energy_budget=1.0, fading=GaussMarkov(correlation=1.0), num_chips=2, coherence=coherence, noise_variance=0.0
    )
    u = random_message(3, (10,))
    first = uplink.aggregate(u, (10,), **ROUND)
    second = uplink.aggregate(u, (10,), round=1, streams=Streams(5), state=first.state)
    assert all(torch.equal(second.state["fading"][name], held) for name, held in first.state["fading"].items())
    one = uplink.aggregate(u[:1], (10,), **ROUND)
    again = uplink.aggregate(u[:1], (10,), round=1, streams=Streams(5), state=one.state)
    torch.testing.assert_close(one.estimate, again.estimate)  # the same gains, and one device's phases do not matter


def test_doppler_over_chips_needs_a_bandwidth():
    fading = Jakes(doppler_hz=20.0, round_interval_s=0.1)
    options = {"energy_budget": 1.0, "fading": fading, "num_chips": 2, "coherence": "chip"}
    with pytest.raises(ValueError, match="bandwidth_hz"):
        EnergyDifference(**options).aggregate(torch.ones(2, 4), (4,), **ROUND)
    uplink = EnergyDifference(**options, bandwidth_hz=1e3)
    assert uplink.aggregate(torch.ones(2, 4), (4,), **ROUND).ledger.seconds == pytest.approx(0.016)


def test_training_resumed_from_a_checkpoint_continues_bit_for_bit():
    def bridge_of():
        model = torch.nn.Linear(6, 3, bias=False)
        torch.nn.init.ones_(model.weight)
        uplink = EnergyDifference(
            energy_budget=50.0, fading=GaussMarkov(correlation=0.9), scale=PreviousScale(backoff=0.5), num_chips=2
        )
        return UplinkBridge(model, num_devices=3, compressor=Uncompressed(error_feedback=True), uplink=uplink, seed=1)

    def exchange(bridge, rounds):
        for round in rounds:
            for k in range(3):
                with bridge.gradients_of(k):
                    bridge.model(torch.randn(4, 6, generator=seeded(10 * round + k))).square().mean().backward()
            bridge.exchange().check()
        return [p.grad.clone() for p in bridge.model.parameters()]

    whole, half, resumed = bridge_of(), bridge_of(), bridge_of()
    expected = exchange(whole, range(6))
    exchange(half, range(3))
    resumed.load_state_dict(half.state_dict())
    assert all(map(torch.equal, exchange(resumed, range(3, 6)), expected))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_round_with_a_message_that_is_not_finite_is_invalid(bad):
    u = random_message(3, (4,))
    u[1, 2] = bad
    reception = EnergyDifference(energy_budget=1.0, scale=PreviousScale()).aggregate(u, (4,), **ROUND)
    assert (reception.estimate == 0).all()
    assert (reception.delivered == 0).all()
    assert (reception.ledger.energy_spent == 0).all()
    assert reception.noise_variance.tolist() == [0.0]
    assert not reception.state["scale"]["amplitude"].isnan().any()
    with pytest.raises(FloatingPointError, match=r"devices \[1\]"):
        reception.ledger.check()


def test_leading_axes_and_noise_along_them():
    u = random_message(3, (4, 2)).expand(5, 3, 6)
    noise_variance = torch.tensor([0.0, 0.1, 1.0, 2.0, 1e6])
    reception = EnergyDifference(energy_budget=1.0, noise_variance=noise_variance).aggregate(u, (4, 2), **ROUND)
    assert reception.estimate.shape == (5, 6)
    assert reception.noise_variance.shape == (5, 2)
    assert reception.ledger.energy_spent.shape == (5, 3)
    error = (reception.estimate - u[0].mean(0)).square().mean(-1)
    assert error[4] > 1e6 * error[:3].max()
    alone = torch.stack([u[0], torch.full_like(u[0], torch.nan)])
    estimate = EnergyDifference(energy_budget=1.0).aggregate(alone, (6,), **ROUND).estimate
    assert (estimate[0] != 0).all()
    assert (estimate[1] == 0).all()


def test_rounds_repeat_and_leave_torch_and_the_message_alone():
    u, uplink = random_message(3, (100,)), EnergyDifference(energy_budget=1.0, fading=Rayleigh(), num_chips=2)
    before, message = torch.get_rng_state(), u.clone()
    first = uplink.aggregate(u, (100,), round=3, streams=Streams(1)).estimate
    assert torch.equal(first, uplink.aggregate(u, (100,), round=3, streams=Streams(1)).estimate)
    assert not torch.equal(first, uplink.aggregate(u, (100,), round=4, streams=Streams(1)).estimate)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(u, message)


@pytest.mark.parametrize("coherence", ["round", "chip", "symbol"])
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_nothing_is_read_on_the_host(coherence, scale):
    uplink = EnergyDifference(
        energy_budget=1.0, fading=Rayleigh(), coherence=coherence, num_chips=2, scale=scale, link_gain=[1.0, 2.0, 0.0]
    )
    with FakeTensorMode():
        state = None
        for round in range(2):
            reception = uplink.aggregate(torch.randn(3, 10), (4, 6), round=round, streams=Streams(0), state=state)
            state = reception.state
        assert reception.estimate.shape == (10,)
        assert reception.delivered_symbols(torch.randn(3, 10)).shape == (3, 10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"energy_budget": 0.0}, ValueError, "energy_budget"),
        ({"noise_variance": -1.0}, ValueError, "noise_variance"),
        ({"noise_variance": math.nan}, ValueError, "noise_variance"),
        ({"fading": 3}, TypeError, "fading must be a function"),
        ({"bandwidth_hz": 0.0}, ValueError, "bandwidth_hz"),
        ({"link_gain": [1.0, -1.0]}, ValueError, "link_gain must hold one finite power gain"),
        ({"num_chips": 0}, ValueError, "num_chips must be an integer >= 1"),
        ({"num_chips": 1.5}, TypeError, "num_chips"),
        ({"coherence": "block"}, ValueError, "coherence"),
        ({"scale": "oracle"}, TypeError, "scale"),
        ({"allocation": 3}, TypeError, "allocation"),
    ],
)
def test_impossible_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        EnergyDifference(**{"energy_budget": 1.0, **options})


@pytest.mark.parametrize(
    ("u", "layout", "options", "error", "message"),
    [
        (torch.ones(2, 4, dtype=torch.int64), (4,), {}, TypeError, "float32 or float64"),
        (torch.ones(4), (4,), {}, ValueError, "num_devices, num_symbols"),
        (torch.ones(2, 4), (3,), {}, ValueError, "layout"),
        (torch.ones(2, 4), (4,), {"energy_budget": [1.0, 1.0, 1.0]}, ValueError, "one for each of the 2 devices"),
        (
            torch.ones(2, 4),
            (4,),
            {"link_gain": [1.0]},
            ValueError,
            "link_gain must hold one real power gain for each of the 2",
        ),
    ],
)
def test_messages_that_do_not_fit_are_refused(u, layout, options, error, message):
    with pytest.raises(error, match=message):
        EnergyDifference(**{"energy_budget": 1.0, **options}).aggregate(u, layout, **ROUND)


@pytest.mark.parametrize(("coherence", "wanted"), [("round", 1), ("chip", 3), ("symbol", 12)])
def test_gains_that_do_not_fit_are_refused(coherence, wanted):
    uplink = EnergyDifference(energy_budget=1.0, num_chips=3, coherence=coherence)
    with pytest.raises(ValueError, match=rf"gains must be .* = \[\.\.\., 2, {wanted}\]"):
        uplink.aggregate(torch.ones(2, 4), (4,), **ROUND, gains=torch.ones(2, 5))


@pytest.mark.parametrize("compressor", [Uncompressed(), LowRank(rank=2)], ids=str)
def test_training_over_rayleigh_fading_without_channel_knowledge(compressor):
    model = torch.nn.Linear(6, 4, bias=False)
    torch.nn.init.zeros_(model.weight)
    target = torch.linspace(-1, 1, 24).view(4, 6)
    uplink = EnergyDifference(energy_budget=2_000.0, fading=Rayleigh(), num_chips=4, coherence="chip")
    bridge = UplinkBridge(model, num_devices=7, compressor=compressor, uplink=uplink, seed=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(60):
        for k in range(7):
            with bridge.gradients_of(k):
                (model.weight - target).square().sum().backward()
        bridge.exchange().check()
        optimizer.step()
    assert (model.weight - target).square().sum().item() < 0.1 * target.square().sum().item()
