"""Digital uplink: bits within capacity, the mean of what arrived, outages, energy, and training with error feedback."""

import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from helpers.uplinks import random_message, rising
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from laser_wireless.channels.digital.link_rate import Capacity, FiniteBlocklength
from laser_wireless.channels.digital.quantisation import SparseQuantiser, StochasticQuantiser
from laser_wireless.channels.fading.correlated import GaussMarkov
from laser_wireless.channels.fading.laws import NoFading, Rayleigh, Rician
from laser_wireless.channels.round import Streams
from laser_wireless.channels.uplinks.orthogonal_access import DigitalUplink

LAYOUT = (40, 2, 18)
LINKS = [Capacity(), FiniteBlocklength()]
QUANTISERS = [StochasticQuantiser(), SparseQuantiser(), StochasticQuantiser(per="message")]


def receive(uplink, u, layout=LAYOUT, *, round=0, seed=3, **options):
    return uplink.aggregate(u, layout, round=round, streams=Streams(seed), **options)


def capacity_bits(power, budget, noise_variance, own_uses):
    return own_uses * torch.log2(1 + power.double() * budget / (2 * noise_variance * own_uses))


@pytest.mark.parametrize("quantiser", QUANTISERS, ids=str)
@pytest.mark.parametrize("link", LINKS, ids=str)
@pytest.mark.parametrize("budget", [1.0, 30.0, 1e3, 1e6, 1e12])
def test_bits_stay_below_capacity_of_each_devices_own_channel_uses(budget, link, quantiser):
    u, gains = random_message(4, LAYOUT), torch.randn(4, 1, dtype=torch.complex64, generator=seeded(1))
    uplink = DigitalUplink(
        energy_budget=budget, noise_variance=0.7, link=link, quantiser=quantiser, fading=Rayleigh(), num_channel_uses=203
    )
    reception = receive(uplink, u, gains=gains)
    most = capacity_bits(gains.abs().square().squeeze(-1), budget, 0.7, 50)
    assert (reception.ledger.bits <= most).all()
    assert budget < 1e6 or (reception.ledger.bits > 0).all()
    reception.ledger.check()


def test_scarce_bits_by_default():
    uplink = DigitalUplink(energy_budget=1e3)
    ledger = receive(uplink, random_message(4, LAYOUT)).ledger
    assert ledger.num_channel_uses == 30
    assert receive(uplink, random_message(4, LAYOUT)).ledger.bits.max() <= 7 * math.log2(1 + 1e3 / 14)


def test_mean_over_devices_is_unbiased_with_the_reported_variance():
    u = random_message(3, (24,), dtype=torch.float64)
    rounds = 4_000
    uplink = DigitalUplink(energy_budget=1e4, num_channel_uses=48)
    reception = receive(uplink, u.expand(rounds, 3, 24), (24,))
    assert (reception.ledger.bits > 100).all()
    error = reception.estimate - u.mean(0)
    each = error.square().sum(-1)
    variance = error.var(0)  # for a bound on the mean only, entry by entry
    for entry in range(24):
        assert_mean(error[:, entry], mean=0, variance=variance[entry].item(), num_comparisons=24)
    assert reception.noise_variance.mean().item() == pytest.approx(each.mean().item() / 24, rel=0.15)


@pytest.mark.parametrize("quantiser", QUANTISERS, ids=str)
@pytest.mark.parametrize("noise_variance", [0.0, 1e-300])
def test_without_noise_the_estimate_is_the_mean(quantiser, noise_variance):
    u = random_message(4, LAYOUT, dtype=torch.float64)
    uplink = DigitalUplink(energy_budget=1.0, noise_variance=noise_variance, quantiser=quantiser, num_channel_uses=400)
    reception = receive(uplink, u)
    assert (reception.estimate - u.mean(0)).abs().max() < 2e-2 * u.abs().max()
    fine = DigitalUplink(
        energy_budget=1.0,
        noise_variance=noise_variance,
        quantiser=type(quantiser)(max_bits=24, scale_bits=32),
        num_channel_uses=400,
    )
    assert (receive(fine, u).estimate - u.mean(0)).abs().max() < 1e-6 * u.abs().max()


def test_one_device_gets_what_was_decoded_of_it():
    u = random_message(1, LAYOUT)
    reception = receive(DigitalUplink(energy_budget=1e4), u)
    assert torch.equal(reception.estimate, reception.decoded[0])
    assert torch.equal(reception.delivered_symbols(u), reception.decoded)


@pytest.mark.parametrize("quantiser", QUANTISERS, ids=str)
def test_devices_without_energy_are_silent_and_do_not_count(quantiser):
    u = random_message(3, LAYOUT)
    uplink = DigitalUplink(energy_budget=[1e30, 0.0, 1e30], num_channel_uses=300, quantiser=quantiser)
    reception = receive(uplink, u)
    assert reception.ledger.bits[1] == 0
    assert (reception.decoded[1] == 0).all()
    assert reception.delivered[:, 0].tolist() == [1, 0, 1]
    assert torch.allclose(reception.estimate, u[[0, 2]].mean(0), atol=1e-2)
    assert reception.ledger.energy_spent.tolist() == [1e30, 0.0, 1e30]
    assert reception.ledger.active_fraction.tolist() == [1, 0, 1]


def test_too_few_bits_for_anything_spend_nothing():
    reception = receive(DigitalUplink(energy_budget=0.1), random_message(4, LAYOUT))
    assert (reception.ledger.bits == 0).all()
    assert (reception.estimate == 0).all()
    assert (reception.ledger.energy_spent == 0).all()
    assert reception.ledger.outage == 1
    assert (reception.ledger.lost == 0).all()
    reception.ledger.check()


def test_fixed_rate_loses_packets_in_outage():
    """P(C(h) < R) = 1 - exp(-(2^R - 1) / snr) under Rayleigh fading, snr per channel use."""
    num, rate, snr = 20_000, 2.0, 6.0
    gains = torch.randn(num, 2, 1, dtype=torch.complex64, generator=seeded(4))
    uplink = DigitalUplink(energy_budget=snr * 2 * 50, fixed_rate=rate, fading=Rayleigh(), num_channel_uses=100)
    u = random_message(2, (8,)).expand(num, 2, 8)
    reception = receive(uplink, u, (8,), gains=gains)
    outage = 1 - math.exp(-(2**rate - 1) / snr)
    assert_mean(reception.ledger.lost, mean=outage, variance=outage * (1 - outage))
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(reception.ledger.lost, mean=1.1 * outage, variance=outage * (1 - outage))
    gone = reception.ledger.lost == 1
    assert (reception.decoded[gone] == 0).all()
    assert (reception.delivered[gone] == 0).all()
    both = gone.all(-1)
    assert_mean(both, mean=outage**2, variance=outage**2 * (1 - outage**2))
    assert (reception.estimate[both] == 0).all()
    assert torch.equal(reception.ledger.outage, both.double())
    one = gone[:, 0] & ~gone[:, 1]
    assert torch.allclose(reception.estimate[one], reception.decoded[one, 1])
    assert (reception.ledger.energy_spent == snr * 100).all()  # nobody knew
    assert reception.ledger.known_gains == 0


def test_packets_of_finite_length_fail_as_asked():
    num = 20_000
    link = FiniteBlocklength(error_probability=0.05)
    uplink = DigitalUplink(energy_budget=1e3, link=link, num_channel_uses=200)
    reception = receive(uplink, random_message(2, (30,)).expand(num, 2, 30), (30,))
    lost = reception.ledger.lost.mean().item()
    assert 0.03 < lost <= 0.05 + 5 * math.sqrt(0.05 / num)


class SomePackets:
    """A user's link: 176 bits in packets, of which given ones arrive."""

    def __init__(self, *arrive):
        self.arrive = torch.tensor(arrive, dtype=torch.bool)

    def bits(self, snr, num_channel_uses):
        return torch.full_like(snr, 176.0)

    def arrivals(self, snr, bits, num_channel_uses, *, generator):
        return self.arrive.expand(*bits.shape, -1)


@pytest.mark.parametrize("num_packets", [2, 8, 11, 16])
def test_symbols_are_lost_with_any_packet_that_holds_a_bit_of_them(num_packets):
    """A scale of 16 bits, then 40 symbols of 4 bits each; without the scale nothing can be read."""
    u, size = random_message(1, (40,)), 176 / num_packets
    for lost in range(num_packets):
        link = SomePackets(*(packet != lost for packet in range(num_packets)))
        reception = receive(DigitalUplink(energy_budget=1.0, link=link), u, (40,))
        assert reception.ledger.bits.item() == 176

        def touched(start, end, lost=lost):
            return any(int((bit + 0.5) / size) == lost for bit in range(start, end))

        gone = torch.tensor([touched(0, 16) or touched(16 + 4 * s, 20 + 4 * s) for s in range(40)])
        assert torch.equal(reception.decoded[0] == 0, gone)
        assert reception.ledger.lost.item() == pytest.approx(gone.double().mean().item())


def test_snr_of_a_channel_use():
    """P = 300 over 25 channel uses of noise 2 sigma^2 = 4: SNR 3, two bits each."""
    seen = []

    class Watching(Capacity):
        def bits(self, snr, num_channel_uses):
            seen.append((snr.tolist(), num_channel_uses.tolist()))
            return super().bits(snr, num_channel_uses)

    uplink = DigitalUplink(energy_budget=300.0, noise_variance=2.0, link=Watching(), num_channel_uses=103)
    receive(uplink, random_message(4, LAYOUT))
    assert seen[0] == ([3.0] * 4, [25.0])


def test_schedule_without_a_number_makes_the_round_void():
    def broken(round):
        return torch.tensor([1e6, math.nan, math.inf, -1.0])

    reception = receive(DigitalUplink(energy_budget=broken), random_message(4, LAYOUT))
    assert (reception.estimate == 0).all()
    assert (reception.ledger.energy_spent == 0).all()
    with pytest.raises(FloatingPointError, match=r"devices \[1, 2, 3\]"):
        reception.ledger.check()


def test_mean_over_all_divides_by_everybody_with_energy():
    u = random_message(3, LAYOUT)
    options = {"energy_budget": [1e30, 0.0, 1e30], "num_channel_uses": 300}
    gains = torch.tensor([[1.0], [1.0], [0.0]])
    received, everybody = (receive(DigitalUplink(**options, mean_over=over), u, gains=gains) for over in ("received", "all"))
    assert torch.equal(received.estimate, received.decoded[0])
    assert torch.equal(everybody.estimate, received.estimate / 2)
    assert torch.allclose(everybody.noise_variance, received.noise_variance / 4)


def test_adaptive_rate_never_fails_and_knows_its_gain():
    reception = receive(DigitalUplink(energy_budget=1e3, fading=Rayleigh()), random_message(4, LAYOUT))
    assert (reception.ledger.lost == 0).all()
    assert reception.ledger.known_gains == 4
    assert reception.ledger.side_information == 0


def test_access_decides_the_peak_alone():
    u = random_message(4, LAYOUT)
    turns, together = (
        receive(DigitalUplink(energy_budget=1e4, access=access, num_channel_uses=100, bandwidth_hz=50.0), u)
        for access in ("tdma", "ofdma")
    )
    assert torch.equal(turns.estimate, together.estimate)
    assert turns.ledger.peak_power.tolist() == pytest.approx([1e4 / 50] * 4)
    assert together.ledger.peak_power.tolist() == pytest.approx([1e4 / 200] * 4)
    assert turns.ledger.papr.tolist() == pytest.approx([4] * 4)
    assert together.ledger.papr.tolist() == pytest.approx([1] * 4)
    assert turns.ledger.seconds == together.ledger.seconds == 2.0


def test_antennas_and_large_scale_gains_add_to_the_power():
    u = random_message(2, LAYOUT)
    gains = torch.randn(2, 3, 1, dtype=torch.complex64, generator=seeded(9))
    combined = receive(
        DigitalUplink(energy_budget=100.0, num_rx_antennas=3, link_gain=[4.0, 1.0], num_channel_uses=200), u, gains=gains
    )
    power = gains.abs().square().sum(1) * torch.tensor([[4.0], [1.0]])
    alone = receive(DigitalUplink(energy_budget=100.0, num_channel_uses=200), u, gains=power.double().sqrt())
    assert torch.equal(combined.ledger.bits, alone.ledger.bits)


def test_large_scale_gains_may_be_a_function():
    def far(num_devices, *, generator):
        return torch.full((num_devices,), 1e-9, device=generator.device)

    reception = receive(DigitalUplink(energy_budget=100.0, link_gain=far), random_message(2, LAYOUT))
    assert (reception.ledger.bits == 0).all()


@settings(deadline=None, max_examples=60)
@given(
    budget=st.floats(1e-3, 1e12),
    noise_variance=st.floats(0, 1e3),
    fading=st.sampled_from([NoFading(), Rayleigh(), Rician()]),
    link=st.sampled_from([*LINKS, Capacity(gap_db=3.0)]),
    quantiser=st.sampled_from(QUANTISERS),
    uses=st.sampled_from([None, 4, 100, 2000]),
    rate=st.sampled_from([None, 0.3, 4.0]),
    seed=st.integers(0, 50),
)
def test_no_option_spends_more_than_the_budget(budget, noise_variance, fading, link, quantiser, uses, rate, seed):
    uplink = DigitalUplink(
        energy_budget=[budget, budget / 3, 0.0],
        noise_variance=noise_variance,
        fading=fading,
        link=link,
        quantiser=quantiser,
        num_channel_uses=uses,
        fixed_rate=rate,
    )
    reception = receive(uplink, random_message(3, LAYOUT, seed=seed), seed=seed)
    reception.ledger.check()
    assert reception.estimate.isfinite().all()
    assert (reception.ledger.energy_spent[reception.ledger.bits == 0] == 0).all()


@pytest.mark.parametrize("quantiser", QUANTISERS, ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_round_with_a_message_that_is_not_finite_is_void(bad, quantiser):
    u = random_message(3, LAYOUT)
    u[1, 5] = bad
    reception = receive(DigitalUplink(energy_budget=1e6, quantiser=quantiser), u)
    assert (reception.estimate == 0).all()
    assert (reception.decoded == 0).all()
    assert (reception.delivered == 0).all()
    assert (reception.ledger.bits == 0).all()
    assert (reception.ledger.energy_spent == 0).all()
    with pytest.raises(FloatingPointError, match=r"devices \[1\]"):
        reception.ledger.check()


def test_gain_that_is_not_finite_makes_the_round_void():
    reception = receive(DigitalUplink(energy_budget=1e6), random_message(2, LAYOUT), gains=torch.tensor([[1.0], [math.nan]]))
    assert (reception.estimate == 0).all()
    with pytest.raises(FloatingPointError, match=r"devices \[1\]"):
        reception.ledger.check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leading_axes(dtype):
    u = random_message(3, LAYOUT, dtype=dtype).expand(2, 5, 3, 60)
    noise_variance = torch.tensor([[0.1], [10.0]])
    reception = receive(DigitalUplink(energy_budget=1e4, noise_variance=noise_variance, fading=Rayleigh()), u)
    assert reception.estimate.shape == (2, 5, 60)
    assert reception.estimate.dtype == dtype
    assert reception.ledger.bits.shape == (2, 5, 3)
    assert reception.noise_variance.shape == (2, 5, 3)
    assert reception.ledger.outage.shape == (2, 5)
    assert (reception.ledger.bits[0] > reception.ledger.bits[1]).all()


def test_rounds_repeat_and_leave_torch_and_the_message_alone():
    u, uplink = random_message(3, LAYOUT), DigitalUplink(energy_budget=1e4, fading=Rayleigh(), link=FiniteBlocklength())
    kept, before = u.clone(), torch.get_rng_state()
    first, again, other = (receive(uplink, u, round=round).estimate for round in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(u, kept)
    assert torch.equal(before, torch.get_rng_state())


def test_gradients_pass_straight_through_to_the_devices_received():
    u = random_message(3, LAYOUT).requires_grad_()
    uplink = DigitalUplink(energy_budget=[1e30, 0.0, 1e30], num_channel_uses=300)
    reception = receive(uplink, u)
    assert torch.equal(reception.estimate, receive(uplink, u.detach()).estimate)
    reception.estimate.sum().backward()
    assert torch.allclose(u.grad, torch.tensor([[0.5], [0.0], [0.5]]).expand(3, 60))


@pytest.mark.parametrize("quantiser", QUANTISERS, ids=str)
@pytest.mark.parametrize("link", LINKS, ids=str)
@pytest.mark.parametrize("rate", [None, 1.0])
def test_nothing_is_read_on_the_host(rate, link, quantiser):
    uplink = DigitalUplink(energy_budget=[1.0, 0.0, 2.0], link=link, quantiser=quantiser, fixed_rate=rate, fading=Rayleigh())
    with FakeTensorMode():
        u = torch.randn(3, 60)
        reception = receive(uplink, u)
        assert reception.delivered_symbols(u).shape == u.shape
        assert reception.estimate.shape == (60,)


def test_fading_continues_from_round_to_round():
    u, fading = random_message(2, LAYOUT), GaussMarkov(correlation=1.0)
    uplink = DigitalUplink(energy_budget=1e3, fading=fading)
    first = receive(uplink, u, round=0)
    second = receive(uplink, u, round=1, state=first.state)
    assert torch.equal(first.ledger.bits, second.ledger.bits)
    assert not torch.equal(first.ledger.bits, receive(uplink, u, round=1).ledger.bits)


def test_budget_may_follow_a_schedule():
    uplink = DigitalUplink(energy_budget=rising, noise_variance=1e-3)
    assert receive(uplink, random_message(2, LAYOUT), round=4).ledger.energy_spent.tolist() == [6.0, 6.0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"energy_budget": -1.0}, ValueError, "energy_budget"),
        ({"noise_variance": math.nan}, ValueError, "noise_variance"),
        ({"fading": "rayleigh"}, TypeError, "fading must be a function"),
        ({"link_gain": [[1.0]]}, TypeError, r"link_gain\[0\] must be a number"),
        ({"num_rx_antennas": 0}, ValueError, "num_rx_antennas"),
        (
            {"link": "capacity"},
            TypeError,
            r"link must have a method bits\(snr, num_channel_uses\).*; 'capacity' has none",
        ),
        ({"quantiser": 8}, TypeError, r"quantiser must be a function \(symbols, layout, bits"),
        ({"num_channel_uses": 0}, ValueError, "num_channel_uses"),
        ({"num_channel_uses": 2.5}, TypeError, "num_channel_uses must be an integer or None"),
        ({"fixed_rate": 0.0}, ValueError, "fixed_rate"),
        ({"fixed_rate": math.nan}, ValueError, "fixed_rate"),
        ({"mean_over": "some"}, ValueError, 'mean_over must be "received" or "all"'),
        ({"access": "cdma"}, ValueError, 'access must be "tdma" or "ofdma"'),
        ({"bandwidth_hz": -1.0}, ValueError, "bandwidth_hz"),
    ],
)
def test_impossible_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        DigitalUplink(**{"energy_budget": 1.0, **options})


@pytest.mark.parametrize(
    ("num_devices", "options", "message"),
    [
        (31, {}, r"at least one for each of the 31 devices, got 30 \(half the symbols\)"),
        (3, {"num_channel_uses": 2}, "at least one for each of the 3 devices, got 2;"),
        (3, {"energy_budget": [1.0, 1.0]}, "one for each of the 3 devices"),
        (3, {"link_gain": [1.0, 1.0]}, "link_gain must hold one real power gain for each of the 3"),
    ],
)
def test_rounds_that_do_not_fit_are_refused(num_devices, options, message):
    with pytest.raises(ValueError, match=message):
        receive(DigitalUplink(**{"energy_budget": 1.0, **options}), random_message(num_devices, LAYOUT))
