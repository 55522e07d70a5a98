"""Closed forms of votes, outage and mean rate against numbers, and against the uplinks themselves."""

import math

import pytest
import torch
from helpers.closed_forms import ergodic_capacity, outage_probability, vote_probability
from helpers.statistical import assert_mean, seeded
from scipy.integrate import quad

from laser_wireless.channels.fading.laws import Rayleigh
from laser_wireless.channels.round import Streams
from laser_wireless.channels.uplinks.fsk import FskMajorityVote
from laser_wireless.channels.uplinks.orthogonal_access import DigitalUplink


@pytest.mark.parametrize("snr", [1e-3, 0.1, 1.0, 100.0])
def test_ergodic_capacity_is_the_integral(snr):
    integral = quad(lambda power: math.exp(-power) * math.log2(1 + power * snr), 0, 60)[0]
    assert ergodic_capacity(snr) == pytest.approx(integral, rel=1e-6)


def test_ergodic_capacity_of_almost_no_signal():
    assert ergodic_capacity(1e-4) == pytest.approx(1e-4 / math.log(2), rel=2e-4)
    assert ergodic_capacity(1 / 599) == pytest.approx(ergodic_capacity(1 / 601) * 601 / 599, rel=1e-4)


def test_bits_of_a_digital_uplink_on_average():
    """Var log2(1 + |h|^2 snr) by quadrature; rounding down costs at most one bit."""
    rounds, uses, snr = 4_000, 1_000, 3.0
    gains = torch.randn(rounds, 1, 1, dtype=torch.complex64, generator=seeded(1))
    uplink = DigitalUplink(energy_budget=snr * 2 * uses, fading=Rayleigh(), num_channel_uses=uses)
    u = torch.randn(1, 200, generator=seeded(0)).expand(rounds, 1, 200)
    rate = uplink.link.bits(gains.abs().square().squeeze(-1).double() * snr, torch.tensor([float(uses)]).double()) / uses
    mean = ergodic_capacity(snr)
    square = quad(lambda power: math.exp(-power) * math.log2(1 + power * snr) ** 2, 0, 60)[0]
    assert_mean(rate + 0.5 / uses, mean=mean, variance=square - mean**2)
    reception = uplink.aggregate(u, (200,), round=0, streams=Streams(0), gains=gains)
    assert (reception.ledger.bits <= rate * uses).all()


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_outage_of_a_fixed_rate(rate):
    num, snr = 20_000, 3.0
    gains = torch.randn(num, 1, 1, dtype=torch.complex64, generator=seeded(2))
    uplink = DigitalUplink(energy_budget=snr * 200, fading=Rayleigh(), fixed_rate=rate, num_channel_uses=100)
    u = torch.ones(1, 4).expand(num, 1, 4)
    lost = uplink.aggregate(u, (4,), round=0, streams=Streams(0), gains=gains).ledger.lost
    chance = outage_probability(rate, snr)
    assert_mean(lost, mean=chance, variance=chance * (1 - chance))


def test_vote_of_an_fsk_uplink():
    num = 20_000
    uplink = FskMajorityVote(energy_budget=1.5 * num, noise_variance=0.4, fading=Rayleigh(), coherence="symbol")
    u = torch.tensor([[1.0], [1.0], [-1.0]]).expand(3, num)
    won = uplink.aggregate(u, (num,), round=0, streams=Streams(0)).estimate == 1
    chance = vote_probability(2, 1, 1.5, 0.4)
    assert chance == pytest.approx(3.8 / 6.1)
    assert_mean(won.double(), mean=chance, variance=chance * (1 - chance))
