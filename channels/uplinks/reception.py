"""What a round over an uplink gives back, and what every uplink is: message in, estimate of the mean and ledger out."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

from torch import Tensor

from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.round import LOCAL, Air, Streams
from laser_wireless.channels.segments import Segments
from laser_wireless.channels.signals import scale

UplinkState: TypeAlias = dict[str, Any]
"""What a round leaves behind for the next one, by stage: a value that the run keeps, dictionaries of tensors throughout.

"scale": common amplitude and shares, where devices go by last round's; "fading": of a model that continues from round to
round; "csi": of knowledge that is late, by side and stage. A stage that remembers nothing has no entry.
"""


class Received(Protocol):
    """What any uplink gives back; `Reception` is the analog one's."""

    @property
    def estimate(self) -> Tensor:
        """Like the symbols, [..., S], the receiver's estimate of the mean message."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What it cost."""
        ...

    @property
    def noise_variance(self) -> Tensor | None:
        """float64 [..., B], of the error on the estimate per real symbol, as the receiver knows it; None if it does not."""
        ...

    @property
    def state(self) -> UplinkState | None:
        """For the next round."""
        ...

    def delivered_symbols(self, symbols: Tensor) -> Tensor:
        """The part of symbols [..., K, S] that the estimate counts; what is missing is yet to be sent."""
        ...


class Reception(NamedTuple):
    """What a round gives back.

    estimate: like the symbols, [..., S], the receiver's estimate of the mean message; zero where nobody arrived.
    ledger: what it cost.
    delivered: float64, broadcastable to [..., K, G], part of each device's amplitude that reached the estimate in full.
    segments: the G pieces of the message.
    noise_variance: float64 [..., B], of the noise on the estimate, per real symbol, mean over each block; known to the
        receiver, which set its scale.
    state: what the next round's devices may know of this one; None if nothing is kept.
    """

    estimate: Tensor
    ledger: Ledger
    delivered: Tensor
    segments: Segments
    noise_variance: Tensor
    state: UplinkState | None

    def delivered_symbols(self, symbols: Tensor) -> Tensor:
        """The part of symbols [..., K, S] that the estimate counts; what is missing is yet to be sent."""
        return scale(symbols, self.delivered.to(symbols.dtype), self.segments)

    def of_devices(self, devices: range) -> Reception:
        """The same where only these devices' symbols are at hand."""
        if self.delivered.shape[-2] == 1:
            return self
        return self._replace(delivered=self.delivered[..., devices.start : devices.stop, :])


class Uplink(Protocol):
    """Takes messages, gives the estimate of their mean: analog or digital.

    Where devices live in several processes, an uplink that says `superposes = True` is given the messages of this process's
    devices and an `air` that adds up and gathers over all; any other is given those of all devices.
    """

    def aggregate(
        self,
        symbols: Tensor,
        layout: tuple[int, ...],
        *,
        round: int,
        streams: Streams,
        air: Air = LOCAL,
        state: UplinkState | None = None,
        share_as: tuple[int, ...] | None = None,
    ) -> Received:
        """Carry one round's messages [..., K, S] with blocks of `layout` symbols to the receiver."""
        ...
