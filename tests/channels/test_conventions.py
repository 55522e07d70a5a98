"""SNR, noise and Eb/N0 of papers, MATLAB and Sionna, against Sionna's own function and by simulation."""

import math

import pytest
import torch
from helpers.statistical import assert_mean, seeded

from laser_wireless.channels import (
    AnalogUplink,
    Streams,
    ebno_from_snr,
    energy_from_snr,
    from_db,
    no_from_noise_variance,
    noise_variance_from_signal_power,
    snr_from_ebno,
    to_db,
)
from laser_wireless.channels.propagation.sionna_runtime import load_sionna


@pytest.mark.parametrize(("bits", "rate"), [(1, 1.0), (2, 0.5), (4, 0.75), (6, 1 / 3)])
@pytest.mark.parametrize("ebno_db", [-3.0, 0.0, 7.5])
def test_no_is_that_of_sionnas_ebnodb2no(ebno_db, bits, rate):
    load_sionna()
    from sionna.phy.utils import ebnodb2no

    theirs = ebnodb2no(ebno_db, bits, rate, precision="double", device="cpu").item()
    ours = no_from_noise_variance(0.5 / snr_from_ebno(from_db(ebno_db), bits, rate))  # of symbols of energy 1
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert to_db(ebno_from_snr(1 / theirs, bits, rate)) == pytest.approx(ebno_db, abs=1e-12)


def bit_errors(energy_budget, noise_variance, n=400_000):
    """Whether each of n bits, one on each real symbol, is decided wrongly."""
    u = torch.randint(2, (1, n), generator=seeded(0)).double() * 2 - 1
    uplink = AnalogUplink(energy_budget=energy_budget, noise_variance=noise_variance)
    return (uplink.aggregate(u, (n,), round=0, streams=Streams(2)).estimate * u[0] < 0).double()


@pytest.mark.parametrize("ebno_db", [0.0, 4.0])
def test_bits_go_wrong_as_often_as_eb_n0_says(ebno_db):
    """Q(sqrt(2 Eb/N0)), MATLAB's berawgn of BPSK and of QPSK; whoever counts one bit in a channel use is 3 dB off."""
    n, noise_variance, ebno = 400_000, 0.5, from_db(ebno_db)
    rate = math.erfc(math.sqrt(ebno)) / 2
    budget = energy_from_snr(snr_from_ebno(ebno, bits_per_symbol=2), n, noise_variance)
    assert_mean(bit_errors(budget, noise_variance), mean=rate, variance=rate * (1 - rate))
    hasty = energy_from_snr(snr_from_ebno(ebno, bits_per_symbol=1), n, noise_variance)
    with pytest.raises(AssertionError):
        assert_mean(bit_errors(hasty, noise_variance), mean=rate, variance=rate * (1 - rate))


@pytest.mark.parametrize("is_complex", [True, False], ids=["complex", "real"])
def test_noise_that_matlab_adds_gives_the_snr_that_was_asked(is_complex):
    """A signal of power 3 at 10 dB per sample: our receiver's noise has the power that `awgn` gives its own."""
    n, power, snr = 200_000, 3.0, 10.0
    uplink = AnalogUplink(
        energy_budget=1.0, noise_variance=noise_variance_from_signal_power(power, snr, is_complex=is_complex)
    )
    u = torch.randn(1, n, dtype=torch.float64, generator=seeded(1))
    plan = uplink.plan(u, (n,), round=0, streams=Streams(0))
    error = uplink.aggregate(u, (n,), round=0, streams=Streams(0)).estimate - u[0]
    noise = error * plan.design.transceiver.precoder.item()
    samples = torch.view_as_complex(noise.view(-1, 2)).abs().square() if is_complex else noise.square()
    expected = power / snr
    assert_mean(samples, mean=expected, variance=expected**2 * (1 if is_complex else 2))
