"""Propagation: paths by models, standards, ray tracing and measurements, and what follows from where devices are."""

from laser_wireless.channels.propagation.large_scale import Annulus, CellGain, Distances, LogNormalShadowing, Positions
from laser_wireless.channels.propagation.multipath import Multipath
from laser_wireless.channels.propagation.path_loss import InHPathLoss, LogDistance, RMaPathLoss, UMaPathLoss, UMiPathLoss
from laser_wireless.channels.propagation.ray_tracing import RayTraced, Scene
from laser_wireless.channels.propagation.sionna_paths import SionnaCdl, SionnaPaths, SionnaRayleigh, SionnaTdl
from laser_wireless.channels.propagation.sionna_topology import SionnaCell
from laser_wireless.channels.propagation.tapped_delay import TappedDelayLine
from laser_wireless.channels.propagation.tensorflow_stage import TensorFlowChannel, TensorFlowFading
from laser_wireless.channels.propagation.traces import PathTrace, Trace

__all__ = [
    "Annulus",
    "CellGain",
    "Distances",
    "InHPathLoss",
    "LogDistance",
    "LogNormalShadowing",
    "Multipath",
    "PathTrace",
    "Positions",
    "RMaPathLoss",
    "RayTraced",
    "Scene",
    "SionnaCdl",
    "SionnaCell",
    "SionnaPaths",
    "SionnaRayleigh",
    "SionnaTdl",
    "TappedDelayLine",
    "TensorFlowChannel",
    "TensorFlowFading",
    "Trace",
    "UMaPathLoss",
    "UMiPathLoss",
]
