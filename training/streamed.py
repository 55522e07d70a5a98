"""Very many devices in one process: some at a time are computed, so that memory does not grow with their number.

A round is what it is for `UplinkBridge`, up to the order of additions. It goes through the devices up to three times:

measure   gradients -> messages -> norms and peaks, from which the uplink plans the round
send      the same messages again, superposed
settle    where devices keep a memory: what of each message was delivered leaves it

A scheme without a memory of each device needs no room for one: gradients are computed twice. With one (error feedback,
momentum at the devices) they are computed once and added to rows that lie elsewhere; see `training.row_store`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from laser_wireless.channels import AnalogUplink, Ledger, Reception, Streams, UplinkState
from laser_wireless.channels.laws_of_a_run import check_laws
from laser_wireless.channels.ledger import Faults
from laser_wireless.channels.parameters import check_value
from laser_wireless.compression import Compressor, settle_
from laser_wireless.compression.message import in_process, split_parameters
from laser_wireless.training.carried import CarriedParameters
from laser_wireless.training.checkpoint import to_device
from laser_wireless.training.compiled import compiler
from laser_wireless.training.device_training import DeviceTraining, asked_by, work_of
from laser_wireless.training.device_weights import mean_weights
from laser_wireless.training.gradient_memory import GradientMemory
from laser_wireless.training.local_steps import GRADIENT, LocalSteps
from laser_wireless.training.row_store import Rows, RowStore
from laser_wireless.training.saved_state import check_saved, parts_of_run, state_of

Batches = Callable[[range, int], Sequence[Tensor]]
"""batches(devices, step) -> tensors [len(devices), ...] of a local step; asked for twice, it gives the same."""


class StreamedBridge:
    """Carries the gradients of K devices over an uplink into p.grad, some devices at a time.

    Args:
        model: as for `UplinkBridge`; nothing in it may draw random numbers or remember, such as dropout and statistics of
            batch normalisation, for gradients are computed twice.
        num_devices: K >= 1.
        compressor: scheme; see `laser_wireless.compression`.
        uplink: analog, with gains that are constant over segments: no hardware, waveform in time or channel of one's own.
        at_once: devices that are computed together.
        rows: room for what each device has yet to send, for schemes with error feedback or momentum at the devices.
        seed: fixes gains, noise and the compressor's draws.
        weights, compiled: see `UplinkBridge`.

    Attributes:
        round: rounds exchanged so far.
        scheme_state, uplink_state: of compressor and uplink after the last round.

    Raises:
        ValueError: a scheme that keeps a memory of each device, without room for it; or an uplink that hears every sample.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        num_devices: int,
        compressor: Compressor,
        uplink: AnalogUplink,
        at_once: int = 64,
        rows: RowStore | None = None,
        seed: int = 0,
        weights: Sequence[float] | None = None,
        compiled: bool = False,
    ) -> None:
        check_value("model", model, nn.Module)
        check_value("compressor", compressor, Compressor)
        check_value("uplink", uplink, AnalogUplink)
        check_value("rows", rows, RowStore | None)
        for name, value in (("num_devices", num_devices), ("at_once", at_once)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
        _check_rows(compressor, rows)
        self.model, self.num_devices, self.compressor, self.uplink = model, num_devices, compressor, uplink
        self.streams, self.weights = Streams(seed), mean_weights(weights, num_devices)
        self.round = 0
        self.carried = CarriedParameters(model)
        dtype, device, shapes = self.carried.dtype, self.carried.device, self.carried.shapes
        check_laws(num_devices, uplink=uplink, downlink=None, device=device)
        self._rows: Rows | None = None if rows is None else rows(num_devices, self.carried.size)
        self._room = torch.zeros(min(at_once, num_devices), self.carried.size, dtype=dtype, device=device)
        self._decoded = split_parameters(torch.empty_like(self._room[0]), shapes)
        self.scheme_state = compressor.init(shapes, num_devices, device=device, dtype=dtype, seed=seed)
        self.uplink_state: UplinkState | None = None
        self.faults: Faults | None = None
        self._may_batch, self._compiled = True, compiler(compiled)
        self._broken = ""  # what was interrupted half-way in the rows

    @property
    def parts(self) -> list[range]:
        """The devices that are computed together."""
        step = len(self._room)
        return [range(start, min(start + step, self.num_devices)) for start in range(0, self.num_devices, step)]

    def asked(self) -> Tensor | None:
        """Which devices the base station asks in the coming round; see `UplinkBridge.asked`."""
        return asked_by(self.uplink, self.num_devices, round=self.round, streams=self.streams, device=self.carried.device)

    def exchange(
        self,
        loss: Callable[..., Tensor],
        batches: Batches,
        local: LocalSteps | None = None,
        *,
        learning_rate: float = 1.0,
    ) -> tuple[Tensor, Ledger]:
        """Compute what all devices send, send it, and put what the receiver decoded into p.grad.

        Args:
            loss: loss(model, *batch) -> scalar, for one device's batch.
            batches: batches(devices, step) -> tensors [len(devices), ...] of a local step.
            local: steps of the devices on their own; None for gradients.
            learning_rate: of the local steps that have no rate of their own.

        Returns:
            losses: of the devices that are asked, in their first step, [m]. ledger: of the round.

        Raises:
            RuntimeError: a round before was interrupted half-way in the rows; or messages are not the same twice.
        """
        if self._broken:
            raise RuntimeError(f"{self._broken}; the rows are not to be trusted, load a state_dict saved before")
        self.carried.check()
        local = local or GRADIENT
        rate = learning_rate if local.learning_rate is None else local.learning_rate
        turn = _Turn(loss, batches, local, rate, self.asked())
        with torch.no_grad():
            form = self.compressor.encode(self._room[:1].zero_(), self._known(range(1)), round=self.round)
            reception = self.uplink.aggregate_in_parts(
                lambda: self._messages(turn),
                form.layout,
                num_devices=self.num_devices,
                round=self.round,
                streams=self.streams,
                state=self.uplink_state,
                share_as=form.share_as,
            )
            if self._rows is not None:
                self._settle(self._rows, reception)
            self._decode(reception)
        self._broken = ""
        self.round += 1
        return turn.losses, reception.ledger

    def _messages(self, turn: _Turn) -> Iterator[Tensor]:
        """The messages of all devices [k, S], some devices at a time; computes gradients that are not there yet."""
        is_first, place = turn.is_first, 0
        turn.is_first = False
        for devices in self.parts:
            memory = GradientMemory(self.carried, devices, self._room[: len(devices)])
            if self._rows is not None:
                self._rows.read(devices, memory.rows)
            elif is_first or len(self.parts) > 1:
                memory.rows.zero_()
            if is_first or (self._rows is None and len(self.parts) > 1):
                losses = self._train(turn, devices, memory)
                if is_first:
                    if not place:
                        count = self.num_devices if turn.asked is None else len(turn.asked)
                        turn.losses = losses.new_empty(count)
                    turn.losses[place : place + len(losses)] = losses
                    place += len(losses)
                if self._rows is not None:
                    self._broken = f"round {self.round} was interrupted half-way"
                    self._rows.write(devices, memory.rows)
                    self._rows.read(devices, memory.rows)  # perhaps rounded
            with memory.frozen_set_aside(keep=False):
                yield self.compressor.encode(memory.rows, self._known(devices), round=self.round).symbols

    def _train(self, turn: _Turn, devices: range, memory: GradientMemory) -> Tensor:
        """Add to the memory of some devices what they compute; their losses."""
        steps = [turn.batches(devices, step) for step in range(turn.local.longest)]
        training = DeviceTraining(self.model, self.carried, memory, _AsItIs(), self._compiled)
        training.may_batch = self._may_batch
        more: dict[str, Any] = {"rate": turn.rate, "devices": devices, "weights": self.weights, "asked": turn.asked}
        with torch.enable_grad():
            losses = training(work_of(turn.loss, steps, turn.local, **more), self.round)
        self._may_batch = training.may_batch
        return losses

    def _settle(self, rows: Rows, reception: Reception) -> None:
        """Leave in the rows what each device still has to send."""
        for devices in self.parts:
            with self._kept(rows, devices) as memory:
                known = self._known(devices)
                message = self.compressor.encode(memory.rows, known, round=self.round)
                delivered = reception.of_devices(devices).delivered_symbols
                settle_(memory.rows, message.symbols, delivered, self.compressor, known, round=self.round)

    def _decode(self, reception: Reception) -> None:
        decoded, self.scheme_state = self.compressor.decode(
            reception.estimate,
            self.scheme_state,
            round=self.round,
            noise_variance=reception.noise_variance,
            out=self._decoded,
        )
        for p, gradient in zip(self.carried.parameters, decoded, strict=True):
            p.grad = gradient.to(p.dtype) if p.requires_grad else None
        self.uplink_state = reception.state
        faults = reception.ledger.faults
        self.faults = faults if self.faults is None else self.faults.or_else(faults)

    def _known(self, devices: range) -> Any:
        return in_process(self.scheme_state, devices.start, self.num_devices)

    @contextmanager
    def _kept(self, rows: Rows, devices: range) -> Iterator[GradientMemory]:
        """Within the context the rows of some devices, those of frozen parameters set to zero; written back afterwards."""
        memory = GradientMemory(self.carried, devices, self._room[: len(devices)])
        rows.read(devices, memory.rows)
        with memory.frozen_set_aside(keep=True):
            yield memory
        rows.write(devices, memory.rows)

    def check(self) -> None:
        """Raise FloatingPointError if any round since the last check was invalid; see `UplinkBridge.check`."""
        if self.faults is not None:
            self.faults.raise_if_any()
        self.faults = None

    def state_dict(self) -> dict[str, Any]:
        """All that changes; see `UplinkBridge.state_dict`. The rows are those it goes on with: save them at once.

        Raises:
            FloatingPointError: a round was invalid.
            RuntimeError: a round was interrupted half-way in the rows.
        """
        self.check()
        if self._broken:
            raise RuntimeError(f"{self._broken}; load a state_dict saved before")
        return state_of(
            round=self.round,
            seed=self.streams.seed,
            parts=self._parts_of_run,
            memory=self._memory,
            compressor_state=self.scheme_state,
            uplink_state=self.uplink_state,
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a run where `state_dict` left it, with as many devices at once or another number.

        Raises:
            ValueError: it is of another run, or not as it was written; nothing has changed.
        """
        check_saved(
            state,
            seed=self.streams.seed,
            memory=self._memory,
            compressor_state=self.scheme_state,
            downlink=False,
            parts=self._parts_of_run,
        )
        device = self.carried.device
        compressor, uplink = to_device(state["compressor"], device), to_device(state["uplink"], device)
        if self._rows is not None:
            for devices in self.parts:
                self._rows.write(devices, state["memory"][devices.start : devices.stop])
        self.round = state["round"]
        self.scheme_state, self.uplink_state = type(self.scheme_state)(**compressor), uplink
        self.faults, self._broken = None, ""

    @property
    def _memory(self) -> Tensor:
        """Rows of all devices, [K, d]; [K, 0] where none are kept."""
        return torch.empty(self.num_devices, 0) if self._rows is None else self._rows.whole()

    @property
    def _parts_of_run(self) -> dict[str, str]:
        return parts_of_run(self.compressor, self.uplink, None)


def _check_rows(compressor: Compressor, rows: RowStore | None) -> None:
    keeps = bool(compressor.error_feedback or compressor.momentum)
    if keeps != (rows is not None):
        raise ValueError(
            f"rows must be given, such as RowsInFile(), for a scheme that keeps a memory of devices, got {compressor}"
            if keeps
            else f"rows must be left out for a scheme that keeps no memory of each device, got {compressor}"
        )


@dataclass
class _Turn:
    """What the devices do in a round; losses [m] of those asked, once they are known; whether it is the first pass."""

    loss: Callable[..., Tensor]
    batches: Batches
    local: LocalSteps
    rate: float
    asked: Tensor | None
    losses: Tensor = field(default_factory=lambda: torch.empty(0))
    is_first: bool = True


class _AsItIs:
    """All devices hold the model itself."""

    def stacked_models(self) -> dict[str, Tensor] | None:
        return None

    def model_of(self, device_index: int) -> AbstractContextManager[None]:
        return nullcontext()
