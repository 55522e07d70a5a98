"""Several runs computed together: parameters [R, *shape], memory [R, K, d], messages [R, K, S] in one pass.

A round of a small model costs mostly small operations, a few hundred of them whatever the number of runs. R runs of one
model and one scheme, which differ in seed, energy budget and learning rate, share them. Each run keeps its own random
streams and, between rounds, stays a bridge of its own: its model, p.grad and memory are views of what is computed together.

A round has two halves, gradients and exchange. Where one of them cannot be computed together, or would be rounded
otherwise, it is computed run by run, and the other half stays together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
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
from laser_wireless.training.averaging import aligned_rows, stack_models
from laser_wireless.training.batched import batched_gradients, stacked_gradients, tensors_of
from laser_wireless.training.bridge import UplinkBridge


class SideBySide:
    """Bridges whose rounds are computed together; call `part` before one of them is used or saved by itself.

    What a run computes here is what it computes alone. On a CPU that is made sure of, bit for bit: the first two rounds are
    computed both ways, since some kernels (convolutions, complex products of lengths that fill no vector register) round
    differently where there are several runs; which they do depends on shapes alone. On a GPU it holds to rounding.

    Args:
        bridges: at the same round, of models that differ in values alone, with one compressor. The exchange is computed
            together for schemes that take several runs (`compression.stacked`) over uplinks that do and that differ in
            their energy budget alone (`channels.uplinks.stacked`).

    Raises:
        NotStackable: the runs cannot be computed together; the message says why. Nothing has changed.
    """

    def __init__(self, bridges: Sequence[UplinkBridge]) -> None:
        first = bridges[0]
        if reason := next((reason for bridge in bridges if (reason := _apart(first, bridge))), ""):
            raise NotStackable(reason)
        self.bridges = list(bridges)
        self._num_unproven = 2 if first.memory.device.type == "cpu" else 0
        self._gradients_together = True
        self._exchange: _Together | None = None  # None: run by run
        with suppress(NotStackable):
            self._exchange = _Together(self.bridges)
        self._lay(torch.stack([bridge.memory for bridge in bridges]))
        self.tensors = stack_models([bridge.model for bridge in bridges])
        names = set(first.carried.names)
        self._wanted = {name: self.tensors[name] for name in first.carried.names}
        self._others = {name: value for name, value in self.tensors.items() if name not in names}
        weights = [bridge.weights for bridge in bridges]
        self._weights = None  # [R, K], unless all devices count alike
        if {weight for its in weights for weight in its} != {1.0}:
            self._weights = torch.tensor(weights, dtype=first.memory.dtype, device=first.memory.device)

    def _lay(self, rows: Tensor) -> None:
        """Take [R, K, d] for the memory of all runs; where each exchanges by itself, they lie as memory of its own would."""
        if self._exchange is None:
            aligned = aligned_rows(len(rows), rows[0].flatten()).view(rows.shape)
            rows = aligned.copy_(rows)
        self._views = split_parameters(rows, self.bridges[0].carried.shapes)
        for bridge, its_rows in zip(self.bridges, rows, strict=True):
            bridge.gradient_memory.lie_in(its_rows)
        self._rows = rows

    @property
    def round(self) -> int:
        """Rounds exchanged so far."""
        return self.bridges[0].round

    @property
    def halves_together(self) -> list[str]:
        """What of a round is computed together, "gradients", "exchange" or both; final after two rounds."""
        halves = {"gradients": self._gradients_together, "exchange": self._exchange is not None}
        return [name for name, together in halves.items() if together]

    def backward(self, loss: Callable[..., Tensor], batches: Sequence[Sequence[Tensor]]) -> Tensor:
        """Compute and accumulate the gradients of all devices of all runs.

        Args:
            loss: loss(model, *batch) -> scalar, for one device's batch.
            batches: for each run its tensors [K, ...].

        Returns:
            losses: [R, K], detached.

        Raises:
            NotStackable: the model has an operation without a batching rule, draws random numbers, or nothing of a round
                gives together what it gives alone. Nothing has changed; after `part` each bridge goes on by itself.
        """
        gradients, losses = self._gradients(loss, batches)
        self._mark(f"round {self.round} was interrupted half-way")
        for views, gradient in zip(self._views, gradients, strict=True):
            if self._weights is not None:
                gradient.mul_(self._weights.view(*self._weights.shape, *[1] * (gradient.ndim - 2)))
            views.add_(gradient)
        self._mark(None)
        return losses

    def _gradients(self, loss: Callable[..., Tensor], batches: Sequence[Sequence[Tensor]]) -> tuple[list[Tensor], Tensor]:
        """Gradients [R, K, *shape] of each parameter and losses [R, K], together if these are those of the runs alone."""
        if self._gradients_together:
            stacked = [torch.stack(parts) for parts in zip(*batches, strict=True)]
            try:
                gradients, losses = stacked_gradients(self.bridges[0].model, self._wanted, self._others, loss, stacked)
            except RuntimeError as error:
                raise NotStackable(f"the gradients of several runs cannot be computed together: {error}") from error
            if not self._num_unproven:
                return gradients, losses
        names = list(self._wanted)
        of_runs = [batched_gradients(one.model, names, loss, its) for one, its in zip(self.bridges, batches, strict=True)]
        alone = [torch.stack(parts) for parts in zip(*(its for its, _ in of_runs), strict=True)]
        its_losses = torch.stack([losses for _, losses in of_runs])
        if self._gradients_together and not _are_equal([its_losses, *alone], [losses, *gradients]):
            if self._exchange is None:
                raise NotStackable("this machine rounds the gradients of several runs differently from those of one")
            self._gradients_together = False
        return alone, its_losses

    @torch.no_grad()
    def exchange(self) -> list[Ledger]:
        """Send all messages of all runs, put what each receiver decoded into its model's p.grad; see `UplinkBridge`.

        Raises:
            NotStackable: nothing of a round gives together what it gives alone. Nothing has changed, the gradients are in
                the memories, and each bridge goes on by itself with its own exchange.
        """
        if self._exchange is not None and self._num_unproven and not self._exchange.is_that_of_runs_alone(self._rows):
            self.part()
            self._exchange = None
            self._lay(self._rows)
            if not self._gradients_together:
                raise NotStackable("this machine rounds the messages of several runs differently from those of one")
        self._num_unproven = max(0, self._num_unproven - 1)
        if self._exchange is None:
            return [bridge.exchange() for bridge in self.bridges]
        self._mark(f"the exchange of round {self.round} was interrupted half-way")
        decoded, ledgers = self._exchange(self._rows)
        of_runs = zip(*(gradient.unbind(0) for gradient in decoded), strict=True)
        for bridge, gradients in zip(self.bridges, of_runs, strict=True):
            for p, gradient in zip(bridge.carried.parameters, gradients, strict=True):
                p.grad = gradient.to(p.dtype)
            bridge.gradient_memory.begin_round()
            bridge.round += 1
        return ledgers

    def part(self) -> None:
        """Give each bridge what its run has come to, so that it can be checked, saved or go on by itself."""
        if self._exchange is not None:
            self._exchange.part()

    def _mark(self, broken: str | None) -> None:
        for bridge in self.bridges:
            bridge.gradient_memory.broken = broken
            bridge.gradient_memory.enter_all()


class _Together:
    """The exchange of several runs in one pass, and what it remembers from round to round.

    Args:
        bridges: whose compressor and uplinks it takes.

    Raises:
        NotStackable: they take one run at a time.
    """

    def __init__(self, bridges: Sequence[UplinkBridge]) -> None:
        first = bridges[0]
        if not can_stack(first.scheme_state):
            raise NotStackable(f"{type(first.compressor).__name__} encodes one run at a time")
        if any(bridge.uplink_state is not None for bridge in bridges):
            raise NotStackable("an uplink remembers its last round")
        self._bridges, self._compressor = bridges, first.compressor
        self._uplink = stack_uplinks([bridge.uplink for bridge in bridges], first.num_devices)
        self._streams = StackedStreams(tuple(bridge.streams for bridge in bridges))
        self._state = stack_states([bridge.scheme_state for bridge in bridges])
        self._decoded = split_parameters(aligned_rows(len(bridges), first.memory[0]), first.carried.shapes)
        self._faults: Faults | None = None

    def __call__(self, rows: Tensor) -> tuple[list[Tensor], list[Ledger]]:
        """Exchange what is in the memory [R, K, d], settle it in place: decoded gradients [R, *shape], a ledger of each."""
        reception, decoded, self._state = self._exchanged(rows)
        faults = reception.ledger.faults_of_runs
        self._faults = faults if self._faults is None else self._faults.or_else(faults)
        return decoded, reception.ledger.of_runs()

    def is_that_of_runs_alone(self, rows: Tensor) -> bool:
        """Whether memory, gradients, state and ledger are, bit for bit, those of each run by itself; changes nothing."""
        settled = rows.clone()
        reception, decoded, after = self._exchanged(settled)
        before, ledgers = unstack_state(self._state), reception.ledger.of_runs()
        for run, (bridge, its_after) in enumerate(zip(self._bridges, unstack_state(after), strict=True)):
            alone = _Runs(rows[run].clone(), _copied(before[run]), bridge.uplink, bridge.streams)
            its_reception, *of_alone = _exchanged(alone, self._compressor, bridge.round, None)
            found = [settled[run], *(gradient[run] for gradient in decoded), *_tensors_in(its_after)]
            wanted = [alone.rows, *_tensors_in(of_alone)]
            accounts = [_tensors_in(list(vars(ledger).values())) for ledger in (ledgers[run], its_reception.ledger)]
            if not _are_equal([*found, *accounts[0]], [*wanted, *accounts[1]]):
                return False
        return True

    def part(self) -> None:
        """Give each bridge its state and its faults."""
        for bridge, state in zip(self._bridges, unstack_state(self._state), strict=True):
            bridge.scheme_state = state
        if self._faults is not None:
            for bridge, faults in zip(self._bridges, self._faults.of_runs(), strict=True):
                bridge.faults = faults if bridge.faults is None else bridge.faults.or_else(faults)
            self._faults = None

    def _exchanged(self, rows: Tensor) -> tuple[Any, list[Tensor], Any]:
        runs = _Runs(rows, self._state, self._uplink, self._streams)
        return _exchanged(runs, self._compressor, self._bridges[0].round, self._decoded)


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


def _copied(value: Any) -> Any:
    """A state of a run, its tensors in memory of their own."""
    if isinstance(value, Tensor):
        return value.clone()
    if hasattr(value, "_asdict"):
        return type(value)(*map(_copied, value))
    return [_copied(entry) for entry in value] if isinstance(value, list) else value


def _tensors_in(value: Any) -> list[Tensor]:
    """Tensors in nested lists and tuples."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for entry in value for tensor in _tensors_in(entry)] if isinstance(value, list | tuple) else []


def _are_equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Whether tensors are equal bit for bit, NaN for NaN."""
    pairs = zip(some, others, strict=True)
    return all(torch.equal(a, b) or torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


def _apart(first: UplinkBridge, other: UplinkBridge) -> str:
    """Why two bridges cannot be computed together; empty if they can."""
    for reason, holds in {
        "errors on the downlink give every device a model of its own": other.hears_errors,
        "the model couples or randomises samples, or is large": not other.batches_devices,
        "the compressors differ": other.compressor != first.compressor,
        "the models differ": _structure(other.model) != _structure(first.model),
        "the numbers of devices differ": other.num_devices != first.num_devices,
        "the rounds differ": other.round != first.round,
        "the base station asks some of the devices only": other.asked() is not None,
        "parameters are frozen": not all(other.carried.trainable),
    }.items():
        if holds:
            return reason
    return ""


def _structure(model: nn.Module) -> Any:
    """What two models must have in common: their modules, and the form of every tensor."""
    forms = [(name, t.shape, t.dtype, t.device, t.requires_grad) for name, t in tensors_of(model).items()]
    return repr(model), forms
