"""What digital and non-coherent uplinks read first: received power, budgets, who is there, and whether the round is invalid.

Both know gains by their power only: |h|^2, summed over the antennas of the receiver, times the large-scale gain.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.energy.allocation import Budget, device_budgets
from laser_wireless.channels.participation import Attendance, Participation, attendance_of
from laser_wireless.channels.radio_link import RadioLink
from laser_wireless.channels.round import LocalAir, Round
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.uplinks.plan import check_message
from laser_wireless.channels.uplinks.reception import UplinkState


class Terms(Protocol):
    """On what an uplink's devices send."""

    @property
    def radio(self) -> RadioLink:
        """Fading, large-scale gain and noise."""
        ...

    @property
    def energy_budget(self) -> Budget:
        """P."""
        ...

    @property
    def participation(self) -> Participation | None:
        """Who takes part; everybody if None."""
        ...


class RoundStart(NamedTuple):
    """Known before anything is sent.

    gain_power: float64, broadcastable to [..., K, T F], summed over antennas, with the large-scale gain; 0 where
        it is not finite.
    link_gain: float64 [K], the large-scale gain by itself; None for 1.
    budget: float64 [..., K], energy allowed to each device, 0 where it is not finite.
    energy: float64 [..., K], the same for devices that are there, 0 for the others.
    attendance: who is there, and how long the server waited for them.
    valid: bool [..., 1], False if any device's message, gain or budget is not finite: then nothing is sent.
    nonfinite: bool [..., K], by device.
    state: for the next round: of a fading process; None for a model without memory.
    """

    gain_power: Tensor
    link_gain: Tensor | None
    budget: Tensor
    energy: Tensor
    attendance: Attendance
    valid: Tensor
    nonfinite: Tensor
    state: UplinkState | None


def start_round(
    symbols: Tensor,
    layout: tuple[int, ...],
    grid: Grid,
    now: Round,
    terms: Terms,
    state: UplinkState | None,
    gains: Tensor | None,
) -> RoundStart:
    """Check the message, draw gains and who is there, and read the budgets; arguments as in `AnalogUplink.aggregate`.

    Raises:
        TypeError: symbols that are not float32 or float64, or an air over processes.
        ValueError: shapes that do not fit.
    """
    if not isinstance(now.air, LocalAir):
        raise TypeError(
            f"air must be a LocalAir, since this uplink hears each device by itself, got {now.air!r}; give the messages of "
            "all devices, air.gather(symbols, -2), as UplinkBridge does"
        )
    num_devices = check_message(symbols, layout)
    memory = (state or {}).get("fading")
    drawn = terms.radio.draw(num_devices, grid, now, like=symbols, state=memory, given=gains)
    power = drawn.powers()
    budget = device_budgets(terms.energy_budget, now.index, symbols)
    total = symbols.detach().abs().amax(-1) + power.detach().sum(-1) + budget  # terms >= 0
    nonfinite = ~((total < torch.inf) & (budget >= 0))
    valid = now.air.max(nonfinite.double(), dim=-1) == 0
    finite = power.nan_to_num(0, posinf=0)
    budget = budget.nan_to_num(0, posinf=0).clamp(min=0).expand(nonfinite.shape)
    attendance = attendance_of(terms.participation, num_devices, now, symbols.device)
    return RoundStart(
        gain_power=finite,
        link_gain=drawn.link_gain,
        budget=budget,
        energy=budget.masked_fill(~attendance.present, 0),
        attendance=attendance,
        valid=valid,
        nonfinite=nonfinite,
        state=drawn.state or None,
    )
