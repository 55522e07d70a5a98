"""The fading laws of a run, checked once where it begins: E|h|^2 = 1, or `Unnormalised` says that it is meant otherwise."""

from __future__ import annotations

from typing import Any

import torch

from laser_wireless.channels.fading.mean_power import check_normalised
from laser_wireless.channels.radio_link import RadioLink
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.uplinks.analog import AnalogUplink

_NUM_SYMBOLS = 64  # of the message for which gains are asked


def check_laws(num_devices: int, *, uplink: Any, downlink: Any = None, device: torch.device | str) -> None:
    """Measure the mean power of laws that the user brings; reads values on the host, and draws nothing of the run.

    Args:
        num_devices: K.
        uplink: one with a `RadioLink`; another kind answers for its own gains.
        downlink: likewise.
        device: where the run computes.

    Raises:
        ValueError: a law whose E|h|^2 is not 1; see `channels.fading.check_normalised`.
    """
    for name, link in (("uplink", uplink), ("downlink", downlink)):
        radio = getattr(link, "radio", None)
        if isinstance(radio, RadioLink):
            one_cell = Grid(num_slots=1, symbols_per_cell=_NUM_SYMBOLS)
            grid = link.grid((_NUM_SYMBOLS,)) if isinstance(link, AnalogUplink) else one_cell
            antennas = radio.num_rx_antennas
            check_normalised(
                radio.fading, num_devices, grid, device=device, num_rx_antennas=antennas, name=f"fading of the {name}"
            )
