"""How training samples are dealt to K devices, and in which order each device goes through its own.

random     equal shards of a random order; up to K - 1 samples are left out, so that all shards are equal
dirichlet  the devices' shares of each class follow a symmetric Dirichlet law with parameter alpha; shards differ in size
label      the samples in the order of their classes, cut into K equal parts: a device sees few classes
shared     every device draws from all samples, with replacement: independent and identically distributed, for any K

The Dirichlet law is drawn per class over the devices, as by Yurochkin et al. (2019), arXiv:1905.12022, and Li et al. (2022),
arXiv:2102.02079; not per device over the classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from laser_wireless.channels import Streams

Sharding = Literal["random", "dirichlet", "label", "shared"]


@dataclass(frozen=True, eq=False)
class Shards:
    """Who holds what.

    Args:
        samples: int64 [K, longest], row k begins with the samples of device k; a row is filled up with its first.
        sizes: int64 [K], samples that each device holds, >= 1.
    """

    samples: Tensor
    sizes: Tensor

    def batches(self, devices: range, round: int, batch_size: int, streams: Streams) -> Tensor:
        """Return the samples int64 [len(devices), batch_size] of a round.

        An epoch is as many whole batches as the largest shard holds; the rest is dropped, another rest in every epoch. In an
        epoch each device goes through its shard in a random order, without replacement, and through the same order again
        when its shard is used up; so a batch repeats samples only where a shard is smaller than a batch.

        Args:
            devices: whose samples.
            round: 0, 1, 2, ...
            batch_size: samples per device.
            streams: the stream "data" orders the samples, anew in every epoch.
        """
        epoch, step = divmod(round, max(1, self.samples.shape[1] // batch_size))
        own = slice(devices.start, devices.stop)
        position = (step * batch_size + torch.arange(batch_size)) % self.sizes[own].unsqueeze(1)
        return self.samples[own].gather(1, _order(self, epoch, streams)[own].gather(1, position))


@dataclass(frozen=True, eq=False)
class Common:
    """All samples for each of the devices.

    Args:
        num_samples: N.
        num_devices: K.
    """

    num_samples: int
    num_devices: int

    @property
    def sizes(self) -> Tensor:
        """N for each device, int64 [K]."""
        return torch.full((self.num_devices,), self.num_samples, dtype=torch.int64)

    def batches(self, devices: range, round: int, batch_size: int, streams: Streams) -> Tensor:
        """Return the samples int64 [len(devices), batch_size] of a round, drawn independently with replacement."""
        return _draws(self, round, batch_size, streams)[devices.start : devices.stop].long()


@lru_cache(maxsize=1)  # asked for part by part where devices come in turns
def _draws(common: Common, round: int, batch_size: int, streams: Streams) -> Tensor:
    """int32 [K, batch_size], samples of all devices: 4 bytes each."""
    generator = streams.generator("data", round)
    shape = (common.num_devices, batch_size)
    return torch.randint(common.num_samples, shape, dtype=torch.int32, generator=generator)


@lru_cache(maxsize=64)  # runs of several seeds take turns; Streams compare by their seed, shards by identity
def _order(shards: Shards, epoch: int, streams: Streams) -> Tensor:
    """Random order of each row int64 [K, longest], the filling last."""
    keys = torch.rand(shards.samples.shape, generator=streams.generator("data", epoch))
    filling = torch.arange(shards.samples.shape[1]) >= shards.sizes.unsqueeze(1)
    return keys.masked_fill(filling, math.inf).argsort(1)


def check_sharding(sharding: Sharding, alpha: float | None) -> None:
    """Refuse an alpha that is missing, out of range, or without effect.

    Raises:
        ValueError: in these cases, and for an unknown sharding.
    """
    if sharding not in get_args(Sharding):
        raise ValueError(f"sharding must be one of {', '.join(get_args(Sharding))}, got {sharding!r}")
    if (sharding == "dirichlet") != (alpha is not None):
        raise ValueError(f"alpha must be given with sharding dirichlet and only then, got {sharding} and {alpha}")
    if alpha is not None and not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be finite and > 0, got {alpha}")


def deal(
    labels: Tensor, num_devices: int, batch_size: int, streams: Streams, *, sharding: Sharding, alpha: float | None = None
) -> Shards | Common:
    """Deal the training samples to the devices.

    Args:
        labels: int64 [N], classes of the samples.
        num_devices: K, at most N unless samples are shared.
        batch_size: samples per device and round; equal shards must hold at least as many.
        streams: the stream "shards" draws who holds what.
        sharding: see the module.
        alpha: of the Dirichlet law: small is skewed, large is even.

    Raises:
        ValueError: too few samples.
    """
    check_sharding(sharding, alpha)
    if sharding == "shared":
        return Common(len(labels), num_devices)
    smallest = len(labels) // num_devices
    if smallest < (1 if alpha is not None else batch_size):
        raise ValueError(
            f"batch_size must be at most the {smallest} images that each of {num_devices} devices holds, got "
            f"{batch_size}; use fewer devices, smaller batches, or sharding shared"
        )
    generator = streams.generator("shards", 0)
    if sharding == "random":
        order = torch.randperm(len(labels), generator=generator)[: smallest * num_devices]
        return Shards(order.view(num_devices, smallest), torch.full((num_devices,), smallest, dtype=torch.int64))
    if alpha is not None:
        return _padded(_dirichlet(labels, num_devices, alpha, generator))
    order = torch.randperm(len(labels), generator=generator)
    by_class = order[labels[order].argsort(stable=True)]
    return _padded(list(by_class.tensor_split(num_devices)))


dealt = lru_cache(maxsize=64)(deal)  # runs of several seeds take turns
"""`deal`, remembered; labels are the same only if they are the same tensor."""


class _Dealing(Protocol):
    """A task that says how it deals."""

    @property
    def batch_size(self) -> int: ...
    @property
    def sharding(self) -> Sharding: ...
    @property
    def alpha(self) -> float | None: ...


def shards_of(task: _Dealing, labels: Tensor, num_devices: int, streams: Streams) -> Shards | Common:
    """What a task deals to the devices of a run, remembered."""
    return dealt(labels, num_devices, task.batch_size, streams, sharding=task.sharding, alpha=task.alpha)


def _dirichlet(labels: Tensor, num_devices: int, alpha: float, generator: torch.Generator) -> list[Tensor]:
    """The samples of each device; one that came away with none takes one from the largest shard."""
    seed = torch.randint(2**62, (2,), generator=generator).tolist()
    order = torch.randperm(len(labels), generator=generator)
    parts: list[list[Tensor]] = [[] for _ in range(num_devices)]
    laws = np.random.default_rng(seed)  # torch's Dirichlet law takes no generator
    for label in range(int(labels.max()) + 1):
        samples = order[labels[order] == label]
        cuts = laws.dirichlet([alpha] * num_devices).cumsum()[:-1] * len(samples)
        for held, part in zip(parts, samples.tensor_split(torch.from_numpy(cuts.round()).long()), strict=True):
            held.append(part)
    shards = [torch.cat(held) for held in parts]
    for device_index, shard in enumerate(shards):
        if not len(shard):
            largest = max(range(num_devices), key=lambda k: len(shards[k]))
            shards[largest], shards[device_index] = shards[largest][:-1], shards[largest][-1:]
    return shards


def _padded(shards: list[Tensor]) -> Shards:
    sizes = torch.tensor([len(shard) for shard in shards], dtype=torch.int64)
    longest = int(sizes.max())
    rows = [torch.cat([shard, shard[:1].expand(longest - len(shard))]) for shard in shards]
    return Shards(torch.stack(rows), sizes)
