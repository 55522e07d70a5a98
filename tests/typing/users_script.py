"""What a user writes, as type checkers see it; each line marked "error" must be found, and no other."""

import torch
from torch import Tensor

from laser_wireless.channels import AnalogUplink, Grid, Rayleigh, SionnaCell, Streams, TappedDelayLine, TruncatedInversion
from laser_wireless.compression import LowRank
from laser_wireless.training import UplinkBridge


def my_fading(devices: int, antennas: int, grid: Grid, *, round: int, generator: torch.Generator) -> Tensor:
    return torch.ones(devices, antennas, 1, 1, dtype=torch.complex64)


def my_allocation(norms: Tensor, sizes: tuple[int, ...], air: object) -> Tensor:
    return norms.square().sum(-2, keepdim=True)


def my_paths(devices: int, antennas: int, times: Tensor, *, round: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.ones(devices, antennas, 1, len(times), dtype=torch.complex64), torch.zeros(devices, 1)


for fading in (Rayleigh(), my_fading, my_paths, SionnaCell(), TappedDelayLine()):
    uplink = AnalogUplink(energy_budget=1.0, fading=fading, allocation=my_allocation)
uplink = AnalogUplink(energy_budget=[1.0, 2.0], power_control=TruncatedInversion(threshold=0.1))
model = torch.nn.Linear(3, 2)
bridge = UplinkBridge(model, num_devices=2, compressor=LowRank(rank=1), uplink=uplink, seed=0)
reception = uplink.aggregate(torch.ones(2, 4), (4,), round=0, streams=Streams(0))
energy: Tensor = reception.ledger.energy_spent

AnalogUplink(energy_budget="much")  # error
AnalogUplink(energy_budget=1.0, fading=TruncatedInversion())  # error
AnalogUplink(energy_budget=1.0, fadding=Rayleigh())  # error
UplinkBridge(model, num_devices=2, compressor=Rayleigh(), uplink=uplink, seed=0)  # error
print(reception.estimat)  # error
rank: str = LowRank(rank=4).rank  # error
