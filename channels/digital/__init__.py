"""Digital links: codes that carry bits, and quantisers that make them."""

from laser_wireless.channels.digital.link_rate import Capacity, FiniteBlocklength
from laser_wireless.channels.digital.quantisation import SparseQuantiser, StochasticQuantiser
from laser_wireless.channels.digital.sionna_link import LdpcLink

__all__ = [
    "Capacity",
    "FiniteBlocklength",
    "LdpcLink",
    "SparseQuantiser",
    "StochasticQuantiser",
]
