"""Schemes that turn gradients into messages for the uplink, and back."""

from laser_wireless.compression.count_sketch import CountSketch, CountSketchState
from laser_wireless.compression.error_feedback import settle_
from laser_wireless.compression.gaussian_projection import GaussianProjection, GaussianProjectionState
from laser_wireless.compression.jacobi_low_rank import JacobiLowRank, JacobiLowRankState
from laser_wireless.compression.low_rank import LowRank, LowRankState
from laser_wireless.compression.message import Compressor, Message
from laser_wireless.compression.random_k import RandomK, RandomKState
from laser_wireless.compression.sign import Sign, SignState
from laser_wireless.compression.spectral_precoding import SpectralPrecoding, SpectralPrecodingState
from laser_wireless.compression.top_k import TopK, TopKState
from laser_wireless.compression.uncompressed import Uncompressed, UncompressedState

__all__ = [
    "Compressor",
    "CountSketch",
    "CountSketchState",
    "GaussianProjection",
    "GaussianProjectionState",
    "JacobiLowRank",
    "JacobiLowRankState",
    "LowRank",
    "LowRankState",
    "Message",
    "RandomK",
    "RandomKState",
    "Sign",
    "SignState",
    "SpectralPrecoding",
    "SpectralPrecodingState",
    "TopK",
    "TopKState",
    "Uncompressed",
    "UncompressedState",
    "settle_",
]
