"""What digital and non-coherent uplinks settle first: received power, budgets, and whether the round is void.

Both know gains by their power only: |h|^2, summed over the antennas of the receiver, times the large-scale gain.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from laser_wireless.channels.estimation_error import wide
from laser_wireless.channels.fading import Fading, FadingProcess, NoFading, draw_gains
from laser_wireless.channels.reception import NOTHING, UplinkState
from laser_wireless.channels.round_input import Budget, LinkGain, check_message, device_budgets, given_gains, large_scale
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.streams import Streams
from laser_wireless.channels.superposition import Air
from torch import Tensor


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
    num_devices = check_message(symbols, layout)
    after: dict[str, Tensor] = {}
    if gains is not None:
        h = given_gains(gains, num_devices, num_rx_antennas, grid)
    elif isinstance(fading, NoFading):
        h = torch.ones(1, 1, 1, dtype=torch.float64, device=symbols.device)
    else:
        generator = streams.generator("gains", round, symbols.device)
        before = NOTHING if state is None else state
        options = {"num_rx_antennas": num_rx_antennas, "state": before.fading}
        h, after = draw_gains(fading, num_devices, grid, round=round, generator=generator, **options)
    power = wide(h).abs().square().expand(*h.shape[:-2], num_rx_antennas, h.shape[-1]).sum(-2)
    large = large_scale(link_gain, num_devices, streams, symbols.device)
    power = power if large is None else power * large.unsqueeze(-1)
    budget = device_budgets(energy_budget, round, symbols)
    total = symbols.detach().abs().amax(-1) + power.detach().sum(-1) + budget  # terms >= 0
    nonfinite = ~((total < torch.inf) & (budget >= 0))
    valid = air.max(nonfinite.double(), dim=-1) == 0
    finite = power.nan_to_num(0, posinf=0)
    budget = budget.nan_to_num(0, posinf=0).clamp(min=0).expand(nonfinite.shape)
    return RoundStart(finite, budget, valid, nonfinite, UplinkState(None, after, {}) if after else None)
