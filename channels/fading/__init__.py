"""Fading: laws of the gains, with memory and without."""

from laser_wireless.channels.fading.alpha_mu import AlphaMu, Nakagami, Weibull
from laser_wireless.channels.fading.correlated import GaussMarkov, Jakes
from laser_wireless.channels.fading.correlated_law import CorrelatedLaw
from laser_wireless.channels.fading.draws import Unnormalised
from laser_wireless.channels.fading.laws import NoFading, Rayleigh, Rician

__all__ = [
    "AlphaMu",
    "CorrelatedLaw",
    "GaussMarkov",
    "Jakes",
    "Nakagami",
    "NoFading",
    "Rayleigh",
    "Rician",
    "Unnormalised",
    "Weibull",
]
