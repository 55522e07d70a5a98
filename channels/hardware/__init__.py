"""Hardware: what happens to samples at transmitters and antennas."""

from laser_wireless.channels.hardware.amplifier import Clipping, Rapp, Saleh
from laser_wireless.channels.hardware.converters import IqImbalance, Quantiser
from laser_wireless.channels.hardware.impulsive_noise import BernoulliGaussianNoise, MiddletonNoise
from laser_wireless.channels.hardware.interference import BarrageJammer, OtherCells, PulsedJammer, ToneJammer
from laser_wireless.channels.hardware.oscillator import CarrierFrequencyOffset, PhaseError, PhaseNoise
from laser_wireless.channels.hardware.spread import NormalSpread, UniformSpread
from laser_wireless.channels.hardware.timing import TimingOffset

__all__ = [
    "BarrageJammer",
    "BernoulliGaussianNoise",
    "CarrierFrequencyOffset",
    "Clipping",
    "IqImbalance",
    "MiddletonNoise",
    "NormalSpread",
    "OtherCells",
    "PhaseError",
    "PhaseNoise",
    "PulsedJammer",
    "Quantiser",
    "Rapp",
    "Saleh",
    "TimingOffset",
    "ToneJammer",
    "UniformSpread",
]
