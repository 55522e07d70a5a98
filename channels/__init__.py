"""The uplink multiple-access channel: energy, power control, fading, superposition, noise, receiver, ledger."""

from laser_wireless.channels.csi import (
    Csi,
    DelayedCsi,
    Knowledge,
    NoCsi,
    NoisyCsi,
    PerfectCsi,
    PhaseOnlyCsi,
    PilotCsi,
    QuantisedCsi,
)
from laser_wireless.channels.digital.fsk import FskMajorityVote
from laser_wireless.channels.digital.link_rate import Capacity, FiniteBlocklength
from laser_wireless.channels.digital.orthogonal_access import DigitalUplink
from laser_wireless.channels.digital.quantisation import SparseQuantiser, StochasticQuantiser
from laser_wireless.channels.digital.sionna_link import LdpcLink
from laser_wireless.channels.digital_downlink import DigitalBroadcast
from laser_wireless.channels.downlink import AnalogBroadcast, Downlink, NoiselessBroadcast
from laser_wireless.channels.energy import (
    Allocation,
    LeastNoiseAllocation,
    LinearEnergy,
    NormAllocation,
    Schedule,
    StepEnergy,
    UniformAllocation,
    energy_from_complex_power,
    energy_from_power,
    energy_from_snr,
    from_db,
    snr_from_energy,
    to_db,
)
from laser_wireless.channels.fading import Fading, FadingProcess, NoFading, Rayleigh, Rician, Unnormalised, draw_rounds
from laser_wireless.channels.full_power import FullPower, OpenLoop
from laser_wireless.channels.hardware.amplifier import Clipping, Rapp, Saleh
from laser_wireless.channels.hardware.converters import IqImbalance, Quantiser
from laser_wireless.channels.hardware.impairments import Impairment, Radio
from laser_wireless.channels.hardware.impulsive_noise import BernoulliGaussianNoise, MiddletonNoise
from laser_wireless.channels.hardware.interference import BarrageJammer, OtherCells, PulsedJammer, ToneJammer
from laser_wireless.channels.hardware.oscillator import CarrierFrequencyOffset, PhaseError, PhaseNoise
from laser_wireless.channels.hardware.spread import NormalSpread, UniformSpread
from laser_wireless.channels.hardware.timing import TimingOffset
from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.optimal_power import MseOptimal, RegularisedInversion
from laser_wireless.channels.participation import Attendance, EveryDevice, Participation, RandomDropout, Stragglers
from laser_wireless.channels.peak_limit import PeakLimited
from laser_wireless.channels.plan import Plan
from laser_wireless.channels.power_control import (
    Agreement,
    AlignedInversion,
    PowerControl,
    TimeVaryingPrecoding,
    Transceiver,
    TruncatedInversion,
)
from laser_wireless.channels.propagation.correlated_fading import GaussMarkov, Jakes
from laser_wireless.channels.propagation.correlated_law import CorrelatedLaw
from laser_wireless.channels.propagation.fading_laws import AlphaMu, Nakagami, Weibull
from laser_wireless.channels.propagation.large_scale import (
    Annulus,
    CellGain,
    Distances,
    LogNormalShadowing,
    Positions,
    cell_energy_budget,
    noise_power_dbm,
)
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.path_loss import InHPathLoss, LogDistance, RMaPathLoss, UMaPathLoss, UMiPathLoss
from laser_wireless.channels.propagation.paths import Paths, PathsProcess
from laser_wireless.channels.propagation.ray_tracing import RayTraced, Scene, trace_scene
from laser_wireless.channels.propagation.sionna_paths import SionnaCdl, SionnaPaths, SionnaRayleigh, SionnaTdl
from laser_wireless.channels.propagation.sionna_topology import SionnaCell
from laser_wireless.channels.propagation.tapped_delay import TappedDelayLine, doppler_of_speed
from laser_wireless.channels.propagation.tensorflow_stage import TensorFlowChannel, TensorFlowFading
from laser_wireless.channels.propagation.traces import PathTrace, Trace
from laser_wireless.channels.receivers import Lmmse, MaximumRatio, Receiver, SingleAntenna, ZeroForcing
from laser_wireless.channels.reception import Reception, Uplink, UplinkState
from laser_wireless.channels.round import Air, LocalAir, Streams
from laser_wireless.channels.scale import OracleScale, PreviousScale, ScaleKnowledge, ScaleState
from laser_wireless.channels.segments import Grid, Segments
from laser_wireless.channels.uplink import AnalogUplink
from laser_wireless.channels.waveform import Ofdm

__all__ = [
    "Agreement",
    "Air",
    "AlignedInversion",
    "Allocation",
    "AlphaMu",
    "AnalogBroadcast",
    "AnalogUplink",
    "Annulus",
    "Attendance",
    "BarrageJammer",
    "BernoulliGaussianNoise",
    "Capacity",
    "CarrierFrequencyOffset",
    "CellGain",
    "Clipping",
    "CorrelatedLaw",
    "Csi",
    "DelayedCsi",
    "DigitalBroadcast",
    "DigitalUplink",
    "Distances",
    "Downlink",
    "EveryDevice",
    "Fading",
    "FadingProcess",
    "FiniteBlocklength",
    "FskMajorityVote",
    "FullPower",
    "GaussMarkov",
    "Grid",
    "Impairment",
    "InHPathLoss",
    "IqImbalance",
    "Jakes",
    "Knowledge",
    "LdpcLink",
    "LeastNoiseAllocation",
    "Ledger",
    "LinearEnergy",
    "Lmmse",
    "LocalAir",
    "LogDistance",
    "LogNormalShadowing",
    "MaximumRatio",
    "MiddletonNoise",
    "MseOptimal",
    "Multipath",
    "Nakagami",
    "NoCsi",
    "NoFading",
    "NoiselessBroadcast",
    "NoisyCsi",
    "NormAllocation",
    "NormalSpread",
    "Ofdm",
    "OpenLoop",
    "OracleScale",
    "OtherCells",
    "Participation",
    "PathTrace",
    "Paths",
    "PathsProcess",
    "PeakLimited",
    "PerfectCsi",
    "PhaseError",
    "PhaseNoise",
    "PhaseOnlyCsi",
    "PilotCsi",
    "Plan",
    "Positions",
    "PowerControl",
    "PreviousScale",
    "PulsedJammer",
    "QuantisedCsi",
    "Quantiser",
    "RMaPathLoss",
    "Radio",
    "RandomDropout",
    "Rapp",
    "RayTraced",
    "Rayleigh",
    "Receiver",
    "Reception",
    "RegularisedInversion",
    "Rician",
    "Saleh",
    "ScaleKnowledge",
    "ScaleState",
    "Scene",
    "Schedule",
    "Segments",
    "SingleAntenna",
    "SionnaCdl",
    "SionnaCell",
    "SionnaPaths",
    "SionnaRayleigh",
    "SionnaTdl",
    "SparseQuantiser",
    "StepEnergy",
    "StochasticQuantiser",
    "Stragglers",
    "Streams",
    "TappedDelayLine",
    "TensorFlowChannel",
    "TensorFlowFading",
    "TimeVaryingPrecoding",
    "TimingOffset",
    "ToneJammer",
    "Trace",
    "Transceiver",
    "TruncatedInversion",
    "UMaPathLoss",
    "UMiPathLoss",
    "UniformAllocation",
    "UniformSpread",
    "Unnormalised",
    "Uplink",
    "UplinkState",
    "Weibull",
    "ZeroForcing",
    "cell_energy_budget",
    "doppler_of_speed",
    "draw_rounds",
    "energy_from_complex_power",
    "energy_from_power",
    "energy_from_snr",
    "from_db",
    "noise_power_dbm",
    "snr_from_energy",
    "to_db",
    "trace_scene",
]
