"""What digital and non-coherent uplinks settle first: received power, budgets, and whether the round is void.

Both know gains by their power only: |h|^2, summed over the antennas of the receiver, times the large-scale gain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from laser_wireless.channels.energy import Schedule, budget_of_round, check_budget
from laser_wireless.channels.fading import Fading, FadingProcess, NoFading, draw_gains
from laser_wireless.channels.reception import NOTHING, UplinkState
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.streams import Streams
from laser_wireless.channels.superposition import Air
from torch import Tensor

Budget: TypeAlias = float | list[float] | Tensor | Schedule
LinkGain: TypeAlias = list[float] | Tensor | Callable[..., Tensor]


class RoundStart(NamedTuple):
    """Known before anything is sent.

    gain_power: float64, broadcastable to [..., K, T F], summed over antennas, with the large-scale gain; 0 where
        it is not finite.
    budget: float64 [..., K], energy of each device, 0 where it is not finite.
    valid: bool [..., 1], False if any device's message, gain or budget is not finite: then nothing is sent.
    nonfinite: bool [..., K], by device.
    state: for the next round: of a fading process; None for a model without memory.
    """

    gain_power: Tensor
    budget: Tensor
    valid: Tensor
    nonfinite: Tensor
    state: UplinkState | None


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
    state: UplinkState | None,
    gains: Tensor | None,
    link_gain: LinkGain | None = None,
    num_rx_antennas: int = 1,
) -> RoundStart:
    """Check the message, draw the gains and read the budgets of a round; arguments as in `AnalogUplink.aggregate`.

    Raises:
        TypeError: symbols that are not float32 or float64.
        ValueError: shapes that do not fit.
    """
    num_devices = _check_message(symbols, layout)
    after: dict[str, Tensor] = {}
    if gains is not None:
        _check_gains(gains, num_devices, num_rx_antennas, grid)
        h = gains.unsqueeze(-2) if num_rx_antennas == 1 else gains
    elif isinstance(fading, NoFading):
        h = torch.ones(1, 1, 1, dtype=torch.float64, device=symbols.device)
    else:
        generator = streams.generator("gains", round, symbols.device)
        before = NOTHING if state is None else state
        options = {"num_rx_antennas": num_rx_antennas, "state": before.fading}
        h, after = draw_gains(fading, num_devices, grid, round=round, generator=generator, **options)
    wide = h.to(torch.complex128 if h.is_complex() else torch.float64)
    power = wide.abs().square().expand(*h.shape[:-2], num_rx_antennas, h.shape[-1]).sum(-2)
    if link_gain is not None:
        power = power * _large_scale(link_gain, num_devices, streams, symbols.device).unsqueeze(-1)
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
    return RoundStart(finite, budget, valid, nonfinite, UplinkState(None, after, {}) if after else None)


def check_options(
    *,
    energy_budget: Budget,
    noise_variance: float | Tensor,
    fading: Fading | FadingProcess,
    bandwidth_hz: float | None,
    link_gain: LinkGain | None,
) -> None:
    """Refuse what no uplink can use.

    Raises:
        ValueError: a budget, noise variance, bandwidth or large-scale gain out of range.
        TypeError: a fading model that is no function.
    """
    check_budget(energy_budget)
    variance = torch.as_tensor(noise_variance).detach()
    if not bool(((variance >= 0) & variance.isfinite()).all()):
        raise ValueError(f"noise_variance must be finite and >= 0 (per real symbol), got {noise_variance}")
    if bandwidth_hz is not None and not 0 < bandwidth_hz < float("inf"):
        raise ValueError(f"bandwidth_hz must be finite and > 0, got {bandwidth_hz}")
    if link_gain is not None and not callable(link_gain):
        gain = torch.as_tensor(link_gain, dtype=torch.float64).detach()
        if gain.ndim != 1 or not bool(((gain >= 0) & gain.isfinite()).all()):
            raise ValueError(
                f"link_gain must hold one finite power gain >= 0 for each device (linear, not dB), got {link_gain}"
            )
    if not (callable(fading) or isinstance(fading, FadingProcess)):
        raise TypeError(f"fading must be callable, got {fading!r}")


def _large_scale(link_gain: LinkGain, num_devices: int, streams: Streams, device: torch.device) -> Tensor:
    """Large-scale power gains float64 [K], the same in every round of a run."""
    if callable(link_gain):
        drawn = link_gain(num_devices, generator=streams.generator("topology", 0, device))
    else:
        drawn = torch.as_tensor(link_gain, dtype=torch.float64, device=device)
    if drawn.shape != (num_devices,):
        raise ValueError(
            f"link_gain must hold one power gain for each of the {num_devices} devices, got shape {list(drawn.shape)}"
        )
    return drawn.double()


def _check_gains(gains: Tensor, num_devices: int, num_rx_antennas: int, grid: Grid) -> None:
    wanted = (num_devices, grid.num_cells) if num_rx_antennas == 1 else (num_devices, num_rx_antennas, grid.num_cells)
    names = "[..., num_devices, T F]" if num_rx_antennas == 1 else "[..., num_devices, num_rx_antennas, T F]"
    found = gains.shape[-len(wanted) :]
    if gains.ndim < len(wanted) or any(n not in (1, size) for n, size in zip(found, wanted, strict=True)):
        raise ValueError(
            f"gains must be {names} = {list(wanted)} behind leading axes (axes of length 1 are broadcast), "
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
