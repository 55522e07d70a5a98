"""Several runs computed together: parameters [R, *shape], memory [R, K, d], messages [R, K, S] in one pass.

A round of a small model costs mostly small operations, a few hundred of them whatever the number of runs. R runs of one
model and one scheme, which differ in seed, energy budget and learning rate, share them. Each run keeps its own random
streams and, between rounds, stays a bridge of its own: its model, p.grad and memory are views of what is computed together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from laser_wireless.channels import Ledger
from laser_wireless.channels.ledger import Faults
from laser_wireless.channels.round import StackedStreams, Streams
from laser_wireless.channels.uplinks.stacked import NotStackable, stack_uplinks
from laser_wireless.compression import Compressor, settle_
from laser_wireless.compression.message import split_parameters
from laser_wireless.compression.stacked import can_stack, stack_states, unstack_state
from laser_wireless.training.averaging import stack_models
from laser_wireless.training.batched import batched_gradients, stacked_gradients, tensors_of
from laser_wireless.training.bridge import UplinkBridge


class SideBySide:
    """Bridges whose rounds are computed together; call `part` before one of them is used or saved by itself.

    What a run computes here is what it computes alone. On a CPU that is made sure of, bit for bit: the first two rounds are
    computed both ways, since some kernels (convolutions) round differently where there are several runs; which they do
    depends on shapes alone. On a GPU it holds to rounding.

    Args:
        bridges: at the same round, of models that differ in values alone, with one compressor and uplinks that may differ
            in their energy budget.

    Raises:
        NotStackable: the runs cannot be computed together; the message says why. Nothing has changed.
    """

    def __init__(self, bridges: Sequence[UplinkBridge]) -> None:
        first = bridges[0]
        if reason := next((reason for bridge in bridges if (reason := _apart(first, bridge))), ""):
            raise NotStackable(reason)
        self._uplink = stack_uplinks([bridge.uplink for bridge in bridges])
        self.bridges = list(bridges)
        self._compressor, self._num_unproven = first.compressor, 2 if first.memory.device.type == "cpu" else 0
        self._streams = StackedStreams(tuple(bridge.streams for bridge in bridges))
        self._state = stack_states([bridge.scheme_state for bridge in bridges])
        self._rows = torch.stack([bridge.memory for bridge in bridges])
        for bridge, rows in zip(bridges, self._rows, strict=True):
            bridge.gradient_memory.lie_in(rows)
        self._views = split_parameters(self._rows, first.carried.shapes)
        self._decoded = split_parameters(_aligned_rows(len(bridges), self._rows[0, 0]), first.carried.shapes)
        self.tensors = stack_models([bridge.model for bridge in bridges])
        names = set(first.carried.names)
        self._wanted = {name: self.tensors[name] for name in first.carried.names}
        self._others = {name: value for name, value in self.tensors.items() if name not in names}
        self._faults: Faults | None = None
        self._have_parted = False  # for good

    @property
    def round(self) -> int:
        """Rounds exchanged so far."""
        return self.bridges[0].round

    def backward(self, loss: Callable[..., Tensor], batches: Sequence[Sequence[Tensor]]) -> Tensor:
        """Compute and accumulate the gradients of all devices of all runs.

        Args:
            loss: loss(model, *batch) -> scalar, for one device's batch.
            batches: for each run its tensors [K, ...].

        Returns:
            losses: [R, K], detached.

        Raises:
            NotStackable: the model has an operation without a batching rule, draws random numbers, or is rounded differently
                where there are several runs. Nothing has changed; after `part` each bridge goes on by itself.
        """
        stacked = [torch.stack(parts) for parts in zip(*batches, strict=True)]
        try:
            gradients, losses = stacked_gradients(self.bridges[0].model, self._wanted, self._others, loss, stacked)
        except RuntimeError as error:
            raise NotStackable(f"the gradients of several runs cannot be computed together: {error}") from error
        if self._num_unproven:
            self._prove_gradients(loss, batches, gradients, losses)
        self._mark(f"round {self.round} was interrupted half-way")
        for views, gradient in zip(self._views, gradients, strict=True):
            views.add_(gradient)
        self._mark(None)
        return losses

    @torch.no_grad()
    def exchange(self) -> list[Ledger]:
        """Send all messages of all runs, put what each receiver decoded into its model's p.grad; see `UplinkBridge`.

        Raises:
            NotStackable: the scheme or the channel is rounded differently where there are several runs. Nothing has changed,
                the gradients are in the memories, and each bridge goes on by itself with its own exchange.
        """
        rows = self._rows.clone() if self._num_unproven else self._rows
        self._mark(f"the exchange of round {self.round} was interrupted half-way")
        runs = _Runs(rows, self._state, self._uplink, self._streams)
        reception, decoded, state = _exchanged(runs, self._compressor, self.round, self._decoded)
        if self._num_unproven:
            try:
                self._prove_exchange(rows, decoded)
            except NotStackable:
                self._mark(None)
                self.part()
                self._have_parted = True
                raise
            self._rows.copy_(rows)
            self._num_unproven -= 1
        self._state = state
        of_runs = zip(*(gradient.unbind(0) for gradient in decoded), strict=True)
        for bridge, gradients in zip(self.bridges, of_runs, strict=True):
            for p, gradient in zip(bridge.carried.parameters, gradients, strict=True):
                p.grad = gradient.to(p.dtype)
            bridge.gradient_memory.begin_round()
            bridge.round += 1
        faults = reception.ledger.faults_of_runs
        self._faults = faults if self._faults is None else self._faults.or_else(faults)
        ledgers: list[Ledger] = reception.ledger.of_runs()
        return ledgers

    def part(self) -> None:
        """Give each bridge what its run has come to, so that it can be checked, saved or go on by itself."""
        if self._have_parted:
            return
        for bridge, state in zip(self.bridges, unstack_state(self._state), strict=True):
            bridge.scheme_state = state
        if self._faults is not None:
            for bridge, faults in zip(self.bridges, self._faults.of_runs(), strict=True):
                bridge.faults = faults if bridge.faults is None else bridge.faults.or_else(faults)
            self._faults = None

    def _mark(self, broken: str | None) -> None:
        for bridge in self.bridges:
            bridge.gradient_memory.broken = broken
            bridge.gradient_memory.enter_all()

    def _prove_gradients(
        self, loss: Callable[..., Tensor], batches: Sequence[Sequence[Tensor]], gradients: list[Tensor], losses: Tensor
    ) -> None:
        names = list(self._wanted)
        for run, (bridge, batch) in enumerate(zip(self.bridges, batches, strict=True)):
            alone, its_losses = batched_gradients(bridge.model, names, loss, batch)
            if not _are_equal([its_losses, *alone], [losses[run], *(gradient[run] for gradient in gradients)]):
                raise NotStackable("this machine rounds the gradients of several runs differently from those of one")

    def _prove_exchange(self, rows: Tensor, decoded: list[Tensor]) -> None:
        states = unstack_state(self._state)
        for run, bridge in enumerate(self.bridges):
            alone = _Runs(self._rows[run].clone(), states[run], bridge.uplink, bridge.streams)
            _, its_decoded, _ = _exchanged(alone, self._compressor, self.round, None)
            if not _are_equal([alone.rows, *its_decoded], [rows[run], *(gradient[run] for gradient in decoded)]):
                raise NotStackable("this machine rounds the messages of several runs differently from those of one")


class _Runs(NamedTuple):
    """What a round of one run or several starts from: memory [..., K, d] (settled in place), state, uplink and streams."""

    rows: Tensor
    state: Any
    uplink: Any
    streams: Streams | StackedStreams


def _exchanged(runs: _Runs, compressor: Compressor, round: int, out: list[Tensor] | None) -> tuple[Any, list[Tensor], Any]:
    """Encode, send, settle and decode: what was received, a gradient for each parameter, the next state."""
    message = compressor.encode(runs.rows, runs.state, round=round)
    reception = runs.uplink.aggregate(
        message.symbols, message.layout, round=round, streams=runs.streams, share_as=message.share_as
    )
    settle_(runs.rows, message.symbols, reception.delivered_symbols, compressor, runs.state, round=round)
    decoded, state = compressor.decode(
        reception.estimate, runs.state, round=round, noise_variance=reception.noise_variance, out=out
    )
    return reception, decoded, state


def _aligned_rows(count: int, row: Tensor) -> Tensor:
    """Memory for rows like this one, [count, d], each as if it were allocated alone: some kernels round by alignment."""
    return row.new_empty(count, -(-len(row) // 16) * 16)[:, : len(row)]


def _are_equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Whether tensors are equal bit for bit, NaN for NaN."""
    pairs = zip(some, others, strict=True)
    return all(torch.equal(a, b) or torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


def _apart(first: UplinkBridge, other: UplinkBridge) -> str:
    """Why two bridges cannot be computed together; empty if they can."""
    for reason, holds in {
        "errors on the downlink give every device a model of its own": other.hears_errors,
        "the model couples or randomises samples, or is large": not other.batches_devices,
        f"{type(other.compressor).__name__} encodes one run at a time": not can_stack(other.scheme_state),
        "the compressors differ": other.compressor != first.compressor,
        "the models differ": _structure(other.model) != _structure(first.model),
        "the numbers of devices differ": other.num_devices != first.num_devices,
        "the rounds differ": other.round != first.round,
        "parameters are frozen": not all(other.carried.trainable),
        "an uplink remembers its last round": other.uplink_state is not None,
    }.items():
        if holds:
            return reason
    return ""


def _structure(model: nn.Module) -> Any:
    """What two models must have in common: their modules, and the form of every tensor."""
    forms = [(name, t.shape, t.dtype, t.device, t.requires_grad) for name, t in tensors_of(model).items()]
    return repr(model), forms
