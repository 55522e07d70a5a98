"""Receivers: how several antennas are combined."""

from laser_wireless.channels.receivers.least_error import Lmmse, ZeroForcing
from laser_wireless.channels.receivers.maximum_ratio import MaximumRatio
from laser_wireless.channels.receivers.single_antenna import SingleAntenna

__all__ = [
    "Lmmse",
    "MaximumRatio",
    "SingleAntenna",
    "ZeroForcing",
]
