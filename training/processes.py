"""Devices that live in several processes: what they send adds up in an all-reduce of torch.distributed.

Where gains are constant over segments (`AnalogUplink` without hardware and without an OFDM waveform in the time domain), a
round hands over, for each process, the message's S symbols to an all-reduce, and a norm and a peak for each device and
segment to an all-gather: nothing else, whatever the scheme. Every process draws all devices' gains, knowledge and
participation, and the one noise, from the same streams, so that all decode the same numbers. Where each device must be heard
by itself (hardware, digital links, votes, uplinks of a user's own) the messages of all devices are gathered, K S symbols,
and every process computes the whole uplink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from laser_wireless.channels import Ledger, Uplink, UplinkState
from laser_wireless.channels.round import Streams
from laser_wireless.channels.uplinks.reception import Received
from laser_wireless.compression import Message


class ProcessLost(RuntimeError):
    """Another process of the group has ended, or no longer answers."""


class ProcessAir:
    """The devices of a process group; see `laser_wireless.channels.Air`.

    Args:
        num_devices: of this process, L >= 1. Processes may have different numbers; the devices are counted in the order of
            ranks.
        group: the processes; all of them if None.

    Attributes:
        counts: devices of each process.
        bytes_summed, bytes_gathered: what this process has handed over to all-reduces and all-gathers so far.

    Raises:
        RuntimeError: torch.distributed has no process group yet.
    """

    def __init__(self, num_devices: int, *, group: dist.ProcessGroup | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "there is no process group: call torch.distributed.init_process_group('gloo') (or 'nccl') first, and start "
                "the script with torchrun"
            )
        self.group, self.rank = group, dist.get_rank(group)
        self.bytes_summed = self.bytes_gathered = 0
        self.counts: list[int] = self.told(num_devices)

    @property
    def num_devices(self) -> int:
        """K, of all processes."""
        return sum(self.counts)

    @property
    def devices(self) -> range:
        """Those of this process."""
        ends = list(accumulate(self.counts, initial=0))
        return range(ends[self.rank], ends[self.rank + 1])

    def told(self, value: Any) -> list[Any]:
        """What every process says, in the order of ranks; for numbers that are said once, not in a round."""
        found: list[Any] = [None] * dist.get_world_size(self.group)
        _together(lambda: dist.all_gather_object(found, value, group=self.group))
        return found

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """Sum over all devices; the same bits in every process."""
        return self._reduced(x.sum(dim, keepdim=True), dist.ReduceOp.SUM)

    def min(self, x: Tensor, dim: int) -> Tensor:
        """Minimum over all devices."""
        return self._reduced(x.amin(dim, keepdim=True), dist.ReduceOp.MIN)

    def max(self, x: Tensor, dim: int) -> Tensor:
        """Maximum over all devices."""
        return self._reduced(x.amax(dim, keepdim=True), dist.ReduceOp.MAX)

    def gather(self, x: Tensor, dim: int) -> Tensor:
        """The entries of all devices."""
        rows = x.movedim(dim, 0)
        sent = rows.new_zeros(max(self.counts), *rows.shape[1:])  # collectives want equal shapes
        sent[: len(rows)] = rows
        found = [torch.empty_like(sent) for _ in self.counts]
        self.bytes_gathered += sent.numel() * sent.element_size()
        _together(lambda: dist.all_gather(found, sent, group=self.group))
        return torch.cat([part[:count] for part, count in zip(found, self.counts, strict=True)]).movedim(0, dim)

    def own(self, x: Tensor, dim: int) -> Tensor:
        """The entries of this process's devices."""
        return x if x.shape[dim] == 1 else x.narrow(dim, self.devices.start, len(self.devices))

    def first_decides(self, number: int) -> int:
        """The number of the first process, in every process: quick, and without a wait for a GPU."""
        said = torch.tensor(number, dtype=torch.int64)
        _together(lambda: dist.broadcast(said, group=self.group, group_src=0))
        return int(said)

    def first_says(self, value: Any) -> Any:
        """What the first process says, in every process; what others give is not looked at."""
        said = [value]
        _together(lambda: dist.broadcast_object_list(said, group=self.group, group_src=0))
        return said[0]

    def collected(self, rows: Tensor) -> Tensor | None:
        """The rows [L, ...] of all processes on the host of the first, [K, ...]; None in the others."""
        if self.rank:
            sent = rows.detach().cpu().contiguous()
            _together(lambda: dist.send(sent, group=self.group, group_dst=0))
            return None
        found = torch.empty(self.num_devices, *rows.shape[1:], dtype=rows.dtype)
        parts = found.split(self.counts)
        parts[0].copy_(rows)
        for rank, part in enumerate(parts[1:], start=1):
            _together(lambda rank=rank, part=part: dist.recv(part, group=self.group, group_src=rank))  # type: ignore[misc]
        return found

    def dealt(self, rows: Tensor | None, *, like: Tensor) -> Tensor:
        """The rows like [L, ...] of this process's devices, on the host, of [K, ...] in the first; others give None."""
        if rows is None:
            own = torch.empty(like.shape, dtype=like.dtype)
            _together(lambda: dist.recv(own, group=self.group, group_src=0))
            return own
        parts = rows.cpu().contiguous().split(self.counts)
        for rank, part in enumerate(parts[1:], start=1):
            _together(lambda rank=rank, part=part: dist.send(part, group=self.group, group_dst=rank))  # type: ignore[misc]
        return parts[0]

    def _reduced(self, x: Tensor, operation: Any) -> Tensor:
        x = x.contiguous()
        self.bytes_summed += x.numel() * x.element_size()
        _together(lambda: dist.all_reduce(x, operation, group=self.group))
        return x

    def __repr__(self) -> str:
        return f"ProcessAir({len(self.devices)} of {self.num_devices} devices)"


def _together(exchange: Callable[[], object]) -> None:
    """Exchange with the other processes.

    Raises:
        ProcessLost: one of them is gone.
    """
    try:
        exchange()
    except RuntimeError as error:  # torch's DistError is one
        raise _gone(error) from error


def _gone(error: Exception) -> ProcessLost:
    [first, *_] = str(error).splitlines() or [type(error).__name__]
    return ProcessLost(
        f"a process of the run has ended or no longer answers: the round is lost, and this process ends too. Start the run "
        f"again from its last checkpoint, with as many processes as you like ({first[:200]})"
    )


@dataclass(frozen=True)
class OwnPart:
    """What an uplink made of the messages of all devices, for the devices of one process; see `Received`."""

    received: Received
    everybody: Tensor
    air: ProcessAir

    @property
    def estimate(self) -> Tensor:
        """Of the mean of all devices."""
        return self.received.estimate

    @property
    def ledger(self) -> Ledger:
        """Of all devices."""
        return self.received.ledger

    @property
    def noise_variance(self) -> Tensor | None:
        """As the receiver knows it."""
        return self.received.noise_variance

    @property
    def state(self) -> UplinkState | None:
        """For the next round."""
        return self.received.state

    def delivered_symbols(self, symbols: Tensor) -> Tensor:
        """The part of this process's symbols [L, S] that the estimate counts."""
        return self.air.own(self.received.delivered_symbols(self.everybody), -2)


def received_over(
    uplink: Uplink, message: Message, *, round: int, streams: Streams, state: UplinkState | None, air: ProcessAir | None
) -> Received:
    """Carry the messages of all devices over an uplink; `message` is of all if air is None, else of this process's."""
    options: dict[str, Any] = {"round": round, "streams": streams, "state": state, "share_as": message.share_as}
    if air is None:
        return uplink.aggregate(message.symbols, message.layout, **options)
    if getattr(uplink, "superposes", False):
        return uplink.aggregate(message.symbols, message.layout, air=air, **options)
    everybody = air.gather(message.symbols, -2)
    return OwnPart(uplink.aggregate(everybody, message.layout, **options), everybody, air)
