"""The bridge between a training loop and the uplink: K virtual devices in one process.

    for k, batch in enumerate(batches):
        with bridge.gradients_of(k):          # backward accumulates into device k's error memory
            loss(model, batch).backward()
    ledger = bridge.exchange()                # encode -> uplink -> decode; p.grad is what the receiver decoded
    optimizer.step()

Backward adds straight into row k of the memory [K, d]; see `training.gradient_memory`. Parameters that require gradients
when the bridge is built are carried; they may be frozen and unfrozen later. See `training.carried` for what else may become
of a model, and what is refused. Behind a noisy downlink the devices hold copies of the model with errors: within
gradients_of(k) the model's parameters are device k's, outside they are the base station's; see `training.device_models`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from laser_wireless.channels import Ledger, Streams, Uplink, UplinkState
from laser_wireless.channels.downlinks.analog import Downlink, DownlinkLedger, NoiselessBroadcast
from laser_wireless.channels.laws_of_a_run import check_laws
from laser_wireless.channels.ledger import Faults
from laser_wireless.channels.parameters import check_value
from laser_wireless.compression import Compressor, settle_
from laser_wireless.compression.message import in_process, split_parameters
from laser_wireless.training.carried import CarriedParameters
from laser_wireless.training.checkpoint import to_device
from laser_wireless.training.compiled import compiler
from laser_wireless.training.device_models import DeviceModels
from laser_wireless.training.device_training import DeviceTraining, asked_by, work_of
from laser_wireless.training.device_weights import mean_weights
from laser_wireless.training.gradient_memory import GradientMemory
from laser_wireless.training.local_steps import GRADIENT, LocalSteps
from laser_wireless.training.processes import ProcessAir, received_over
from laser_wireless.training.saved_state import check_saved, parts_of_run, state_of


class UplinkBridge:
    """Carries the gradients of K devices over an uplink into p.grad.

    Args:
        model: any module; its parameters that require gradients are carried, all on one device. Parameters of less
            than 32 bits are kept in float32 in the memory. For gradual unfreezing build the bridge while everything that
            will ever train requires gradients, then freeze with requires_grad_(False) and unfreeze at will: a frozen
            parameter sends zeros (its symbols still count), its error memory stays, and its p.grad is None after exchange,
            so that no optimiser moves it. Nothing else may be unfrozen, added, replaced or converted afterwards.
        num_devices: K >= 1.
        compressor: scheme; see `laser_wireless.compression`.
        uplink: channel; see `laser_wireless.channels`.
        seed: fixes gains, noise and the compressor's draws.
        downlink: how the model reaches the devices; `NoiselessBroadcast` (free, no copies), `AnalogBroadcast` (memory K d
            more), `DigitalBroadcast` (d more). The initial model is known to all. After the optimiser's step the base
            station broadcasts when the next round's first gradient is asked for.
        weights: of the devices in the mean, finite and >= 0, such as the sizes of their data sets; only their ratios
            count. What device k adds to its memory is multiplied by K w_k / sum of w, so that the mean of the messages is
            the weighted mean. None for equal ones.
        compiled: have torch.compile make the devices' forward and backward pass quicker: seconds to minutes in the first
            round, other last digits.
        air: of a process group whose processes hold the devices, `ProcessAir`; None for all in this process. Every process
            builds the same bridge, enters gradients_of(k) for its own devices, and decodes the same numbers.

    Attributes:
        round: rounds exchanged so far.
        carried, gradient_memory: the parameters, and what each device has yet to send of their gradients.
        scheme_state, uplink_state: of compressor and uplink after the last round.
        faults: of the first invalid round since the last `check`; flags that nobody has read.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        num_devices: int,
        compressor: Compressor,
        uplink: Uplink,
        seed: int = 0,
        downlink: Downlink | None = None,
        weights: Sequence[float] | None = None,
        compiled: bool = False,
        air: ProcessAir | None = None,
    ) -> None:
        check_value("model", model, nn.Module)
        check_value("num_devices", num_devices, int)
        check_value("compressor", compressor, Compressor)
        check_value("uplink", uplink, Uplink)
        check_value("downlink", downlink, Downlink | None)
        if num_devices < 1:
            raise ValueError(f"num_devices must be an integer >= 1, got {num_devices!r}")
        check_value("air", air, ProcessAir | None)
        if air is not None and air.num_devices != num_devices:
            raise ValueError(f"num_devices must be that of all processes together, {air.num_devices}, got {num_devices}")
        self.model, self.num_devices, self.compressor, self.uplink = model, num_devices, compressor, uplink
        self.air, self.devices = air, range(num_devices) if air is None else air.devices
        self.weights = mean_weights(weights, num_devices)
        self.streams = Streams(seed)
        self.round = 0
        self.carried = CarriedParameters(model)
        self._parameters, self._shapes = self.carried.parameters, self.carried.shapes
        self._dtype, self._device = self.carried.dtype, self.carried.device
        check_laws(num_devices, uplink=uplink, downlink=downlink, device=self._device)
        self.gradient_memory = GradientMemory(self.carried, self.devices)
        self._decoded = split_parameters(torch.empty_like(self.memory[0]), self._shapes)
        self.scheme_state = compressor.init(self._shapes, num_devices, device=self._device, dtype=self._dtype, seed=seed)
        self.uplink_state: UplinkState | None = None
        self.faults: Faults | None = None  # of the first invalid round; read by check()
        self._copies = self._copies_behind(downlink)
        self._training = DeviceTraining(model, self.carried, self.gradient_memory, self, compiler(compiled))

    def _copies_behind(self, downlink: Downlink | None) -> DeviceModels | None:
        """What the devices hold behind a downlink with errors; None if all hold the model itself."""
        if downlink is None or isinstance(downlink, NoiselessBroadcast):
            return None
        options: dict[str, Any] = {"num_devices": self.num_devices, "dtype": self._dtype, "streams": self.streams}
        return DeviceModels(downlink, self._parameters, **options)

    @property
    def memory(self) -> Tensor:
        """float32 or float64 [K, d], between rounds what each device has yet to send."""
        return self.gradient_memory.rows

    @contextmanager
    def gradients_of(self, device_index: int) -> Iterator[None]:
        """Within the context, backward accumulates into the memory of device `device_index`.

        Several backward passes add up, as usual. Every device must be entered once a round, in any order; one that has
        nothing to add is entered without a backward pass. Behind a noisy downlink the parameters are those that the device
        holds: forward and backward pass both belong inside. Leave optimizer.zero_grad() out of the context: with
        set_to_none=False it would wipe the device's error memory.

        Raises:
            ValueError: no such device.
            RuntimeError: the device was entered before in this round, or the model has parameters that the bridge does not
                carry; they are named, and nothing is lost: put it right and go on.
        """
        self.carried.check()
        if self._copies is not None:
            self._copies.listen(self.round)
        self.gradient_memory.enter(device_index, self.round)
        weight = self.weights[device_index]
        with self.gradient_memory.accumulate(device_index, self.round, weight), self.model_of(device_index):
            yield

    def model_of(self, device_index: int) -> AbstractContextManager[None]:
        """Context in which the model's parameters are those that the device holds."""
        if self._copies is None:
            return nullcontext()
        return self._copies.in_place_of_parameters(device_index, self.round)

    def asked(self) -> Tensor | None:
        """Which devices the base station asks in the coming round, int64 [m] ascending; None for all.

        Where the uplink's participation samples devices, the others compute nothing: `backward` leaves them out; in a loop
        of your own enter `gradients_of` for them without a backward pass.
        """
        return asked_by(self.uplink, self.num_devices, round=self.round, streams=self.streams, device=self._device)

    def backward(self, loss: Callable[..., Tensor], *batches: Tensor) -> Tensor:
        """Compute and accumulate the gradients of all K devices, batched over them where the model allows it.

        The batched path (one torch.func.vmap over the devices) is taken when the model has no part that couples or
        randomises samples (batch normalisation, dropout, recurrent layers) and K d is moderate; otherwise the devices
        come one after another. Both give the same gradients to float precision.

        Args:
            loss: loss(model, *batch) -> scalar, for one device's batch.
            batches: tensors [K, ...], stacked over the devices, such as inputs and targets; over those of this process, if
                there are several.

        Returns:
            losses: [K], detached; [m] where the base station asks m of the devices.
        """
        return self.local_updates(loss, [batches], GRADIENT, learning_rate=1.0)

    def local_updates(
        self, loss: Callable[..., Tensor], steps: Sequence[Sequence[Tensor]], local: LocalSteps, *, learning_rate: float
    ) -> Tensor:
        """Let all K devices take local steps, and accumulate what they send of them; see `training.local_steps`.

        With one step this is `backward`, to the bit. Buffers, such as statistics of batch normalisation, are the model's and
        not the devices'. What a device adds to its memory is a sum of gradients, whatever the rate.

        Args:
            loss: loss(model, *batch) -> scalar, for one device's batch.
            steps: for each of the local.longest steps its tensors [K, ...], as in `backward`.
            local: the steps.
            learning_rate: eta, unless `local` has one of its own.

        Returns:
            losses: of each device in its first step, as in `backward`.

        Raises:
            ValueError: shapes that do not fit, or another number of steps or devices.
        """
        self.carried.check()
        rate = learning_rate if local.learning_rate is None else local.learning_rate
        work = work_of(loss, steps, local, rate=rate, devices=self.devices, weights=self.weights, asked=self.asked())
        return self._training(work, self.round)

    @property
    def batches_devices(self) -> bool:
        """Whether `backward` takes the batched path."""
        return self._training.is_batched

    @property
    def hears_errors(self) -> bool:
        """Whether devices hold copies of the model with errors of the downlink."""
        return self._copies is not None

    @property
    def downlink_ledger(self) -> DownlinkLedger | None:
        """Account of the last broadcast; None before the first, and without errors on the downlink."""
        return None if self._copies is None else self._copies.ledger

    @torch.no_grad()
    def exchange(self) -> Ledger:
        """Send all messages, and put what the receiver decoded into p.grad; None for a frozen parameter.

        No tensor value is read by the host. A device whose message is not finite makes the round invalid: p.grad is zero and
        the ledger's `check` (or `summary`, or `state_dict` here) raises.

        Raises:
            RuntimeError: a device's gradient is missing or was interrupted, or the model has parameters that the bridge does
                not carry.
        """
        decoded, ledger = self.exchange_gradients()
        for p, gradient in zip(self._parameters, decoded, strict=True):
            p.grad = gradient.to(p.dtype) if p.requires_grad else None
        return ledger

    @torch.no_grad()
    def exchange_gradients(self) -> tuple[list[Tensor], Ledger]:
        """Send all messages and return what the receiver decoded, one tensor per parameter; p.grad is left alone.

        The tensors are overwritten in the next round. Otherwise as `exchange`.
        """
        self.carried.check()
        self.gradient_memory.check_complete(self.round)
        with self.gradient_memory.frozen_set_aside(keep=bool(self.compressor.error_feedback or self.compressor.momentum)):
            known = in_process(self.scheme_state, self.devices.start, self.num_devices)
            message = self.compressor.encode(self.memory, known, round=self.round)
            of_round: dict[str, Any] = {"round": self.round, "streams": self.streams, "state": self.uplink_state}
            reception = received_over(self.uplink, message, air=self.air, **of_round)
            self.gradient_memory.broken = (
                f"the exchange of round {self.round} was interrupted half-way"  # from here on it changes
            )
            settle_(
                self.memory,
                message.symbols,
                reception.delivered_symbols,
                self.compressor,
                self.scheme_state,
                round=self.round,
            )
        decoded, self.scheme_state = self.compressor.decode(
            reception.estimate,
            self.scheme_state,
            round=self.round,
            noise_variance=reception.noise_variance,
            out=self._decoded,
        )
        self.uplink_state = reception.state
        faults = reception.ledger.faults
        self.faults = faults if self.faults is None else self.faults.or_else(faults)
        self.gradient_memory.begin_round()
        self.round += 1
        return decoded, reception.ledger

    def check(self) -> None:
        """Raise FloatingPointError if any round or broadcast since the last check was invalid; reads a flag of each kind."""
        if self._copies is not None:
            self._copies.check()
        if self.faults is not None:
            self.faults.raise_if_any()
        self.faults = None

    def state_dict(self) -> dict[str, Any]:
        """All that changes: memory, compressor's state, round, common scale, devices' models; with a seal over every entry.

        Tensors are views, not copies: to keep a state while training goes on, take copy.deepcopy of it.

        Raises:
            FloatingPointError: a round was invalid, so that no checkpoint of a broken run replaces a sound one.
            RuntimeError: a round is half done: some devices' gradients are in the memory and not yet exchanged.
        """
        self.check()
        if self.gradient_memory.broken or self.gradient_memory.num_entered:
            found = self.gradient_memory.broken or f"gradients of {self.gradient_memory.num_entered} devices are in"
            raise RuntimeError(
                f"round {self.round} is half done ({found}); take the state after exchange() and before the next gradient"
            )
        return state_of(
            round=self.round,
            seed=self.streams.seed,
            parts=self._parts,
            memory=self.memory,
            compressor_state=self.scheme_state,
            uplink_state=self.uplink_state,
            downlink=None if self._copies is None else self._copies.state_dict(),
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a run where `state_dict` left it. Everything is checked first: a state that is refused changes nothing.

        Raises:
            ValueError: the state is of another model, seed, number of devices, compressor or uplink, or an entry of it is
                not as it was written; the entry is named.
        """
        check_saved(
            state,
            seed=self.streams.seed,
            memory=self.memory,
            compressor_state=self.scheme_state,
            downlink=self._copies is not None,
            parts=self._parts,
        )
        compressor, uplink = to_device(state["compressor"], self._device), to_device(state["uplink"], self._device)
        if self._copies is not None:
            self._copies.load_state_dict(state["downlink"], self._device)
        self.round = state["round"]
        self.memory.copy_(state["memory"])
        self.scheme_state, self.uplink_state = type(self.scheme_state)(**compressor), uplink
        self.faults = None
        self.gradient_memory.begin_round()

    def stacked_models(self) -> dict[str, Tensor] | None:
        """What the devices of this process hold, by the parameters' names: [L, *shape], or [1, *shape] if all hold the same.

        None where all hold the model itself.
        """
        if self._copies is None:
            return None
        stacked = self._copies.stacked(self.round)
        own = stacked if self.air is None else [self.air.own(tensor, 0) for tensor in stacked]
        return dict(zip(self.carried.names, own, strict=True))

    @property
    def _parts(self) -> dict[str, str]:
        return parts_of_run(self.compressor, self.uplink, None if self._copies is None else self._copies.downlink)
