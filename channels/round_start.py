"""What the uplinks without superposition settle first: gains of one antenna, budgets, and whether the round is void."""

from __future__ import annotations

from typing import NamedTuple

import torch
from laser_wireless.channels.energy import Schedule, budget_of_round, check_budget
from laser_wireless.channels.fading import Fading, FadingProcess, NoFading, draw_gains
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.streams import Streams
from laser_wireless.channels.superposition import Air
from torch import Tensor

Budget = float | list[float] | Tensor | Schedule


class RoundStart(NamedTuple):
    """Known before anything is sent.

    gain_power: float64, broadcastable to [..., K, T F], |h|^2; 0 where a gain is not finite.
    budget: float64 [..., K], energy of each device, 0 where it is not finite.
    valid: bool [..., 1], False if any device's message, gain or budget is not finite: then nothing is sent.
    nonfinite: bool [..., K], by device.
    state: of a fading process after the round; None for a model without memory.
    """

    gain_power: Tensor
    budget: Tensor
    valid: Tensor
    nonfinite: Tensor
    state: dict[str, Tensor] | None


def start_round(
    symbols: Tensor,
    layout: tuple[int, ...],
    grid: Grid,
    *,
    fading: Fading | FadingProcess,
    energy_budget: Budget,
    round: int,
    streams: Streams,
    air: Air,
    state: dict[str, Tensor] | None,
    gains: Tensor | None,
) -> RoundStart:
    """Check the message, draw the gains and read the budgets of a round; arguments as in `AnalogUplink.aggregate`.

    Raises:
        TypeError: symbols that are not float32 or float64.
        ValueError: shapes that do not fit.
    """
    num_devices = _check_message(symbols, layout)
    after: dict[str, Tensor] = {}
    if gains is None and isinstance(fading, NoFading):
        power = torch.ones(1, 1, dtype=torch.float64, device=symbols.device)
    else:
        if gains is None:
            generator = streams.generator("gains", round, symbols.device)
            drawn, after = draw_gains(fading, num_devices, grid, round=round, generator=generator, state=state)
            gains = drawn.squeeze(-2)  # one receive antenna
        _check_gains(gains, num_devices, grid)
        wide = gains.to(torch.complex128 if gains.is_complex() else torch.float64)
        power = wide.abs().square()
    budget = budget_of_round(energy_budget, round, symbols)
    if budget.shape[-1] not in (1, num_devices):
        raise ValueError(
            f"energy_budget must hold one value or one for each of the {num_devices} devices, got shape {list(budget.shape)}"
        )
    total = symbols.detach().abs().amax(-1) + power.detach().sum(-1) + budget  # terms >= 0
    nonfinite = ~((total < torch.inf) & (budget >= 0))
    valid = air.max(nonfinite.double(), dim=-1) == 0
    finite = power.nan_to_num(0, posinf=0)
    budget = budget.nan_to_num(0, posinf=0).clamp(min=0).expand(nonfinite.shape)
    return RoundStart(finite, budget, valid, nonfinite, after or None)


def check_options(
    *,
    energy_budget: Budget,
    noise_variance: float | Tensor,
    fading: Fading | FadingProcess,
    bandwidth_hz: float | None,
) -> None:
    """Refuse what no uplink can use.

    Raises:
        ValueError: a budget, noise variance or bandwidth out of range.
        TypeError: a fading model that is no function.
    """
    check_budget(energy_budget)
    variance = torch.as_tensor(noise_variance).detach()
    if not bool(((variance >= 0) & variance.isfinite()).all()):
        raise ValueError(f"noise_variance must be finite and >= 0 (per real symbol), got {noise_variance}")
    if bandwidth_hz is not None and not 0 < bandwidth_hz < float("inf"):
        raise ValueError(f"bandwidth_hz must be finite and > 0, got {bandwidth_hz}")
    if not (callable(fading) or isinstance(fading, FadingProcess)):
        raise TypeError(f"fading must be callable, got {fading!r}")


def _check_gains(gains: Tensor, num_devices: int, grid: Grid) -> None:
    wanted = (num_devices, grid.num_cells)
    if gains.ndim < 2 or any(found not in (1, size) for found, size in zip(gains.shape[-2:], wanted, strict=True)):
        raise ValueError(
            f"gains must be [..., num_devices, T F] = [..., {wanted[0]}, {wanted[1]}] (axes of length 1 are broadcast), "
            f"got shape {list(gains.shape)}"
        )


def _check_message(symbols: Tensor, layout: tuple[int, ...]) -> int:
    if symbols.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"symbols must be float32 or float64, got {symbols.dtype}; convert them with .float()")
    if symbols.ndim < 2 or symbols.shape[-2] < 1:
        raise ValueError(f"symbols must be [..., num_devices, num_symbols], got shape {list(symbols.shape)}")
    if not layout or min(layout) < 1 or sum(layout) != symbols.shape[-1]:
        raise ValueError(
            f"layout must hold block sizes >= 1 that sum to num_symbols = {symbols.shape[-1]}, got "
            f"{len(layout)} blocks with sum {sum(layout)}"
        )
    return symbols.shape[-2]
