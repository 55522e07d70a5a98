"""Capacity, the normal approximation and packet errors."""

import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded
from scipy.integrate import quad
from scipy.stats import norm

from laser_wireless.channels.digital.link_rate import (
    Capacity,
    FiniteBlocklength,
    capacity,
    dispersion,
    finite_blocklength_bits,
    packet_error_probability,
)

SNRS = torch.tensor([0.0, 1e-6, 0.1, 1.0, 10.0, 1e4, math.inf], dtype=torch.float64)
USES = torch.tensor([500.0], dtype=torch.float64)


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_capacity_of_one_bit_takes_as_much_signal_as_noise():
    assert capacity(float64(1.0, 3.0, 0.0)).tolist() == pytest.approx([1.0, 2.0, 0.0])


@pytest.mark.parametrize("snr", [0.1, 1.0, 10.0])
def test_dispersion_is_the_variance_of_the_information_density(snr):
    """With inputs on the power sphere, i = C + log2(e) (snr - snr |z|^2 + 2 sqrt(snr) Re z) / (1 + snr), z ~ CN(0, 1).

    Here in numbers: z has two normal parts of variance 1/2; the x axis is the input's.
    """

    def squared_deviation(z, along):
        density = math.exp(-(z**2)) / math.sqrt(math.pi)
        value = (-snr * (z**2 - 0.5) + (2 * math.sqrt(snr) * z if along else 0)) / (1 + snr) / math.log(2)
        return density * value**2

    variance = sum(quad(squared_deviation, -12, 12, args=(along,))[0] for along in (True, False))
    assert dispersion(float64(snr)).item() == pytest.approx(variance, rel=1e-6)


def test_normal_approximation_agrees_with_an_independent_form():
    """As k(n, e) of two real channels: n_real = 2 n, V_real = snr (snr + 2) / (2 (snr + 1)^2) log2(e)^2."""
    snr, n, error = 1.0, 500, 1e-3
    v_real = snr * (snr + 2) / (2 * (snr + 1) ** 2) / math.log(2) ** 2
    expected = 2 * n * 0.5 * math.log2(1 + snr) - math.sqrt(2 * n * v_real) * norm.isf(error) + 0.5 * math.log2(n)
    assert finite_blocklength_bits(float64(snr), float64(n), error).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "link", [Capacity(), Capacity(gap_db=2.0), FiniteBlocklength(), FiniteBlocklength(error_probability=0.4)]
)
@pytest.mark.parametrize("uses", [0.0, 1.0, 3.0, 40.0, 10_000.0])
def test_bits_are_whole_and_never_above_capacity(link, uses):
    n = float64(uses)
    bits = link.bits(SNRS[:-1], n)
    assert torch.equal(bits, bits.floor())
    assert (bits >= 0).all()
    assert (bits <= n * capacity(SNRS[:-1])).all()


def test_finite_blocklength_comes_closer_to_capacity_with_length():
    uses = float64(100, 1_000, 10_000, 1_000_000)
    share = FiniteBlocklength().bits(float64(2.0), uses) / (uses * capacity(float64(2.0)))
    assert (share.diff() > 0).all()
    assert share[0] < 0.8
    assert share[-1] > 0.99


def test_gap_is_paid_in_snr():
    half = Capacity(gap_db=10 * math.log10(2)).bits(float64(2.0), USES)
    assert half.item() == Capacity().bits(float64(1.0), USES).item() == 500


def test_packets_within_capacity_arrive_and_others_do_not():
    link, snr = Capacity(), float64(1.0, 1.0, 0.0, 0.0)
    bits = float64(500.0, 501.0, 0.0, 1.0)
    assert link.arrivals(snr, bits, USES, generator=seeded(0)).squeeze(-1).tolist() == [True, False, True, False]


def test_error_of_a_packet_as_long_as_its_rate_allows_is_the_one_asked_for():
    snr = float64(0.5, 1.0, 10.0)
    bits = finite_blocklength_bits(snr, USES, 0.01)
    assert packet_error_probability(snr, bits, USES).tolist() == pytest.approx([0.01] * 3, rel=1e-6)


def test_error_probability_at_the_extremes():
    found = packet_error_probability(float64(0.0, 0.0, math.inf, 1.0), float64(1.0, 0.0, 1e9, 1e6), USES)
    assert found.tolist() == [1.0, 0.0, 0.0, 1.0]


def test_packets_are_lost_as_often_as_the_approximation_says():
    link, num = FiniteBlocklength(error_probability=0.1), 40_000
    snr = torch.ones(num, dtype=torch.float64)
    bits = link.bits(snr, USES)
    error = packet_error_probability(snr[:1], bits[:1], USES).item()
    assert 0.05 < error <= 0.1  # rounded down: a little safer
    lost = ~link.arrivals(snr, bits, USES, generator=seeded(3)).squeeze(-1)
    assert_mean(lost, mean=error, variance=error * (1 - error))
    with pytest.raises(AssertionError, match="expected"):
        assert_mean(lost, mean=1.2 * error, variance=error * (1 - error))


@pytest.mark.parametrize("error", [0.0, 0.5, -1.0, math.nan])
def test_impossible_error_probability_is_refused(error):
    with pytest.raises(ValueError, match="error_probability"):
        FiniteBlocklength(error_probability=error)


@pytest.mark.parametrize("gap", [-1.0, math.inf, math.nan])
def test_impossible_gap_is_refused(gap):
    with pytest.raises(ValueError, match="gap_db"):
        Capacity(gap_db=gap)
