"""Tapped delay line: paths at fixed delays whose amplitudes fade with Clarke's (Jakes') Doppler spectrum.

    a_p(t) = sqrt(p_p / N) sum_n e^{j (2 pi f_D t cos alpha_pn + phi_prn)},    E a(t) a*(t + s) = p_p J_0(2 pi f_D s)

t runs over the whole run: round i starts at i round_interval_s. alpha and phi are drawn once and kept as state, phases are
computed in float64, so that fading continues from round to round for hours and at any time stamps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.propagation.delay_profiles import DelayProfile, exponential, from_decibels, from_table

_LINE_OF_SIGHT_DOPPLER = 0.7  # TR 38.901, Tables 7.7.2-4 and 7.7.2-5: the peak of the spectrum lies at 0.7 f_D
_CHUNK = 1 << 21  # complex numbers formed at a time
_SPEED_OF_LIGHT = 299_792_458.0


def doppler_of_speed(*, speed_m_s: float, carrier_hz: float) -> float:
    """Largest Doppler shift f_D = v f_c / c in hertz of a device at `speed_m_s`."""
    return speed_m_s * carrier_hz / _SPEED_OF_LIGHT


@dataclass(frozen=True, kw_only=True)
@checked
class TappedDelayLine:
    """Paths of a power delay profile, Rayleigh fading each, with a line of sight where the profile has one.

    sum_p E|a_p|^2 = 1. Devices, antennas and paths fade independently; the line of sight has one uniform phase for each
    device, equal at all antennas, and a Doppler shift of 0.7 f_D. With N sinusoids E|a_p|^4 = (2 - 1/N) p_p^2, against
    2 p_p^2 of Rayleigh fading; the mean over time of |a_p|^2 is p_p for each link. On a CPU, device k's paths do not
    depend on the number of devices. Not differentiable with respect to its parameters.
    Reference: Xiao, Zheng, Beaulieu, IEEE Trans. Wireless Commun. 5(12), 2006.

    Args:
        profile: "A" to "E" of 3GPP TR 38.901 (D and E with a line of sight) or "exponential"; needs delay_spread_s.
        delay_spread_s: root mean square delay spread, seconds; delays are those of the table times this.
        delays_s: in place of a profile, the delay of each path, seconds.
        powers_db: the mean power of each path of delays_s, in decibels, scaled to a sum of 1.
        k_factor: power of the line of sight over that of all scattered paths, linear; None leaves the profile as it is.
            A profile's delays are rescaled to keep delay_spread_s (TR 38.901, 7.7.6), those of delays_s are not.
        doppler_hz: f_D, largest Doppler shift; one number or one for each device. 0 holds the gains for the whole run.
        round_interval_s: from the start of a round to the start of the next, seconds; `inf` draws each round afresh.
        num_sinusoids: N of each path.
    """

    profile: Literal["A", "B", "C", "D", "E", "exponential"] | None = None
    delay_spread_s: float | None = None
    delays_s: list[float] | None = None
    powers_db: list[float] | None = None
    k_factor: float | None = None
    doppler_hz: float | list[float] = 0.0
    round_interval_s: float | None = None
    num_sinusoids: int = 32

    def __post_init__(self) -> None:
        self._check_profile()
        if self.k_factor is not None and not 0 <= self.k_factor < math.inf:
            raise ValueError(f"k_factor must be finite and >= 0 (linear, not dB), got {self.k_factor}")
        if not self._dopplers or not all(0 <= doppler < math.inf for doppler in self._dopplers):
            raise ValueError(f"doppler_hz must be finite and >= 0, one number or one per device, got {self.doppler_hz}")
        if self.round_interval_s is None and max(self._dopplers) > 0:
            raise ValueError(
                "round_interval_s must be given where doppler_hz > 0: seconds from the start of one round to the start of "
                "the next, or inf for independent rounds"
            )
        if self.round_interval_s is not None and not self.round_interval_s > 0:
            raise ValueError(f"round_interval_s must be > 0 seconds, or inf, got {self.round_interval_s}")
        if not self.num_sinusoids >= 1:
            raise ValueError(f"num_sinusoids must be >= 1, got {self.num_sinusoids}")

    def _check_profile(self) -> None:
        if (self.profile is None) == (self.delays_s is None):
            raise ValueError(
                "profile or delays_s must be given, and not both: a profile with delay_spread_s, or delays_s with "
                f"powers_db; got profile {self.profile!r}, delays_s {self.delays_s}"
            )
        if self.profile is not None:
            if self.delay_spread_s is None or not 0 <= self.delay_spread_s < math.inf:
                raise ValueError(
                    f"delay_spread_s must be finite and >= 0 seconds with profile {self.profile!r}, "
                    f"got {self.delay_spread_s}"
                )
            if self.powers_db is not None:
                raise ValueError("powers_db belongs to delays_s; a profile has its own powers")
            return
        if self.delay_spread_s is not None:
            raise ValueError("delay_spread_s belongs to a profile; delays_s are seconds already")
        delays, powers = list(self.delays_s or []), list(self.powers_db or [])
        if not delays or len(powers) != len(delays):
            raise ValueError(
                f"powers_db must hold one power for each of delays_s, at least one, got {len(powers)} powers "
                f"for {len(delays)} delays"
            )
        if not all(0 <= delay < math.inf for delay in delays):
            raise ValueError(f"delays_s must be finite and >= 0 seconds, got {delays}")
        if not all(math.isfinite(power) for power in powers):
            raise ValueError(f"powers_db must be finite decibels, got {powers}")

    @cached_property
    def _dopplers(self) -> list[float]:
        return list(self.doppler_hz) if isinstance(self.doppler_hz, list | tuple) else [self.doppler_hz]

    @cached_property
    def delay_profile(self) -> DelayProfile:
        """Delays in seconds and mean powers of the paths."""
        if self.profile is None:
            delays, powers = self.delays_s or [], self.powers_db or []
            profile = from_decibels(tuple(delays), tuple(powers))
            return profile if self.k_factor is None else profile.with_k_factor(self.k_factor)
        profile = exponential() if self.profile == "exponential" else from_table(self.profile)
        if self.k_factor is not None:
            spread = profile.spread
            profile = profile.with_k_factor(self.k_factor)
            profile = profile.scaled(spread / profile.spread)
        return profile.scaled(self.delay_spread_s or 0.0)

    def advance(
        self,
        num_devices: int,
        num_rx_antennas: int,
        times: Tensor,
        *,
        round: int,
        generator: torch.Generator,
        state: dict[str, Tensor] | None,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the paths of a round and what the next must know; see `PathsProcess`.

        Returns:
            a: complex64 [num_devices, num_rx_antennas, P, T].
            tau: float64 [num_devices, P], seconds.
            state: cosines float64 [K, P, N], phases float32 [K, N_r, P, N] and line_of_sight float64 [K], in turns.

        Raises:
            ValueError: doppler_hz or the state is for another number of devices or antennas.
        """
        if len(self._dopplers) not in (1, num_devices):
            raise ValueError(f"doppler_hz must hold one number or {num_devices}, one per device, got {len(self._dopplers)}")
        afresh = self.round_interval_s == math.inf
        if state is None or afresh:
            state = self._draw(num_devices, num_rx_antennas, generator)
        elif state["phases"].shape[:2] != (num_devices, num_rx_antennas):
            raise ValueError(
                f"state holds {state['phases'].shape[0]} devices and {state['phases'].shape[1]} antennas, "
                f"asked for {num_devices} and {num_rx_antennas}; start a new run with state=None"
            )
        start = 0.0 if afresh else round * (self.round_interval_s or 0.0)
        elapsed = start + times.double()
        a = torch.cat([self._amplitudes(state, part) for part in elapsed.split(self._times_at_once(num_devices))], dim=-1)
        tau = constant(self.delay_profile.delays, dtype=torch.float64, device=times.device)
        return a, tau.expand(num_devices, -1), state

    def _times_at_once(self, num_devices: int) -> int:
        return max(1, _CHUNK // (num_devices * len(self.delay_profile.powers) * self.num_sinusoids))

    def _draw(self, num_devices: int, num_rx_antennas: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw directions and phases, one row of uniform numbers for each device."""
        num_paths, num_sinusoids = len(self.delay_profile.powers), self.num_sinusoids
        num_waves = num_paths * num_sinusoids
        numbers = torch.rand(
            num_devices, 1 + (1 + num_rx_antennas) * num_waves, device=generator.device, generator=generator
        )
        directions = numbers[:, 1 : 1 + num_waves].double().view(-1, num_paths, num_sinusoids)
        index = torch.arange(num_sinusoids, dtype=torch.float64, device=generator.device)
        return {
            "cosines": torch.cos((2 * math.pi / num_sinusoids) * (index + directions)),  # one direction in each sector
            "phases": numbers[:, 1 + num_waves :].reshape(num_devices, num_rx_antennas, num_paths, num_sinusoids),
            "line_of_sight": numbers[:, 0].double(),
        }

    def _amplitudes(self, state: dict[str, Tensor], elapsed: Tensor) -> Tensor:
        """Path amplitudes at times elapsed [T] since the start of the run: complex64 [K, N_r, P, T]."""
        profile, device = self.delay_profile, elapsed.device
        doppler = constant(self._dopplers, dtype=torch.float64, device=device)
        turns = doppler.view(-1, 1, 1, 1) * elapsed * state["cosines"].unsqueeze(-1)
        waves = _unit(turns)  # [K, P, N, T]
        a = (_unit(state["phases"]).transpose(1, 2) @ waves).transpose(1, 2)
        powers = constant(profile.powers, dtype=torch.float32, device=device) / self.num_sinusoids
        a = a * powers.sqrt().unsqueeze(-1)
        if profile.line_of_sight == 0:
            return a
        turns = _LINE_OF_SIGHT_DOPPLER * doppler.view(-1, 1) * elapsed + state["line_of_sight"].unsqueeze(-1)
        direct = math.sqrt(profile.line_of_sight) * _unit(turns)[:, None, None]  # [K, 1, 1, T]
        return torch.cat([a[:, :, :1] + direct, a[:, :, 1:]], dim=2)


def _unit(turns: Tensor) -> Tensor:
    """e^{j 2 pi turns}, complex64; whole turns are dropped before the cast to single precision."""
    angles = (2 * math.pi * (turns - turns.round())).float()
    return torch.polar(torch.ones_like(angles), angles)
