"""Fading that is correlated over time: from slot to slot within a round, and from round to round.

Every model here is a `FadingProcess`: what it remembers between rounds is a dict of tensors. Per device, antenna and
frequency block the gains are CN(0, 1) processes of their own, or Rician where k_factor > 0 (power of the line of sight
over that of the scattered part, linear), with E|h|^2 = 1. Scattered power that arrives evenly from all around gives
E[h(t + tau) h*(t)] = J0(2 pi f_D tau), f_D = speed / wavelength (Clarke 1968; Jakes 1974): `Jakes` has it at every lag,
`GaussMarkov` for neighbours only. Times are in seconds, frequencies in hertz.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.segments import Grid

_BLOCK = 64  # slots of the autoregression in one matrix product


@dataclass(frozen=True, kw_only=True)
@checked
class GaussMarkov:
    """Gauss-Markov fading: h[t+1] = rho h[t] + sqrt(1 - rho^2) w[t], w ~ CN(0, 1), over slots and over rounds.

    rho is either given, or J0(2 pi f_D dt) of the time dt between the two. Only neighbouring gains then have Jakes'
    correlation; n steps apart it is rho^n. The process is stationary from the first round on.

    Args:
        correlation: rho in [-1, 1] from the last slot of a round to the first slot of the next; 0 is a new draw.
        slot_correlation: rho in [-1, 1] from slot to slot within a round; together with `correlation`, 1 if None.
        doppler_hz: f_D instead of the two, one number or one for each device.
        round_interval_s: from the start of a round to the start of the next; together with `doppler_hz`. Several slots
            then need the grid's slot_s.
        k_factor: >= 0. The line of sight has one phase per device, which stays.
    """

    correlation: float | None = None
    slot_correlation: float | None = None
    doppler_hz: float | list[float] | None = None
    round_interval_s: float | None = None
    k_factor: float = 0.0

    def __post_init__(self) -> None:
        if (self.correlation is None) == (self.doppler_hz is None):
            raise ValueError(f"GaussMarkov must have either correlation or doppler_hz, got {self}")
        for name in ("correlation", "slot_correlation"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise ValueError(f"{name} must lie in [-1, 1], got {value}")
        if self.doppler_hz is None:
            if self.round_interval_s is not None:
                raise ValueError("round_interval_s goes with doppler_hz; a given correlation knows no time")
        else:
            if self.slot_correlation is not None:
                raise ValueError("slot_correlation goes with correlation; doppler_hz has it from the grid's slot_s")
            _check_motion(self.doppler_hz, self.round_interval_s)
        _check_k_factor(self.k_factor)

    def advance(
        self,
        num_devices: int,
        num_rx_antennas: int,
        grid: Grid,
        *,
        round: int,
        generator: torch.Generator,
        state: dict[str, Tensor] | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return h: complex64 [num_devices, num_rx_antennas, T, F], and the scattered gains of the last slot.

        Raises:
            ValueError: no slot_s where it is needed, a round longer than its interval, a doppler_hz or a state of
                another number of devices, antennas or frequency blocks.
        """
        device = generator.device
        shape = (num_devices, num_rx_antennas, grid.num_frequency_blocks)
        between, within = self._correlations(grid, num_devices, device)  # float64 [K|1, 1, 1, 1]
        w = torch.randn(*shape, grid.num_slots, dtype=torch.complex64, device=device, generator=generator)
        if state is None:
            phase = torch.rand(num_devices, 1, 1, 1, device=device, generator=generator) * (2 * math.pi)
            first = w[..., :1]
        else:
            _check_state(state, "last", shape)
            phase, last = state["phase"], state["last"].unsqueeze(-1)
            first = between.float() * last + _rest(between) * w[..., :1]
        scattered = autoregression(torch.cat([first, _rest(within) * w[..., 1:]], dim=-1), within)
        h = _with_line_of_sight(scattered, torch.polar(torch.ones_like(phase), phase), self.k_factor)
        return h.transpose(-1, -2), {"last": scattered[..., -1].clone(), "phase": phase}

    def _correlations(self, grid: Grid, num_devices: int, device: torch.device) -> tuple[Tensor, Tensor]:
        if self.doppler_hz is None:
            assert self.correlation is not None
            slot = 1.0 if self.slot_correlation is None else self.slot_correlation
            given = constant((self.correlation, slot), dtype=torch.float64, device=device)
            return given[0].view(1, 1, 1, 1), given[1].view(1, 1, 1, 1)
        slot_s, gap_s = _slot_and_gap(grid, self.round_interval_s)
        turns = 2 * math.pi * _per_device(self.doppler_hz, num_devices, device).view(-1, 1, 1, 1)
        return torch.special.bessel_j0(turns * gap_s), torch.special.bessel_j0(turns * slot_s)


@dataclass(frozen=True, kw_only=True)
@checked
class Jakes:
    """Sum of sinusoids with the autocorrelation J0 at every lag, however long the run.

    h(t) = sum_n exp(j (2 pi f_D t cos a_n + phi_n)) / sqrt(N), a_n = (2 pi n + theta_n) / N, n = 0..N-1, all theta_n and
    phi_n uniform in [0, 2 pi): over their draw, E[h(t + tau) h*(t)] = J0(2 pi f_D tau) exactly, for any N, and
    Var |h|^2 = 1 - 1/N, so that the law is Rayleigh as N grows. Time is absolute, t = round round_interval_s +
    slot slot_s, and the phases are reduced in float64. A line of sight of the same Doppler arrives from a random angle.
    Source: Xiao, Zheng, Beaulieu, "Novel sum-of-sinusoids simulation models for Rayleigh and Rician fading channels",
    IEEE Trans. Wireless Commun. 5(12), 2006. One device's antennas share the angles and differ in the phases.

    The random phases are all there is of a state: a device's gains do not depend on how many slots are asked for.

    Args:
        doppler_hz: f_D >= 0, one number or one for each device.
        round_interval_s: from the start of a round to the start of the next. Several slots need the grid's slot_s.
        num_sinusoids: N.
        k_factor: >= 0.
    """

    doppler_hz: float | list[float]
    round_interval_s: float
    num_sinusoids: int = 32
    k_factor: float = 0.0

    def __post_init__(self) -> None:
        _check_motion(self.doppler_hz, self.round_interval_s)
        if not self.num_sinusoids >= 1:
            raise ValueError(f"num_sinusoids must be >= 1, got {self.num_sinusoids}")
        _check_k_factor(self.k_factor)

    def advance(
        self,
        num_devices: int,
        num_rx_antennas: int,
        grid: Grid,
        *,
        round: int,
        generator: torch.Generator,
        state: dict[str, Tensor] | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return h: complex64 [num_devices, num_rx_antennas, T, F], and the phases drawn in the first round.

        Raises:
            ValueError: no slot_s where it is needed, a round longer than its interval, a doppler_hz or a state of
                another number of devices, antennas or frequency blocks.
        """
        shape = (num_devices, num_rx_antennas, grid.num_frequency_blocks)
        if state is None:
            state = self._draw(shape, generator)
        _check_state(state, "phases", (*shape, self.num_sinusoids))
        slot_s, _ = _slot_and_gap(grid, self.round_interval_s)
        doppler = _per_device(self.doppler_hz, num_devices, generator.device).view(-1, 1)
        phases = state["phases"].flatten(1, 2)  # [K, N_r F, N]
        weights = torch.polar(torch.full_like(phases, 1 / math.sqrt(self.num_sinusoids)), phases)
        line_phase = state["line_phase"]  # [K, 1, 1]
        line_weight = torch.polar(torch.ones_like(line_phase), line_phase)
        start_s = round * self.round_interval_s
        scattered = _sum_of_waves(weights, doppler * state["arrivals"], start_s, slot_s, grid.num_slots)
        line = _sum_of_waves(line_weight, doppler * state["line_arrival"], start_s, slot_s, grid.num_slots)
        h = _with_line_of_sight(scattered, line, self.k_factor).unflatten(1, shape[1:])
        return h.transpose(-1, -2), state

    def _draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> dict[str, Tensor]:
        """Cosines of the angles of arrival, float64 [K, N] and [K, 1], and phases, [K, N_r, F, N] and [K, 1, 1]."""
        device, num_devices, n = generator.device, shape[0], self.num_sinusoids
        theta = torch.rand(num_devices, n + 1, dtype=torch.float64, device=device, generator=generator) * (2 * math.pi)
        steps = torch.arange(n, dtype=torch.float64, device=device) * (2 * math.pi)
        phases = torch.rand(*shape, n, device=device, generator=generator) * (2 * math.pi)
        line = torch.rand(num_devices, 1, 1, device=device, generator=generator) * (2 * math.pi)
        arrivals = ((steps + theta[:, :n]) / n).cos()
        return {"arrivals": arrivals, "line_arrival": theta[:, n:].cos(), "phases": phases, "line_phase": line}


def autoregression(innovations: Tensor, correlation: Tensor) -> Tensor:
    """x[t] = rho x[t-1] + e[t] from x[0] = e[0]: blocks by one matrix product each, their ends by the same again.

    Args:
        innovations: e, complex64 or complex128 [..., T].
        correlation: rho, float64, broadcastable to [..., 1].

    Returns:
        x, like e.
    """
    num_slots = innovations.shape[-1]
    size = min(_BLOCK, num_slots)
    blocks = torch.nn.functional.pad(innovations, (0, -num_slots % size)).unflatten(-1, (-1, size))  # [..., B, L]
    lag = torch.arange(size, dtype=torch.float64, device=innovations.device)
    lags = lag - lag.unsqueeze(-1)  # from row to column
    powers = torch.where(lags >= 0, correlation.unsqueeze(-1) ** lags.clamp(min=0), 0).to(innovations.real.dtype)
    x = torch.complex(blocks.real @ powers, blocks.imag @ powers)
    if x.shape[-2] > 1:
        ends = autoregression(x[..., :-1, -1], correlation**size)  # [..., B - 1]
        decay = correlation.unsqueeze(-1) ** (lag + 1)
        carried = ends.unsqueeze(-1) * decay.to(powers.dtype)
        x = torch.cat([x[..., :1, :], x[..., 1:, :] + carried], dim=-2)
    return x.flatten(-2)[..., :num_slots]


def _rest(correlation: Tensor) -> Tensor:
    """sqrt(1 - rho^2), float32."""
    return (1 - correlation.square()).clamp(min=0).sqrt().float()


def _sum_of_waves(weights: Tensor, frequency_hz: Tensor, start_s: float, slot_s: float, num_slots: int) -> Tensor:
    """sum_n w_n exp(j 2 pi f_n t) at t = start_s + slot slot_s: complex64 [K, M, T] from [K, M, N] and float64 [K, N].

    A slot is a coarse step and a fine one, about sqrt(T) of each, so that few sines are computed and one matrix product
    does the rest.
    """
    fine = math.isqrt(num_slots - 1) + 1
    coarse = -(-num_slots // fine)
    steps = torch.arange(max(fine, coarse), dtype=torch.float64, device=weights.device) * slot_s
    at_coarse = _waves(frequency_hz, start_s + steps[:coarse] * fine)  # [K, N, A]
    at_fine = _waves(frequency_hz, steps[:fine])  # [K, N, L]
    turned = weights.unsqueeze(2) * at_coarse.mT.unsqueeze(1)  # [K, M, A, N]
    summed = turned.flatten(1, 2) @ at_fine  # [K, M A, L]
    return summed.unflatten(1, turned.shape[1:3]).flatten(2)[..., :num_slots]


def _waves(frequency_hz: Tensor, time_s: Tensor) -> Tensor:
    """exp(j 2 pi f t): complex64 [K, N, T] from float64 [K, N] and [T]; whole turns are dropped in float64."""
    turns = (frequency_hz.unsqueeze(-1) * time_s).remainder(1)
    angle = (turns * (2 * math.pi)).float()
    return torch.polar(torch.ones_like(angle), angle)


def _with_line_of_sight(scattered: Tensor, line: Tensor, k_factor: float) -> Tensor:
    if k_factor == 0:
        return scattered
    return math.sqrt(k_factor / (k_factor + 1)) * line + math.sqrt(1 / (k_factor + 1)) * scattered


def _slot_and_gap(grid: Grid, round_interval_s: float | None) -> tuple[float, float]:
    """Seconds from slot to slot, and from the start of the last slot to the start of the next round."""
    assert round_interval_s is not None  # checked in construction
    if grid.num_slots == 1:
        return 0.0, round_interval_s
    if grid.slot_s is None:
        raise ValueError(
            f"a Doppler over {grid.num_slots} slots needs the grid's slot_s, got None; give the uplink its bandwidth_hz and "
            "a coherence of equally long slots (a number of symbols)"
        )
    if not grid.num_slots * grid.slot_s <= round_interval_s * (1 + 1e-9):
        raise ValueError(
            f"round_interval_s must hold the round's {grid.num_slots} slots of {grid.slot_s} s, got {round_interval_s} s"
        )
    return grid.slot_s, round_interval_s - (grid.num_slots - 1) * grid.slot_s


def _per_device(value: float | list[float], num_devices: int, device: torch.device) -> Tensor:
    values = list(value) if isinstance(value, list | tuple) else [value]
    if len(values) not in (1, num_devices):
        raise ValueError(f"doppler_hz must hold one number or one for each of the {num_devices} devices, got {len(values)}")
    return constant(values, dtype=torch.float64, device=device)


def _check_motion(doppler_hz: float | list[float], round_interval_s: float | None) -> None:
    values = doppler_hz if isinstance(doppler_hz, list | tuple) else [doppler_hz]
    if not values or not all(0 <= value < math.inf for value in values):
        raise ValueError(f"doppler_hz must be finite and >= 0, one number or one for each device, got {doppler_hz}")
    if round_interval_s is None or not 0 < round_interval_s < math.inf:
        raise ValueError(f"round_interval_s must be finite and > 0 seconds, got {round_interval_s}")


def _check_k_factor(k_factor: float) -> None:
    if not 0 <= k_factor < math.inf:
        raise ValueError(f"k_factor must be finite and >= 0 (linear, not dB), got {k_factor}")


def _check_state(state: dict[str, Tensor], name: str, wanted: tuple[int, ...]) -> None:
    if name not in state or tuple(state[name].shape) != wanted:
        found = {key: list(value.shape) for key, value in state.items()}
        raise ValueError(
            f"state must hold {name!r} of shape {list(wanted)} (devices, antennas, frequency blocks), got {found}; "
            "start again with state=None"
        )
