"""Propagation paths: h(t, f) = sum_p a_p(t) e^{-j 2 pi f tau_p}, amplitudes a_p at the carrier and delays tau_p in seconds.

A model of paths is any function of this signature, or a `PathsProcess` where paths continue from round to round:

    def my_paths(num_devices, num_rx_antennas, times, *, round, generator):
        return a, tau    # complex [K, N_r, P, T] at `times`, real [K, P] or [K, N_r, P]

By contract sum_p E|a_p|^2 = 1; the large-scale gain is kept apart. Frequencies are baseband, relative to the carrier.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from laser_wireless.channels.signals import root


class Paths(Protocol):
    """Draws the paths of a round; a plain function will do."""

    def __call__(
        self, num_devices: int, num_rx_antennas: int, times: Tensor, /, *, round: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the paths between each device and each antenna.

        Args:
            num_devices: K.
            num_rx_antennas: N_r.
            times: float64 [T], seconds from the start of the round, in any order, on the generator's device.
            round: 0, 1, ...; each round has a generator of its own.
            generator: of this round's draws.

        Returns:
            a: complex [K, N_r, P, T], amplitudes; a slot that holds no path has a = 0, whatever its (finite) tau.
            tau: real [K, P] or [K, N_r, P], delays in seconds.
        """
        ...


@runtime_checkable
class PathsProcess(Protocol):
    """Draws paths that continue from round to round; it knows the interval between rounds itself."""

    def advance(
        self,
        num_devices: int,
        num_rx_antennas: int,
        times: Tensor,
        /,
        *,
        round: int,
        generator: torch.Generator,
        state: dict[str, Tensor] | None,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return a and tau, as `Paths` does, and what the next round must know.

        Args:
            num_devices: K.
            num_rx_antennas: N_r.
            times: float64 [T], seconds from the start of the round.
            round: 0, 1, ...; each round has a generator of its own.
            generator: of this round's draws.
            state: what the last round returned, None in the first; tensors on the generator's device.
        """
        ...


def draw_paths(
    paths: Paths | PathsProcess,
    num_devices: int,
    num_rx_antennas: int,
    times: Tensor,
    *,
    round: int,
    generator: torch.Generator,
    state: dict[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Draw the paths of a round from either kind of model and check them.

    Returns:
        a: complex [K, N_r, P, T].
        tau: real [K, P] or [K, N_r, P].
        state: for the next round; empty for a model without memory.

    Raises:
        TypeError: the model returned something other than two tensors, of the dtypes and on the device asked.
        ValueError: their shapes do not fit.
    """
    name = getattr(paths, "__name__", None) or repr(paths)
    if isinstance(paths, PathsProcess):
        returned: Any = paths.advance(num_devices, num_rx_antennas, times, round=round, generator=generator, state=state)
        wanted = "(a, tau, state)"
    else:
        returned = paths(num_devices, num_rx_antennas, times, round=round, generator=generator)
        wanted = "(a, tau)"
    if not isinstance(returned, tuple) or len(returned) != wanted.count(",") + 1:
        raise TypeError(f"paths {name} must return the tuple {wanted}, got {type(returned).__name__}")
    if not all(isinstance(value, Tensor) for value in returned[:2]):
        found = ", ".join(type(value).__name__ for value in returned[:2])
        raise TypeError(f"paths {name} must return tensors a and tau, got ({found})")
    a, tau = returned[:2]
    check_paths(a, tau, name=name)
    found_shape = (a.shape[0], a.shape[1], a.shape[3])
    if a.ndim != 4 or found_shape != (num_devices, num_rx_antennas, len(times)):
        raise ValueError(
            f"paths {name} must return a of shape [num_devices, num_rx_antennas, P, T] = "
            f"[{num_devices}, {num_rx_antennas}, P, {len(times)}], got {list(a.shape)}"
        )
    if a.device.type != generator.device.type:
        raise TypeError(f"paths {name} must return tensors on {generator.device}, got {a.device}; use generator.device")
    return a, tau, returned[2] if len(returned) == 3 else {}


def check_paths(a: Tensor, tau: Tensor, *, name: str = "") -> None:
    """Refuse amplitudes and delays that do not fit each other.

    Raises:
        TypeError: a is not complex, or tau not real.
        ValueError: tau is neither [..., K, P] nor [..., K, N_r, P] for a [..., K, N_r, P, T].
    """
    of = f"paths {name}: " if name else ""
    if not a.is_complex():
        raise TypeError(f"{of}a must be complex, got {a.dtype}; use a.to(torch.complex64)")
    if not tau.is_floating_point():
        raise TypeError(f"{of}tau must be real seconds, float32 or float64, got {tau.dtype}")
    if a.ndim < 4 or tau.shape not in (a.shape[:-1], a.shape[:-3] + a.shape[-2:-1]):
        raise ValueError(
            f"{of}a must be [K, N_r, P, T] and tau [K, P] or [K, N_r, P], got {list(a.shape)} and {list(tau.shape)}"
        )


def frequency_response(a: Tensor, tau: Tensor, frequencies: Tensor) -> Tensor:
    """Gains at given frequencies: h(t, f) = sum_p a_p(t) e^{-j 2 pi f tau_p}.

    Differentiable with respect to a, tau and frequencies. Whole turns of f tau are dropped in float64, so that kilometres
    of delay lose no phase in single precision. Largest temporary: [..., K, N_r, P, F], without N_r where tau has none.

    Args:
        a: complex [..., K, N_r, P, T], amplitudes.
        tau: real [..., K, P] or [..., K, N_r, P], delays in seconds.
        frequencies: real [F], hertz from the carrier.

    Returns:
        h: like a, [..., K, N_r, T, F].
    """
    check_paths(a, tau)
    turns = tau.double().unsqueeze(-1) * frequencies.double()
    turns = (turns - turns.detach().round()).to(a.real.dtype)
    return _sum_over_paths(a, torch.polar(torch.ones_like(turns), -2 * math.pi * turns))


def taps(a: Tensor, tau: Tensor, bandwidth_hz: float, l_min: int, l_max: int) -> Tensor:
    """Taps of the channel sampled at rate W behind ideal filters: h[l] = sum_p a_p sinc(l - W tau_p), l_min <= l <= l_max.

    Source: Tse and Viswanath, Fundamentals of Wireless Communication, eq. (2.34), with the phase e^{-j 2 pi f_c tau} in a.
    The sinc never ends, so taps are lost: of a path with D taps kept on either side of the nearest one, at most the share
    (2 D + 1) / (pi^2 D (D + 1)) of its energy, 3 % for D = 6, and none where W tau is whole. Differentiable.

    Args:
        a: complex [..., K, N_r, P, T], amplitudes.
        tau: real [..., K, P] or [..., K, N_r, P], delays in seconds.
        bandwidth_hz: W, samples per second.
        l_min: first tap, usually negative.
        l_max: last tap.

    Returns:
        h: like a, [..., K, N_r, T, L] with L = l_max - l_min + 1.
    """
    check_paths(a, tau)
    if not 0 < bandwidth_hz < math.inf:
        raise ValueError(f"bandwidth_hz must be finite and > 0, got {bandwidth_hz}")
    if not l_min <= l_max:
        raise ValueError(f"l_max must be >= l_min, got l_min {l_min} and l_max {l_max}")
    lags = torch.arange(l_min, l_max + 1, dtype=torch.float64, device=tau.device)
    pulse = torch.sinc(lags - bandwidth_hz * tau.double().unsqueeze(-1))
    return _sum_over_paths(a, pulse.to(a.dtype))


def _sum_over_paths(a: Tensor, weights: Tensor) -> Tensor:
    """Sum a [..., K, N_r, P, T] over P with weights [..., K, P, F] or [..., K, N_r, P, F]: [..., K, N_r, T, F]."""
    rows = a.transpose(-1, -2)  # [..., K, N_r, T, P]
    if weights.ndim == a.ndim:
        return rows @ weights
    return (rows.flatten(-3, -2) @ weights).unflatten(-2, rows.shape[-3:-1])  # one product for all antennas


def mean_powers(a: Tensor) -> Tensor:
    """Mean of |a|^2 over antennas and times: [..., K, N_r, P, T] -> real [..., K, P]."""
    return (a.real.square() + a.imag.square()).mean((-3, -1))


def mean_delay(powers: Tensor, tau: Tensor) -> Tensor:
    """Delay in seconds averaged over the paths with weights `powers`: [..., P] and [..., P] -> float64 [...].

    A link without power has mean delay 0.
    """
    powers = powers.double()
    total = powers.sum(-1)
    return (powers * tau.double()).sum(-1) / torch.where(total > 0, total, 1)


def rms_delay_spread(powers: Tensor, tau: Tensor) -> Tensor:
    """Standard deviation of the delay with weights `powers`, seconds; the coherence bandwidth is of the order of 1 / spread.

    Args:
        powers: real [..., P], mean |a|^2 of each path, on any scale.
        tau: real [..., P], delays in seconds.

    Returns:
        spread: float64 [...]; 0 for a link without power.
    """
    centred = tau.double() - mean_delay(powers, tau).unsqueeze(-1)
    return root(mean_delay(powers, centred.square()))


def power_delay_profile(powers: Tensor, tau: Tensor, *, bin_s: float, num_bins: int) -> Tensor:
    """Power that arrives within each bin of delay, for paths whose delays differ from device to device.

    Args:
        powers: real [..., P], mean |a|^2 of each path.
        tau: real [..., P], delays in seconds.
        bin_s: width of a bin, seconds; bin i holds i bin_s <= tau < (i + 1) bin_s.
        num_bins: later and negative delays are left out.

    Returns:
        profile: like powers, [..., num_bins].
    """
    if not 0 < bin_s < math.inf:
        raise ValueError(f"bin_s must be finite and > 0, got {bin_s}")
    if not num_bins >= 1:
        raise ValueError(f"num_bins must be >= 1, got {num_bins}")
    powers, tau = torch.broadcast_tensors(powers, tau.detach())
    index = (tau.double() / bin_s).floor()
    index = torch.where((index >= 0) & (index < num_bins), index, num_bins).long()
    profile = powers.new_zeros(*powers.shape[:-1], num_bins + 1)
    return profile.scatter_add(-1, index, powers)[..., :num_bins]
