"""DistributedDataParallel over an uplink: a communication hook in place of the all-reduce of gradients.

    model = DistributedDataParallel(model)
    uplink = UplinkHookState(model, compressor=LowRank(rank=4), uplink=AnalogUplink(energy_budget=1000.0))
    model.register_comm_hook(uplink, uplink_hook)
    ...                                          # the training loop as it was; uplink.ledger is the last round's account

A process is a device, or several; see `UplinkHookState.gradients_of`. DDP hands over gradients bucket by bucket. A scheme
needs all of them, since it splits a device's energy over the whole model: the hook keeps them, exchanges at the last bucket,
and then answers for all. So it does not matter how DDP cuts the buckets, or that it cuts them anew after the first pass.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from laser_wireless.channels import Ledger, Uplink
from laser_wireless.channels.downlinks.analog import Downlink
from laser_wireless.compression import Compressor
from laser_wireless.training.bridge import UplinkBridge
from laser_wireless.training.processes import ProcessAir
from laser_wireless.training.saved_state import sealed


class _Part(NamedTuple):
    """A bucket that waits for its answer: places of its parameters in the model's order, its numbers, and the promise."""

    places: list[int]
    buffer: Tensor
    gradients: list[Tensor]
    promise: Future[Tensor]


class UplinkHookState:
    """What the hook of one process keeps between rounds; give it to `register_comm_hook` together with `uplink_hook`.

    As with any DDP model, call optimizer.zero_grad() before each round (without it p.grad is sent once more), and accumulate
    micro-batches under model.no_sync(): what counts is p.grad after the last backward pass. Gradients clipped or changed by
    hooks of parameters are sent as they are then; `clip_grad_norm_` after the backward pass clips what was decoded.
    `model.parameters()` must all be carried: freeze or unfreeze before DDP wraps the model.

    Args:
        model: the DDP model; its trainable parameters are carried.
        compressor: scheme; see `laser_wireless.compression`.
        uplink: channel; see `laser_wireless.channels`.
        num_local_devices: L >= 1, devices that this process stands for; those of all processes are counted in the order of
            ranks.
        seed: fixes gains, noise and the compressor's draws; the same in every process.
        downlink: how the model reaches the devices; with errors on it, each forward and backward pass belongs inside
            `gradients_of`.
        weights: of all devices of all processes in the mean; see `UplinkBridge`.

    Attributes:
        ledger: account of the last round, of all devices, the same in every process; None before the first.
        bridge: the exchange itself: memory, states, `round`, `check`.

    Raises:
        TypeError: the model is not a DistributedDataParallel.
        ValueError: processes with different seeds, or several devices in a process with DDP's static_graph.
    """

    def __init__(
        self,
        model: DistributedDataParallel,
        *,
        compressor: Compressor,
        uplink: Uplink,
        num_local_devices: int = 1,
        seed: int = 0,
        downlink: Downlink | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        if not isinstance(model, DistributedDataParallel):
            raise TypeError(
                f"model must be a DistributedDataParallel, got {type(model).__name__}; wrap it first, and register the hook "
                "on what comes out"
            )
        if not isinstance(num_local_devices, int) or num_local_devices < 1:
            raise ValueError(f"num_local_devices must be an integer >= 1, got {num_local_devices!r}")
        if num_local_devices > 1 and model.static_graph:
            raise ValueError(
                "num_local_devices must be 1 with DDP's static_graph=True, which needs to see the first backward pass of a "
                f"process and not others before it, got {num_local_devices}; leave static_graph out"
            )
        self.air = ProcessAir(num_local_devices, group=model.process_group)
        if len(seeds := set(self.air.told(seed))) > 1:
            raise ValueError(f"seed must be the same in every process, got {sorted(seeds)}")
        self.bridge = UplinkBridge(
            model.module,
            num_devices=self.air.num_devices,
            compressor=compressor,
            uplink=uplink,
            seed=seed,
            downlink=downlink,
            weights=weights,
            air=self.air,
        )
        self.ledger: Ledger | None = None
        self._model = model
        self._place = {id(p): place for place, p in enumerate(self.bridge.carried.parameters)}
        self._waiting: list[_Part] = []

    @property
    def devices(self) -> range:
        """Those of this process."""
        return self.bridge.devices

    @contextmanager
    def gradients_of(self, device_index: int) -> Iterator[None]:
        """Within the context, forward and backward pass are of device `device_index`, one of `devices`, in their order.

        Only needed with several devices in a process, or with errors on the downlink. The round is exchanged in the backward
        pass of the last.
        """
        with self.bridge.model_of(device_index):
            if device_index == self.devices[-1]:
                yield
            else:
                with self._model.no_sync(), self._aside(device_index):
                    yield

    @contextmanager
    def _aside(self, device_index: int) -> Iterator[None]:
        """Within the context p.grad is empty; what it has become is the device's, and it is again what it was.

        `GradientMemory.accumulate` lets backward add into the memory itself, which DDP would replace by a bucket of its own.
        """
        memory, parameters = self.bridge.gradient_memory, self.bridge.carried.parameters
        memory.enter(device_index, self.bridge.round)
        kept = [p.grad for p in parameters]
        for p in parameters:
            p.grad = None
        memory.broken = f"the gradient of device {device_index} in round {self.bridge.round} was interrupted half-way"
        yield
        for p, view, before in zip(parameters, memory.views_of(device_index), kept, strict=True):
            if p.grad is not None:
                view.add_(p.grad, alpha=self.bridge.weights[device_index])
                p.grad = p.grad.zero_() if before is None else before  # DDP wants one for what any pass has used
        memory.broken = None

    def check(self) -> None:
        """Raise FloatingPointError if any round since the last check was invalid; see `UplinkBridge.check`."""
        self.bridge.check()

    @torch.no_grad()
    def take(self, bucket: dist.GradBucket) -> Future[Tensor]:  # type: ignore[name-defined]
        """Keep a bucket's gradients, and exchange when they are complete; what `uplink_hook` does."""
        if bucket.index() == 0:
            if self._waiting or self.bridge.gradient_memory.broken:
                raise RuntimeError(
                    f"the last backward pass of round {self.bridge.round} was interrupted half-way: the memory is not to be "
                    "trusted, load a checkpoint saved before"
                )
            self.bridge.gradient_memory.enter(self.devices[-1], self.bridge.round)
        places = [self._place_of(p) for p in bucket.parameters()]
        buffer = bucket.buffer()
        promise: Future[Tensor] = Future(devices=[buffer.device] if buffer.is_cuda else None)
        self._waiting.append(_Part(places, buffer, bucket.gradients(), promise))
        if bucket.is_last():
            self._answer()
        return promise

    def _place_of(self, p: Tensor) -> int:
        if id(p) not in self._place:
            raise RuntimeError("DDP reduces a parameter that did not require a gradient when UplinkHookState was made")
        return self._place[id(p)]

    def _answer(self) -> None:
        """Exchange, and give each bucket its part of what was decoded, in memory of DDP's own."""
        memory = self.bridge.gradient_memory
        memory.broken = f"round {self.bridge.round} was interrupted half-way"
        views, weight = memory.views_of(self.devices[-1]), self.bridge.weights[self.devices[-1]]
        for part in self._waiting:
            for place, gradient in zip(part.places, part.gradients, strict=True):
                views[place].add_(gradient, alpha=weight)
        memory.broken = None
        decoded, self.ledger = self.bridge.exchange_gradients()
        waiting, self._waiting = self._waiting, []
        for part in waiting:
            for place, gradient in zip(part.places, part.gradients, strict=True):
                gradient.copy_(decoded[place])
            part.promise.set_result(part.buffer)

    def state_dict(self) -> dict[str, Any]:
        """All that changes, for torch.distributed.checkpoint: each device's memory under its own name, the rest once.

        A checkpoint can be loaded by another number of processes with as many devices in all.

        Raises:
            FloatingPointError, RuntimeError: as `UplinkBridge.state_dict`.
        """
        state = self.bridge.state_dict()
        memory = state.pop("memory")
        del state["seal"]
        rest = io.BytesIO()
        torch.save(sealed(state), rest)
        rows = {_row_name(k): row for k, row in zip(self.devices, memory, strict=True)}
        return {"rest": rest.getvalue(), "num_devices": self.bridge.num_devices, **rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` left.

        Raises:
            ValueError: it is of another run, or of another number of devices; nothing has changed.
        """
        if state.get("num_devices") != self.bridge.num_devices:
            raise ValueError(
                f"state is of {state.get('num_devices')} devices, this run has {self.bridge.num_devices} in all processes "
                "together; give num_local_devices so that they add up"
            )
        rest = torch.load(io.BytesIO(state["rest"]), weights_only=True)
        del rest["seal"]
        rows = torch.stack([state[_row_name(k)] for k in self.devices])
        self.bridge.load_state_dict(sealed({**rest, "memory": rows}))
        self._waiting.clear()


def uplink_hook(state: UplinkHookState, bucket: dist.GradBucket) -> Future[Tensor]:  # type: ignore[name-defined]
    """Communication hook: `model.register_comm_hook(state, uplink_hook)`."""
    return state.take(bucket)


def _row_name(device_index: int) -> str:
    return f"memory of device {device_index}"
