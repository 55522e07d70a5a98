"""Power control: how loud each device sends, by what it knows."""

from laser_wireless.channels.power_control.full_power import FullPower, OpenLoop
from laser_wireless.channels.power_control.inversion import AlignedInversion, TimeVaryingPrecoding, TruncatedInversion
from laser_wireless.channels.power_control.optimal import MseOptimal, RegularisedInversion
from laser_wireless.channels.power_control.peak_limit import PeakLimited

__all__ = [
    "AlignedInversion",
    "FullPower",
    "MseOptimal",
    "OpenLoop",
    "PeakLimited",
    "RegularisedInversion",
    "TimeVaryingPrecoding",
    "TruncatedInversion",
]
