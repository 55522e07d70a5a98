"""Compressors in a run of rounds: memory, message, uplink, decoding; no bridge."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from helpers.statistical import seeded
from laser_wireless.channels import AnalogUplink, Reception, ScaleState, Streams
from laser_wireless.compression import (
    Compressor,
    CountSketch,
    GaussianProjection,
    JacobiLowRank,
    LowRank,
    Message,
    RandomK,
    Sign,
    SpectralPrecoding,
    TopK,
    Uncompressed,
    settle_,
)

COMPRESSORS = [
    Uncompressed(),
    Uncompressed(error_feedback=True),
    LowRank(rank=1),
    LowRank(rank=3),
    LowRank(rank=2, error_feedback=False),
    LowRank(rank=1, rule="both"),
    LowRank(rank=3, rule="both"),
    JacobiLowRank(rank=1),
    JacobiLowRank(rank=3, step=0.5, regulariser=0.1),
    JacobiLowRank(rank=2, error_feedback=False),
    Sign(),
    Sign(momentum=0.9),
    Sign(rule="mean", error_feedback=True),
    Sign(error_feedback=True),
    SpectralPrecoding(),
    SpectralPrecoding(precoding=0.5),
    SpectralPrecoding(rank=2, momentum=0.0, equal_norms=False, precoding=0.5),
    SpectralPrecoding(rank=1, equal_norms=False, precoding=1.0, error_feedback=True),
    RandomK(fraction=0.3),
    RandomK(fraction=0.3, rescale=True, error_feedback=False),
    CountSketch(fraction=0.3),
    CountSketch(fraction=0.5, rows=2, divide_by_count=True, error_feedback=True),
    CountSketch(fraction=0.6, rows=3, read="median"),
    TopK(fraction=0.2),
    TopK(fraction=0.2, error_feedback=False),
    GaussianProjection(fraction=0.3),
    GaussianProjection(fraction=0.3, segment_size=20, projection="hadamard", redraw=True),
]
SHAPES = ((6, 9), (5,), (4, 3, 2), (), (12, 2))
SIZE = sum(math.prod(shape) for shape in SHAPES)


class Step(NamedTuple):
    """One round of a run."""

    asked: Tensor
    owed: Tensor
    message: Message
    reception: Reception
    decoded: list[Tensor]


def random_gradients(num_devices: int, *, size: int = SIZE, dtype=torch.float64, seed: int = 0) -> Tensor:
    """Gradients [K, d]."""
    return torch.randn(num_devices, size, dtype=dtype, generator=seeded(seed))


def begin(compressor: Compressor, shapes=SHAPES, *, num_devices: int = 3, dtype=torch.float64, device="cpu", seed: int = 0):
    """The state before round 0."""
    return compressor.init(shapes, num_devices, device=torch.device(device), dtype=dtype, seed=seed)


class Run:
    """Rounds one after another, as the bridge does them."""

    def __init__(self, compressor: Compressor, uplink: AnalogUplink, shapes=SHAPES, *, num_devices: int = 3, **options: Any):
        self.compressor, self.uplink, self.streams = compressor, uplink, Streams(options.pop("stream_seed", 0))
        self.state = begin(compressor, shapes, num_devices=num_devices, **options)
        self.memory: Tensor | None = None
        self.scale: ScaleState | None = None
        self.round = 0

    def step(self, gradients: Tensor) -> Step:
        """One round; the memory before it is what the last one left."""
        self.memory = gradients.clone() if self.memory is None else self.memory + gradients
        asked, round = self.memory.clone(), self.round
        message = self.compressor.encode(self.memory, self.state, round=round)
        sent = message._replace(symbols=message.symbols.clone())  # a message may be a view of the memory, settled below
        reception = self.uplink.aggregate(
            message.symbols, message.layout, round=round, streams=self.streams, state=self.scale, share_as=message.share_as
        )
        settle_(self.memory, message.symbols, reception.delivered_symbols, self.compressor, self.state, round=round)
        decoded, self.state = self.compressor.decode(
            reception.estimate, self.state, round=round, noise_variance=reception.noise_variance
        )
        self.scale, self.round = reception.state, round + 1
        return Step(asked, self.memory.clone(), sent, reception, decoded)


def tensors_of(state: Any) -> list[Tensor]:
    """All tensors in a state, however nested."""
    if isinstance(state, Tensor):
        return [state]
    return [tensor for entry in state for tensor in tensors_of(entry)] if isinstance(state, list | tuple) else []


def flat(parameters: list[Tensor]) -> Tensor:
    """One row [d] of all parameters."""
    return torch.cat([parameter.reshape(-1) for parameter in parameters])
