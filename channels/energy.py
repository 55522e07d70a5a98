"""Energy: budgets, other ways of stating them, schedules over rounds, allocation over blocks.

A budget P is the energy that one device may spend in one round, summed over its S real symbols, in units in which the
receiver's noise has variance sigma^2 per real symbol. SNR = P / (S sigma^2), linear, per real symbol, one device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple, Protocol, TypeAlias

import torch
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.participation import Participation
from laser_wireless.channels.round import Air, Round
from torch import Tensor


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


def snr_from_energy(energy_budget: float, num_symbols: int, noise_variance: float = 1.0) -> float:
    """SNR = P / (S sigma^2), linear, one device, per real symbol, before the channel's gain."""
    return energy_budget / (num_symbols * noise_variance)


class Schedule(Protocol):
    """Energy budget as a function of the round; a plain function will do."""

    def __call__(self, round: int) -> float:
        """Budget of `round` (0, 1, ...)."""
        ...


@dataclass(frozen=True, kw_only=True)
@checked
class LinearEnergy:
    """Budget that moves linearly between P/3 and 5P/3, with mean P over the run (Makkuva et al., power laws).

    Args:
        energy_budget: P, the mean over the run.
        num_rounds: T of the run; later rounds are refused, since the mean would no longer be P.
        rising: from P/3 to 5P/3, else the reverse.
        period: the budget changes every `period` rounds (the rounds of an epoch, as published); divides num_rounds.
    """

    energy_budget: float
    num_rounds: int
    rising: bool = True
    period: int = 1

    def __post_init__(self) -> None:
        _check_schedule(self.energy_budget, self.num_rounds)
        if self.period < 1 or self.num_rounds % self.period:
            raise ValueError(f"period must divide num_rounds = {self.num_rounds}, got {self.period}")

    def __call__(self, round: int) -> float:
        """Budget of `round`."""
        return _stair(self.energy_budget, self.num_rounds, self.num_rounds // self.period, self.rising, round)


@dataclass(frozen=True, kw_only=True)
@checked
class StepEnergy:
    """Staircase from P/3 to 5P/3 in equal steps of equal length, with mean P over the run.

    Args:
        energy_budget: P, the mean over the run.
        num_rounds: T of the run; a multiple of num_steps. Later rounds are refused.
        rising: from P/3 up, else the reverse.
        num_steps: stairs; 3 gives P/3, P, 5P/3.
    """

    energy_budget: float
    num_rounds: int
    rising: bool = True
    num_steps: int = 3

    def __post_init__(self) -> None:
        _check_schedule(self.energy_budget, self.num_rounds)
        if self.num_steps < 1 or self.num_rounds % self.num_steps:
            raise ValueError(f"num_steps must divide num_rounds = {self.num_rounds}, got {self.num_steps}")

    def __call__(self, round: int) -> float:
        """Budget of `round`."""
        return _stair(self.energy_budget, self.num_rounds, self.num_steps, self.rising, round)


def _check_schedule(energy_budget: float, num_rounds: int) -> None:
    if not 0 < energy_budget < math.inf:
        raise ValueError(f"energy_budget must be finite and > 0, got {energy_budget}")
    if num_rounds < 1:
        raise ValueError(f"num_rounds must be >= 1, got {num_rounds}")


def _stair(energy_budget: float, num_rounds: int, num_steps: int, rising: bool, round: int) -> float:
    if not 0 <= round < num_rounds:
        raise ValueError(f"round {round} lies outside the schedule's num_rounds = {num_rounds}; give it the run's length")
    if num_steps == 1:
        return energy_budget
    step = round * num_steps // num_rounds
    position = step / (num_steps - 1)  # 0 at the first stair, 1 at the last
    return energy_budget * (1 + 4 * position if rising else 5 - 4 * position) / 3


Budget: TypeAlias = float | list[float] | Tensor | Schedule
"""Energy per device and round: one number, one for each device, a tensor, or a function of the round."""


class Energies(NamedTuple):
    """The devices' energy in a round, float64.

    budget: broadcastable to [..., K]. present: the same, 0 for absent devices.
    mean: [..., 1], of the budgets. waiting_s: [], until the server stopped waiting for devices; None where no time is known.
    """

    budget: Tensor
    present: Tensor
    mean: Tensor
    waiting_s: Tensor | None


@dataclass(frozen=True)
class EnergyOfRound:
    """Reads the budgets of a round and draws who takes part; made once for an uplink.

    Args:
        budget: P.
        participation: everybody if None.
    """

    budget: Budget
    participation: Participation | None = None

    def __post_init__(self) -> None:
        check_budget(self.budget)

    def __call__(self, symbols: Tensor, now: Round) -> Energies:
        """Return the energies of the K devices of symbols [..., K, S].

        Raises:
            ValueError: another number of devices, or a schedule that gave no budget.
        """
        budget = self._read(now.index, symbols)
        num_devices = symbols.shape[-2]
        mean = now.air.sum(budget.expand(*budget.shape[:-1], num_devices), dim=-1) / num_devices
        return self._attended(Energies(budget, budget, mean, None), symbols, now)

    @cached_property
    def _read(self) -> Callable[[int, Tensor], Tensor]:
        return (
            partial(_constant, self.budget) if isinstance(self.budget, float | int) else partial(device_budgets, self.budget)
        )

    @cached_property
    def _attended(self) -> Callable[[Energies, Tensor, Round], Energies]:
        return _everybody if self.participation is None else partial(_present, self.participation)


def _everybody(energies: Energies, symbols: Tensor, now: Round) -> Energies:
    return energies


def _present(participation: Participation, energies: Energies, symbols: Tensor, now: Round) -> Energies:
    generator = now.generator("participation", symbols.device)
    attendance = participation(symbols.shape[-2], round=now.index, generator=generator)
    return energies._replace(present=energies.budget * attendance.present, waiting_s=attendance.seconds)


def _constant(budget: float, round: int, symbols: Tensor) -> Tensor:
    return torch.full((1,), float(budget), dtype=torch.float64, device=symbols.device)


def device_budgets(energy_budget: Budget, round: int, symbols: Tensor) -> Tensor:
    """Energy budgets float64, broadcastable to [..., K].

    Raises:
        ValueError: another number of devices.
    """
    budget = budget_of_round(energy_budget, round, symbols)
    num_devices = symbols.shape[-2]
    if budget.shape[-1] not in (1, num_devices):
        raise ValueError(
            f"energy_budget must hold one value or one for each of the {num_devices} devices, got shape {list(budget.shape)}"
        )
    return budget


def budget_of_round(budget: float | Sequence[float] | Tensor | Schedule, round: int, like: Tensor) -> Tensor:
    """Energy budget of each device in a round: float64, broadcastable to [..., K], on the device of `like`."""
    value = budget(round) if callable(budget) else budget
    if isinstance(value, float | int):
        if not 0 <= value < math.inf:
            raise ValueError(f"energy_budget must be finite and >= 0, but the schedule gave {value} for round {round}")
        return torch.full((1,), float(value), dtype=torch.float64, device=like.device)
    tensor = torch.as_tensor(value, dtype=torch.float64, device=like.device)
    return tensor if tensor.ndim else tensor.unsqueeze(0)


def check_budget(budget: float | Sequence[float] | Tensor | Schedule) -> None:
    """Refuse a budget that allows nothing, where that can be known before the run.

    Raises:
        ValueError: a scalar that is not positive and finite, or a vector with negative entries or without a positive one.
    """
    if callable(budget):
        return
    values = torch.as_tensor(budget, dtype=torch.float64).detach()
    if not (values.isfinite().all() and (values >= 0).all() and (values > 0).any()):
        raise ValueError(
            f"energy_budget must be finite and > 0 (or one value >= 0 for each device, not all 0), got {budget}; "
            "for a channel without noise set noise_variance=0"
        )


def spendable(dtype: torch.dtype, num_symbols: int) -> float:
    """Part of an energy budget that may be spent, < 1, so that no rounding breaks the limit.

    16 eps of the symbols' precision for products and sums of up to 2^14, and num_symbols eps of float64 for sums of any
    order: n terms >= 0 are off by at most n eps / 2.
    """
    return 1 - 16 * torch.finfo(dtype).eps - num_symbols * torch.finfo(torch.float64).eps


class Allocation(Protocol):
    """Splits the devices' energy over the blocks; a plain function will do."""

    def __call__(self, norms: Tensor, block_sizes: tuple[int, ...], air: Air) -> Tensor:
        """Return weights [..., 1, B] or [..., K, B] >= 0; a block's share of the energy is its weight over their sum.

        Negative weights count as 0.

        Args:
            norms: float64 [..., K, B], block norms of the message (for a factor, the norm of the matrix it belongs to).
            block_sizes: real symbols of each block.
            air: reduces over all devices.
        """
        ...


def shares_of(allocation: Allocation, norms: Tensor, block_sizes: tuple[int, ...], air: Air) -> Tensor:
    """Each block's part of the energy by an allocation: float64 [..., 1 | K, B], adding up to 1; see `Allocation`."""
    shares = allocation(norms, block_sizes, air).clamp(min=0)
    shares = shares + (shares.sum(-1, keepdim=True) == 0)  # nothing to send: equal parts
    return shares / shares.sum(-1, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class NormAllocation:
    """As published: share_b = mean over devices of ||u_kb|| / sum_b' ||u_kb'||.

    Minimises sum_b c_b^2 / P_b if the norms are alike. Devices without any message do not count. A message that is zero
    everywhere gets equal shares.
    """

    def __call__(self, norms: Tensor, block_sizes: tuple[int, ...], air: Air) -> Tensor:
        """Return weights: float64 [..., 1, B]."""
        total = norms.sum(-1, keepdim=True)
        return air.sum(norms / (total + (total == 0)), dim=-2)


@dataclass(frozen=True, kw_only=True)
class LeastNoiseAllocation:
    """Least total noise energy on the decoded message, sum_b N_b c_b^2 / P_b: share_b proportional to c_b sqrt(N_b).

    c_b = max_k ||u_kb|| and N_b the block's symbols. Optimal for devices with equal gains and equal budgets.
    """

    def __call__(self, norms: Tensor, block_sizes: tuple[int, ...], air: Air) -> Tensor:
        """Return weights: float64 [..., 1, B]."""
        lengths = torch.tensor(block_sizes, dtype=norms.dtype, device=norms.device)
        return air.max(norms, dim=-2) * lengths.sqrt()


@dataclass(frozen=True, kw_only=True)
@checked
class UniformAllocation:
    """Weights that ignore the message: the same energy for each block, or for each symbol.

    Args:
        per_symbol: share N_b / S instead of 1 / B.
    """

    per_symbol: bool = False

    def __call__(self, norms: Tensor, block_sizes: tuple[int, ...], air: Air) -> Tensor:
        """Return weights: float64 [1, B]."""
        weights = block_sizes if self.per_symbol else [1] * len(block_sizes)
        return torch.tensor([weights], dtype=norms.dtype, device=norms.device)
