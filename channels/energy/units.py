"""Ways of stating an energy budget: power, SNR, decibels.

A budget P is the energy that one device may spend in one round, summed over its S real symbols, in units in which the
receiver's noise has variance sigma^2 per real symbol. SNR = P / (S sigma^2), linear, per real symbol, one device.
"""

from __future__ import annotations

import math


def to_db(ratio: float) -> float:
    """10 log10 of a power ratio."""
    return 10 * math.log10(ratio)


def from_db(decibels: float) -> float:
    """Power ratio of a value in decibels."""
    return 10 ** (decibels / 10)


def energy_from_power(power_per_symbol: float, num_symbols: int) -> float:
    """Energy budget of a round in which each of `num_symbols` real symbols may have `power_per_symbol` on average."""
    return power_per_symbol * num_symbols


def energy_from_complex_power(power_per_use: float, num_symbols: int) -> float:
    """Energy budget of a round in which each complex channel use may have E|x|^2 <= `power_per_use` on average.

    A channel use carries two of the `num_symbols` real symbols, so that each of these has half of the power.
    """
    return power_per_use * -(-num_symbols // 2)


def energy_from_snr(snr: float, num_symbols: int, noise_variance: float = 1.0) -> float:
    """Energy budget P = snr S sigma^2 of a round.

    A paper says y = h x + n with E|x|^2 <= P, n ~ CN(0, N0) and SNR = P / N0 = 10 dB. Its x is complex and carries two real
    symbols of power P / 2, its noise has variance N0 / 2 on each: the SNR per real symbol is the same 10 dB, and the noise
    variance to give, here and to the uplink, is N0 / 2. For 1000 real symbols and N0 = 1 it is P = 10 on 500 channel uses:

    >>> N0 = 1.0
    >>> energy_from_snr(from_db(10.0), num_symbols=1000, noise_variance=N0 / 2)
    5000.0
    >>> energy_from_complex_power(10 * N0, num_symbols=1000)
    5000.0

    goes with AnalogUplink(energy_budget=5000.0, noise_variance=N0 / 2). The same budget beside noise_variance=N0 is 7 dB.

    Args:
        snr: linear, one device, per real symbol, before the channel's gain.
        num_symbols: S, real symbols of the message.
        noise_variance: sigma^2 per real symbol; half of a complex noise's.
    """
    return snr * num_symbols * noise_variance


def noise_variance_from_no(no: float) -> float:
    """sigma^2 per REAL symbol of noise CN(0, no): no / 2. Sionna's `no`, and the N0 of most papers.

    >>> noise_variance_from_no(1.0)
    0.5
    """
    return no / 2


def no_from_noise_variance(noise_variance: float) -> float:
    """Variance of complex noise, Sionna's `no`, whose real and imaginary parts have `noise_variance` each: 2 sigma^2.

    >>> no_from_noise_variance(1.0)
    2.0
    """
    return 2 * noise_variance


def noise_variance_from_signal_power(signal_power: float, snr: float, *, is_complex: bool = True) -> float:
    """sigma^2 per REAL symbol of the noise that MATLAB's `awgn(x, snr)` adds to a signal x of mean power `signal_power`.

    The noise has power signal_power / snr. Complex noise has half of it in each real dimension, real noise all of it.

    Args:
        signal_power: E|x|^2 per sample of x, linear; 1 (0 dBW) unless `awgn` is told otherwise.
        snr: per sample, linear.
        is_complex: whether x and the noise are.

    >>> noise_variance_from_signal_power(1.0, snr=10.0)
    0.05
    >>> noise_variance_from_signal_power(1.0, snr=10.0, is_complex=False)
    0.1
    """
    return signal_power / snr / (2 if is_complex else 1)


def snr_from_ebno(ebno: float, bits_per_symbol: int, code_rate: float = 1.0) -> float:
    """SNR of Eb/N0 = `ebno`: Es/N0 = bits_per_symbol code_rate Eb/N0, the same per complex use and per real symbol.

    As in MATLAB's `convertSNR` of complex signals and, with `no` = 1 / snr for symbols of energy 1, in Sionna's `ebnodb2no`
    without a resource grid. N0 is the variance of complex noise: sigma^2 = N0 / 2.

    Args:
        ebno: energy per information bit over N0, linear.
        bits_per_symbol: coded bits in a complex channel use, 2 for QPSK and for a bit on each real symbol.
        code_rate: information bits per coded bit.

    >>> snr_from_ebno(2.0, bits_per_symbol=4, code_rate=0.5)
    4.0
    """
    return ebno * bits_per_symbol * code_rate


def ebno_from_snr(snr: float, bits_per_symbol: int, code_rate: float = 1.0) -> float:
    """Eb/N0 of an SNR per complex use; see `snr_from_ebno`.

    >>> ebno_from_snr(4.0, bits_per_symbol=4, code_rate=0.5)
    2.0
    """
    return snr / (bits_per_symbol * code_rate)


def snr_from_energy(energy_budget: float, num_symbols: int, noise_variance: float = 1.0) -> float:
    """SNR = P / (S sigma^2), linear, one device, per real symbol, before the channel's gain."""
    return energy_budget / (num_symbols * noise_variance)
