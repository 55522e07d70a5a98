"""Energy of a round: the devices' budgets, who is there, and how a device splits its energy over its message's blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.energy.schedules import Schedule
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.participation import Participation, attendance_of
from laser_wireless.channels.round import Air, Round

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
    attendance = attendance_of(participation, symbols.shape[-2], now, symbols.device)
    return energies._replace(present=energies.budget * attendance.present, waiting_s=attendance.seconds)


def _constant(budget: float, round: int, symbols: Tensor) -> Tensor:
    return constant((float(budget),), dtype=torch.float64, device=symbols.device)


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
        return constant((float(value),), dtype=torch.float64, device=like.device)
    tensor = constant(value, dtype=torch.float64, device=like.device)
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

    def __call__(self, norms: Tensor, block_sizes: tuple[int, ...], air: Air, /) -> Tensor:
        """Return weights [..., 1, B] or [..., K, B] >= 0; a block's fraction of the energy is its weight over their sum.

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
        lengths = constant(block_sizes, dtype=norms.dtype, device=norms.device)
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
        weights = block_sizes if self.per_symbol else (1,) * len(block_sizes)
        return constant(weights, dtype=norms.dtype, device=norms.device).unsqueeze(0)
