"""Budgets that change over the rounds of a run, or over the devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from laser_wireless.channels.parameters import checked


class Schedule(Protocol):
    """Energy budget as a function of the round; a plain function will do."""

    def __call__(self, round: int, /) -> float | Sequence[float]:
        """Budget of `round` (0, 1, ...): one number, or one for each device."""
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


@dataclass(frozen=True, kw_only=True)
@checked
class UnequalEnergy:
    """Budgets in fixed ratios to each other, with mean P over the devices: P_k = P K ratio_k / sum of the ratios.

    Args:
        energy_budget: P, the mean over the devices.
        ratios: one for each device, finite and >= 0, not all 0.
    """

    energy_budget: float
    ratios: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_mean(self.energy_budget)
        if not (all(0 <= ratio < math.inf for ratio in self.ratios) and any(self.ratios)):
            raise ValueError(f"ratios must hold a finite number >= 0 for each device, not all 0, got {list(self.ratios)}")

    def __call__(self, round: int) -> tuple[float, ...]:
        """Budget of each device, the same in every round."""
        mean = sum(self.ratios) / len(self.ratios)
        return tuple(self.energy_budget * ratio / mean for ratio in self.ratios)


def _check_mean(energy_budget: float) -> None:
    if not 0 < energy_budget < math.inf:
        raise ValueError(f"energy_budget must be finite and > 0, got {energy_budget}")


def _check_schedule(energy_budget: float, num_rounds: int) -> None:
    _check_mean(energy_budget)
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
