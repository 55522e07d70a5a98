"""Downlinks: the base station brings its model to the devices."""

from laser_wireless.channels.downlinks.analog import AnalogBroadcast, NoiselessBroadcast
from laser_wireless.channels.downlinks.digital import DigitalBroadcast

__all__ = [
    "AnalogBroadcast",
    "DigitalBroadcast",
    "NoiselessBroadcast",
]
