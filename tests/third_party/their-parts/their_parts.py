"""A fading law and a scheme of somebody else's package."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from laser_wireless.compression import Message


@dataclass(frozen=True, kw_only=True)
class TwoRay:
    """Two rays of random phase: h = cos(tilt) e^{ja} + sin(tilt) e^{jb}.

    Args:
        tilt: in [0, pi/2]; 0 is one ray.
    """

    tilt: float = 0.5

    def __call__(self, num_devices, num_rx_antennas, grid, *, round, generator):
        """Return h."""
        shape = (2, num_devices, num_rx_antennas, grid.num_slots, grid.num_frequency_blocks)
        phase = 2 * math.pi * torch.rand(shape, device=generator.device, generator=generator)
        rays = torch.polar(torch.ones_like(phase), phase)
        return math.cos(self.tilt) * rays[0] + math.sin(self.tilt) * rays[1]


class EveryOtherState(NamedTuple):
    """Shapes alone."""

    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class EveryOther:
    """Send the even entries in even rounds and the odd ones in odd rounds.

    Args:
        error_feedback: keep what was not sent.
    """

    error_feedback: bool = True
    momentum = 0.0

    def init(self, shapes, num_devices, *, device, dtype, seed):
        """State before round 0."""
        return EveryOtherState(tuple(tuple(shape) for shape in shapes))

    def encode(self, gradients, state, *, round):
        """Every other entry."""
        part = gradients[:, round % 2 :: 2]
        return Message(part, (part.shape[1],))

    def subtract_(self, memory, sent, delivered, state, *, round):
        """Take off what arrived."""
        memory[:, round % 2 :: 2] -= delivered

    def decode(self, estimate, state, *, round, noise_variance=None, out=None):
        """Zero where nothing was sent."""
        sizes = [math.prod(shape) for shape in state.shapes]
        flat = torch.zeros(sum(sizes), dtype=estimate.dtype, device=estimate.device)
        flat[round % 2 :: 2] = estimate
        return [part.view(shape) for part, shape in zip(flat.split(sizes), state.shapes, strict=True)], state
