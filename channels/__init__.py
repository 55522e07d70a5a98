"""The uplink multiple-access channel: energy, power control, fading, superposition, noise, receiver, ledger.

Each folder is a family of parts; what stands in its `__all__` is what a user can name.
"""

from laser_wireless.channels import (
    csi,
    digital,
    downlinks,
    energy,
    fading,
    hardware,
    power_control,
    propagation,
    receivers,
    uplinks,
)
from laser_wireless.channels.csi import *
from laser_wireless.channels.csi.contract import Csi, Knowledge
from laser_wireless.channels.digital import *
from laser_wireless.channels.downlinks import *
from laser_wireless.channels.downlinks.analog import Downlink
from laser_wireless.channels.energy import *
from laser_wireless.channels.energy.allocation import Allocation
from laser_wireless.channels.energy.schedules import Schedule
from laser_wireless.channels.energy.units import (
    ebno_from_snr,
    energy_from_complex_power,
    energy_from_power,
    energy_from_snr,
    from_db,
    no_from_noise_variance,
    noise_variance_from_no,
    noise_variance_from_signal_power,
    snr_from_ebno,
    snr_from_energy,
    to_db,
)
from laser_wireless.channels.fading import *
from laser_wireless.channels.fading.contract import Fading, FadingProcess
from laser_wireless.channels.fading.mean_power import draw_rounds
from laser_wireless.channels.hardware import *
from laser_wireless.channels.hardware.impairments import Impairment, Radio
from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.participation import (
    Attendance,
    EveryDevice,
    Participation,
    RandomDropout,
    SampledDevices,
    Sampling,
    Stragglers,
)
from laser_wireless.channels.power_control import *
from laser_wireless.channels.power_control.contract import Agreement, PowerControl, Transceiver
from laser_wireless.channels.propagation import *
from laser_wireless.channels.propagation.large_scale import cell_energy_budget, noise_power_dbm
from laser_wireless.channels.propagation.paths import Paths, PathsProcess
from laser_wireless.channels.propagation.ray_tracing import trace_scene
from laser_wireless.channels.propagation.tapped_delay import doppler_of_speed
from laser_wireless.channels.receivers import *
from laser_wireless.channels.receivers.contract import Receiver
from laser_wireless.channels.round import Air, LocalAir, Streams
from laser_wireless.channels.scale import OracleScale, PreviousScale, ScaleKnowledge, ScaleState
from laser_wireless.channels.segments import Grid, Segments
from laser_wireless.channels.uplinks import *
from laser_wireless.channels.uplinks.plan import Plan
from laser_wireless.channels.uplinks.reception import Reception, Uplink, UplinkState
from laser_wireless.channels.waveform import Ofdm

__all__ = [
    "Agreement",
    "Air",
    "Allocation",
    "Attendance",
    "Csi",
    "Downlink",
    "EveryDevice",
    "Fading",
    "FadingProcess",
    "Grid",
    "Impairment",
    "Knowledge",
    "Ledger",
    "LocalAir",
    "Ofdm",
    "OracleScale",
    "Participation",
    "Paths",
    "PathsProcess",
    "Plan",
    "PowerControl",
    "PreviousScale",
    "Radio",
    "RandomDropout",
    "Receiver",
    "Reception",
    "SampledDevices",
    "Sampling",
    "ScaleKnowledge",
    "ScaleState",
    "Schedule",
    "Segments",
    "Stragglers",
    "Streams",
    "Transceiver",
    "Uplink",
    "UplinkState",
    "cell_energy_budget",
    "doppler_of_speed",
    "draw_rounds",
    "ebno_from_snr",
    "energy_from_complex_power",
    "energy_from_power",
    "energy_from_snr",
    "from_db",
    "no_from_noise_variance",
    "noise_power_dbm",
    "noise_variance_from_no",
    "noise_variance_from_signal_power",
    "snr_from_ebno",
    "snr_from_energy",
    "to_db",
    "trace_scene",
]
__all__ += csi.__all__
__all__ += digital.__all__
__all__ += downlinks.__all__
__all__ += energy.__all__
__all__ += fading.__all__
__all__ += hardware.__all__
__all__ += power_control.__all__
__all__ += propagation.__all__
__all__ += receivers.__all__
__all__ += uplinks.__all__
