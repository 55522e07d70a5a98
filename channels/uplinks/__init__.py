"""Uplinks: messages in, the estimate of their mean and a ledger out."""

from laser_wireless.channels.uplinks.analog import AnalogUplink
from laser_wireless.channels.uplinks.energy_difference import EnergyDifference
from laser_wireless.channels.uplinks.fsk import FskMajorityVote
from laser_wireless.channels.uplinks.orthogonal_access import DigitalUplink

__all__ = [
    "AnalogUplink",
    "DigitalUplink",
    "EnergyDifference",
    "FskMajorityVote",
]
