"""Schemes that turn gradients into messages for the uplink, and back."""

from laser_wireless.compression.error_feedback import settle_
from laser_wireless.compression.low_rank import LowRank, LowRankState
from laser_wireless.compression.message import Compressor, Message
from laser_wireless.compression.uncompressed import Uncompressed, UncompressedState

__all__ = ["Compressor", "LowRank", "LowRankState", "Message", "Uncompressed", "UncompressedState", "settle_"]
