"""Energy: schedules of budgets over rounds and devices, allocation to blocks, and ways of stating a budget."""

from laser_wireless.channels.energy.allocation import LeastNoiseAllocation, NormAllocation, UniformAllocation
from laser_wireless.channels.energy.schedules import LinearEnergy, StepEnergy, UnequalEnergy

__all__ = [
    "LeastNoiseAllocation",
    "LinearEnergy",
    "NormAllocation",
    "StepEnergy",
    "UnequalEnergy",
    "UniformAllocation",
]
