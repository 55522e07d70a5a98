"""Several runs over uplinks that differ in their energy budget alone, as one uplink with a first axis for the runs.

Each run draws from its own streams (`StackedStreams`), so that it meets the gains and the noise that it would meet alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from laser_wireless.channels.csi.models import PerfectCsi
from laser_wireless.channels.energy.allocation import Budget, budget_of_round
from laser_wireless.channels.fading.contract import FadingProcess
from laser_wireless.channels.fading.draws import as_fading
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.scale import OracleScale
from laser_wireless.channels.uplinks.analog import AnalogUplink
from laser_wireless.channels.uplinks.medium import SegmentMedium
from laser_wireless.channels.uplinks.reception import Uplink

_LANES = 8
"""Complex numbers that the widest vector loops take at a time; they round those left over otherwise."""


class NotStackable(ValueError):
    """These runs cannot be computed together; the message says why."""


@dataclass(frozen=True)
class StackedBudgets:
    """Energy budgets of R runs: float64 [R, K or 1] in each round."""

    of_runs: tuple[Budget, ...]

    def __call__(self, round: int) -> Any:
        """Return the budgets of a round, a tensor where a user's schedule gives a number."""
        rows = [budget_of_round(budget, round, torch.empty(0)) for budget in self.of_runs]
        return torch.stack(torch.broadcast_tensors(*rows))


def stack_uplinks(uplinks: Sequence[Uplink], num_devices: int) -> AnalogUplink:
    """One uplink for messages [R, K, S] of R runs of K devices each.

    Raises:
        NotStackable: they differ in more than their budget, or have a stage that remembers, draws for one run only, is a
            user's own, of which nobody knows whether it takes leading axes, or rounds by where a run's numbers lie.
    """
    first = uplinks[0]
    if not isinstance(first, AnalogUplink):
        raise NotStackable(f"{type(first).__name__} carries one run at a time")
    budgets = [first.energy_budget]
    for other in uplinks[1:]:
        if not isinstance(other, AnalogUplink):
            raise NotStackable("the uplinks differ in their class")
        if differing := _differing(first, other):
            raise NotStackable(f"the uplinks differ in {differing}")
        budgets.append(other.energy_budget)
    _check_stages(first, num_devices)
    return replace(first, energy_budget=StackedBudgets(tuple(budgets)))


def _differing(first: AnalogUplink, other: AnalogUplink) -> str:
    """Name of an argument in which they differ, beside the budget."""
    for field in fields(first):
        mine, its = getattr(first, field.name), getattr(other, field.name)
        if field.name == "energy_budget" or mine is its:
            continue
        if isinstance(mine, Tensor) or isinstance(its, Tensor) or mine != its:
            return field.name
    return ""


def _check_stages(uplink: AnalogUplink, num_devices: int) -> None:
    law = as_fading(uplink.fading)
    fills_vectors = num_devices % _LANES == 0 and uplink.num_rx_antennas == 1
    for reason, holds in {
        "impairments, a waveform in time or a channel of one's own": not isinstance(uplink.medium, SegmentMedium),
        "knowledge of the gains that is drawn or late": not (_is_perfect(uplink.csi) and _is_perfect(uplink.receiver_csi)),
        "fading that remembers": isinstance(law, FadingProcess | Multipath),
        f"fading of several antennas, or of a number of devices not divisible by {_LANES}, whose gains are multiplied "
        "with other last digits where there are several runs": not (isinstance(law, NoFading) or fills_vectors),
        "link gains": uplink.link_gain is not None,
        "participation": uplink.participation is not None,
        "a scale that is remembered": not isinstance(uplink.scale, OracleScale),
        "noise of several variances": isinstance(uplink.noise_variance, Tensor),
        "a power control, receiver or allocation of one's own": not all(
            type(part).__module__.startswith("laser_wireless.channels.")
            for part in (uplink.power_control, uplink.receiver, uplink.allocation)
        ),
    }.items():
        if holds:
            raise NotStackable(f"the uplink has {reason}")


def _is_perfect(csi: Any) -> bool:
    return isinstance(csi, PerfectCsi)
