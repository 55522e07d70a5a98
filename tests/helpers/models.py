"""Small models, their data, and a bridge over them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from helpers.statistical import seeded
from laser_wireless.channels import AnalogUplink
from laser_wireless.compression import LowRank
from laser_wireless.training import UplinkBridge

NUM_DEVICES = 3
NUM_FEATURES, NUM_CLASSES = 12, 4


def build(*layers: nn.Module, seed: int = 0) -> nn.Sequential:
    """The layers with weights from a seed, global generator left alone."""
    model = nn.Sequential(*layers)
    generator = seeded(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5)
            elif name.endswith("bias"):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def perceptron() -> nn.Sequential:
    """Two matrices, two vectors."""
    return build(nn.Linear(NUM_FEATURES, 16), nn.Tanh(), nn.Linear(16, NUM_CLASSES))


def data(round: int = 0, *, num_devices: int = NUM_DEVICES, dtype=torch.float32) -> tuple[Tensor, Tensor]:
    """Inputs [K, 8, features] and targets [K, 8]."""
    generator = seeded(100 + round)
    x = torch.randn(num_devices, 8, NUM_FEATURES, dtype=dtype, generator=generator)
    return x, torch.randint(NUM_CLASSES, (num_devices, 8), generator=generator)


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of one device's batch."""
    return nn.functional.cross_entropy(model(x).float(), y)


def bridge_over(model: nn.Module, **options: Any) -> UplinkBridge:
    """A bridge with a noisy uplink and rank-2 factors unless said otherwise."""
    defaults = {
        "num_devices": NUM_DEVICES,
        "compressor": LowRank(rank=2),
        "uplink": AnalogUplink(energy_budget=100.0),
        "seed": 0,
    }
    return UplinkBridge(model, **(defaults | options))


def train(bridge: UplinkBridge, rounds: range, *, optimizer: torch.optim.Optimizer | None = None) -> torch.optim.Optimizer:
    """Rounds of SGD with momentum on `data`."""
    optimizer = optimizer or torch.optim.SGD(bridge.model.parameters(), lr=0.1, momentum=0.9)
    device = next(bridge.model.parameters()).device
    for round in rounds:
        bridge.backward(loss_of, *(batch.to(device) for batch in data(round, num_devices=bridge.num_devices)))
        bridge.exchange()
        optimizer.step()
    return optimizer


def weights(model: nn.Module) -> Tensor:
    """All parameters as one row."""
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def gradients(model: nn.Module) -> Tensor:
    """All p.grad as one row."""
    return torch.cat([p.grad.reshape(-1) for p in model.parameters()]).clone()
