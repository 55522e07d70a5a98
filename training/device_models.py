"""What the devices hold of the model behind a downlink: copies received with errors, one per device or one for all.

The initial model is known to every device (from a common seed, or given out beforehand). After that the base station
broadcasts its parameters once a round, when the round's first gradient is asked for. Parameters of less than 32 bits
are broadcast in float32, frozen ones with the others. Buffers, such as the statistics of batch normalisation, are those of
the model and not sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from laser_wireless.channels.downlinks.analog import Downlink, DownlinkLedger, raise_if_invalid
from laser_wireless.channels.round import Streams
from laser_wireless.compression.message import split_parameters
from laser_wireless.training.checkpoint import to_device


class DeviceModels:
    """The devices' copies of a model's parameters.

    Memory: what the downlink's `Delivery.received` takes, d or K d numbers, and as much again during a broadcast.

    Args:
        downlink: how the parameters reach the devices.
        parameters: of the model, d numbers in all.
        num_devices: K.
        dtype: float32 or float64, of the copies.
        streams: the run's random streams.

    Attributes:
        ledger: of the last broadcast, None before the first.
    """

    def __init__(
        self,
        downlink: Downlink,
        parameters: Sequence[nn.Parameter],
        *,
        num_devices: int,
        dtype: torch.dtype,
        streams: Streams,
    ) -> None:
        self.downlink = downlink
        self.ledger: DownlinkLedger | None = None
        self._parameters, self._num_devices, self._dtype, self._streams = list(parameters), num_devices, dtype, streams
        self._shapes = tuple(tuple(p.shape) for p in parameters)
        self._layout = tuple(p.numel() for p in parameters)
        self._held: Tensor | None = None  # [K, d] or [1, d]
        self._round = -1  # whose model that is
        self._state: dict[str, Tensor] = {}
        self._first_void: Tensor | None = None  # int64 [], of the broadcasts since the last check; -1 for none

    @torch.no_grad()
    def listen(self, round: int) -> Tensor:
        """Return what the devices hold in `round`, [K, d] or [1, d]; broadcasts if they have not received it yet."""
        if self._held is None:
            self._held = self._values().unsqueeze(0)
        elif self._round != round:
            delivery = self.downlink.broadcast(
                self._values(),
                self._layout,
                num_devices=self._num_devices,
                round=round,
                streams=self._streams,
                held=self._held,
                state=self._state,
            )
            self._held, self._state, self.ledger = delivery.received, delivery.state, delivery.ledger
            if self.ledger is not None:
                never = torch.full((), -1, dtype=torch.int64, device=self._held.device)
                before = never if self._first_void is None else self._first_void
                self._first_void = torch.where(self.ledger.nonfinite & (before < 0), round, before)
        self._round = round
        return self._held

    def stacked(self, round: int) -> list[Tensor]:
        """The copies of `round`, one tensor [K, *shape] or [1, *shape] per parameter in its dtype."""
        views = split_parameters(self.listen(round), self._shapes)
        return [view.to(p.dtype) for view, p in zip(views, self._parameters, strict=True)]

    @contextmanager
    def in_place_of_parameters(self, device_index: int, round: int) -> Iterator[None]:
        """Within the context the model's parameters are the copy that device `device_index` holds.

        A graph recorded on one side of the context's border cannot be differentiated on the other: autograd refuses.
        """
        held = self.listen(round)
        views = split_parameters(held[device_index if len(held) > 1 else 0], self._shapes)
        own = [p.data for p in self._parameters]
        try:
            self._put([view.to(p.dtype) for view, p in zip(views, self._parameters, strict=True)])
            yield
        finally:
            self._put(own)

    def check(self) -> None:
        """Raise FloatingPointError if a broadcast since the last check was invalid; reads one flag."""
        if self._first_void is not None:
            raise_if_invalid(self._first_void >= 0, int(self._first_void))
        self._first_void = None

    def state_dict(self) -> dict[str, Any]:
        """The copies, the round that they are of, and the fading's state; tensors are not copied."""
        return {"held": self._held, "round": self._round, "fading": dict(self._state)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up what `state_dict` of the same model, downlink and number of devices left."""
        held, fading = to_device(state["held"], device), to_device(state["fading"], device)
        self._held, self._round, self._state = held, state["round"], fading
        self.ledger = self._first_void = None

    def _values(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1).to(self._dtype) for p in self._parameters])

    def _put(self, values: Sequence[Tensor]) -> None:
        for p, value in zip(self._parameters, values, strict=True):
            p.data = value
            p.detach().unsqueeze(0).narrow(0, 0, 0).zero_()  # changes no number, but autograd sees that p is another
