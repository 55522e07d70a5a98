"""What every uplink checks and reads alike: the message, the budgets, gains that were given, large-scale gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import torch
from laser_wireless.channels.energy import Schedule, budget_of_round, check_budget
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.streams import Streams
from torch import Tensor

Budget: TypeAlias = float | list[float] | Tensor | Schedule
"""Energy per device and round: one number, one for each device, a tensor, or a function of the round."""


class LargeScale(Protocol):
    """Draws the large-scale power gains of a run; a plain function will do."""

    def __call__(self, num_devices: int, *, generator: torch.Generator) -> Tensor:
        """Return float64 [num_devices], linear power gains >= 0; the generator comes freshly seeded for the run."""
        ...


LinkGain: TypeAlias = list[float] | Tensor | LargeScale
"""Large-scale power gains [K], or a function (num_devices, *, generator) that draws them once for a run."""


def check_options(
    *,
    energy_budget: Budget,
    noise_variance: float | Tensor,
    bandwidth_hz: float | None,
    link_gain: LinkGain | None,
) -> None:
    """Refuse what no uplink can use.

    Raises:
        ValueError: a budget, noise variance, bandwidth or large-scale gain out of range.
    """
    check_budget(energy_budget)
    variance = torch.as_tensor(noise_variance, dtype=torch.float64).detach()
    if not bool(((variance >= 0) & variance.isfinite()).all()):
        raise ValueError(f"noise_variance must be finite and >= 0 (per real symbol), got {noise_variance}")
    if bandwidth_hz is not None and not 0 < bandwidth_hz < float("inf"):
        raise ValueError(f"bandwidth_hz must be finite and > 0, got {bandwidth_hz}")
    if link_gain is not None and not callable(link_gain):
        gain = torch.as_tensor(link_gain, dtype=torch.float64).detach()
        if gain.ndim != 1 or not bool(((gain >= 0) & gain.isfinite()).all() and (gain > 0).any()):
            raise ValueError(
                "link_gain must hold one finite power gain >= 0 for each device (linear, not dB), not all 0, got "
                f"{link_gain}"
            )


def check_message(symbols: Tensor, layout: Sequence[int]) -> int:
    """Return K of symbols [..., K, S].

    Raises:
        TypeError: symbols that are not float32 or float64.
        ValueError: shapes that do not fit.
    """
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


def given_gains(gains: Tensor, num_devices: int, num_rx_antennas: int, grid: Grid) -> Tensor:
    """Check gains that the caller gives and return them as [..., K, N_r, T F].

    Raises:
        ValueError: they are not [..., K, T F], or [..., K, N_r, T F] with several antennas.
    """
    wanted = (num_devices, grid.num_cells) if num_rx_antennas == 1 else (num_devices, num_rx_antennas, grid.num_cells)
    names = "[..., num_devices, T F]" if num_rx_antennas == 1 else "[..., num_devices, num_rx_antennas, T F]"
    found = gains.shape[-len(wanted) :]
    if gains.ndim < len(wanted) or any(n not in (1, size) for n, size in zip(found, wanted, strict=True)):
        raise ValueError(
            f"gains must be {names} = [..., {', '.join(map(str, wanted))}] (axes of length 1 are broadcast), "
            f"got shape {list(gains.shape)}"
        )
    return gains.unsqueeze(-2) if num_rx_antennas == 1 else gains


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


def large_scale(link_gain: LinkGain | None, num_devices: int, streams: Streams, device: torch.device) -> Tensor | None:
    """Large-scale power gains float64 [K], the same in every round of a run; None for 1.

    Raises:
        ValueError: not one real number for each device.
    """
    if link_gain is None:
        return None
    name = ""
    if callable(link_gain):
        name = f"{getattr(link_gain, '__name__', None) or repr(link_gain)} "
        drawn = link_gain(num_devices, generator=streams.generator("topology", 0, device))
    else:
        drawn = torch.as_tensor(link_gain, dtype=torch.float64, device=device)
    if not isinstance(drawn, Tensor) or drawn.shape != (num_devices,) or drawn.is_complex():
        found = f"{drawn.dtype} {list(drawn.shape)}" if isinstance(drawn, Tensor) else type(drawn).__name__
        raise ValueError(f"link_gain {name}must hold one real power gain for each of the {num_devices} devices, got {found}")
    return drawn.double()
