"""Impairments: what hardware and neighbours do to the samples, in stages x -> x' between precoding, channel and receiver.

An impairment is any function of this signature:

    def my_impairment(x, radio, *, generators):
        return x    # complex, like x: [..., K, n] at the transmitters, [..., N_r, n] at the receiver's front end

It draws from `generators`, whose three members say for how long a draw holds: for the run, the round or these samples.
x holds the n samples of a complex baseband; powers are |x|^2 of a complex sample unless "per real symbol" is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.round import Streams


@dataclass(frozen=True, kw_only=True)
class Radio:
    """What a stage may know of its samples.

    Args:
        mean_power: float64, broadcastable to [..., K, 1]: at a transmitter the energy budget over the number of samples,
            that is the allowed mean of |x|^2; at the receiver [..., 1, 1], the mean of |y|^2 over samples and antennas, as
            a gain control measures it before each stage. 0 is a silent device.
        sample_rate_hz: samples per second, None where no time is known; stages that need it then raise a ValueError.
        first_sample: index within the round of the first sample at hand; a long message may come in chunks.
        round: 0, 1, ...
    """

    mean_power: Tensor
    sample_rate_hz: float | None = None
    first_sample: int = 0
    round: int = 0

    def times(self, x: Tensor, needed_by: str) -> Tensor:
        """Seconds since the start of the round of each sample of x [..., n]: float64 [n].

        Raises:
            ValueError: sample_rate_hz is None; the message names `needed_by`.
        """
        if self.sample_rate_hz is None:
            raise ValueError(
                f"{needed_by} needs the time between samples: give the uplink a bandwidth_hz, or its ofdm time_domain=True"
            )
        index = torch.arange(x.shape[-1], dtype=torch.float64, device=x.device) + self.first_sample
        return index / self.sample_rate_hz


class Generators(NamedTuple):
    """Where a stage draws; each on the device of the samples.

    run: in the same state at every call of a run: what it draws first is a device's hardware.
    round: in the same state at every call of a round, another one in each round.
    samples: for these samples only.
    """

    run: torch.Generator
    round: torch.Generator
    samples: torch.Generator


class Impairment(Protocol):
    """Changes samples; a plain function will do.

    Draws that depend on `generators.run` are one for each row of x, the same for all leading axes; all other draws are
    independent along the leading axes. The result has shape, dtype and device of x.
    """

    def __call__(self, x: Tensor, radio: Radio, *, generators: Generators) -> Tensor:
        """Return the samples after this stage.

        Args:
            x: complex64 or complex128 [..., K, n] or [..., N_r, n].
            radio: what is known of them.
            generators: where to draw.
        """
        ...


def generators_of(streams: Streams, stage: str, radio: Radio, device: torch.device | str = "cpu") -> Generators:
    """The generators of one call of a stage, freshly seeded.

    Args:
        streams: of the run.
        stage: a name of its own for each stage of the uplink, such as "impairment-2".
        radio: gives the round and the first sample.
        device: of the samples.
    """
    return Generators(
        run=streams.generator(f"{stage}/run", 0, device),
        round=streams.generator(f"{stage}/round", radio.round, device),
        samples=streams.generator(f"{stage}/samples/{radio.first_sample}", radio.round, device),
    )


def check_samples(x: Tensor) -> None:
    """Raise a TypeError unless x is complex64 or complex128, a ValueError unless it is [..., rows, n]."""
    if x.dtype not in (torch.complex64, torch.complex128):
        raise TypeError(f"x must be complex64 or complex128, got {x.dtype}; convert it with .to(torch.complex64)")
    if x.ndim < 2:
        raise ValueError(f"x must be [..., K, n] (transmitters) or [..., N_r, n] (receiver), got shape {list(x.shape)}")
