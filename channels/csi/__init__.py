"""Channel state information: models of what is known of the gains."""

from laser_wireless.channels.csi.models import DelayedCsi, NoCsi, NoisyCsi, PerfectCsi, PhaseOnlyCsi, PilotCsi, QuantisedCsi

__all__ = [
    "DelayedCsi",
    "NoCsi",
    "NoisyCsi",
    "PerfectCsi",
    "PhaseOnlyCsi",
    "PilotCsi",
    "QuantisedCsi",
]
