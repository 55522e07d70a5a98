"""The uplink multiple-access channel: energy, power control, fading, superposition, noise, receiver, ledger."""

from laser_wireless.channels.energy import (
    Allocation,
    LeastNoiseAllocation,
    LinearEnergy,
    NormAllocation,
    Schedule,
    StepEnergy,
    UniformAllocation,
    energy_from_power,
    energy_from_snr,
    from_db,
    snr_from_energy,
    to_db,
)
from laser_wireless.channels.fading import Fading, NoFading, Rayleigh, Rician, draw_rounds
from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.plan import Plan
from laser_wireless.channels.power_control import (
    Agreement,
    AlignedInversion,
    PowerControl,
    Transceiver,
    TruncatedInversion,
)
from laser_wireless.channels.reception import Reception, Uplink, UplinkState
from laser_wireless.channels.scale import OracleScale, PreviousScale, ScaleKnowledge, ScaleState
from laser_wireless.channels.segments import Grid, Segments
from laser_wireless.channels.streams import Streams
from laser_wireless.channels.superposition import Air, LocalAir
from laser_wireless.channels.uplink import AnalogUplink

__all__ = [
    "Agreement",
    "Air",
    "AlignedInversion",
    "Allocation",
    "AnalogUplink",
    "Fading",
    "Grid",
    "LeastNoiseAllocation",
    "Ledger",
    "LinearEnergy",
    "LocalAir",
    "NoFading",
    "NormAllocation",
    "OracleScale",
    "Plan",
    "PowerControl",
    "PreviousScale",
    "Rayleigh",
    "Reception",
    "Rician",
    "ScaleKnowledge",
    "ScaleState",
    "Schedule",
    "Segments",
    "StepEnergy",
    "Streams",
    "Transceiver",
    "TruncatedInversion",
    "UniformAllocation",
    "Uplink",
    "UplinkState",
    "draw_rounds",
    "energy_from_power",
    "energy_from_snr",
    "from_db",
    "snr_from_energy",
    "to_db",
]
