"""What a round over an uplink gives back, and what every uplink is: message in, estimate of the mean and ledger out."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.scale import ScaleState, keep_of_valid_rounds
from laser_wireless.channels.segments import Segments
from laser_wireless.channels.streams import Streams
from laser_wireless.channels.superposition import Air, LocalAir
from torch import Tensor

_LOCAL = LocalAir()


class UplinkState(NamedTuple):
    """What a round leaves behind for the next one; a value that the run keeps.

    scale: common amplitude and shares, where devices go by last round's.
    fading: of a model that continues from round to round; empty otherwise.
    csi: of knowledge that is late, by side and stage; empty otherwise.
    """

    scale: ScaleState | None
    fading: dict[str, Tensor]
    csi: dict[str, dict[str, Tensor]]

    def after(self, before: UplinkState | None, valid: Tensor) -> UplinkState:
        """This, but the scale of `before` where the round (bool [..., 1]) was invalid: nothing of it may be learnt."""
        return self._replace(scale=keep_of_valid_rounds(self.scale, None if before is None else before.scale, valid))

    def to_plain(self) -> dict[str, Any]:
        """Dictionaries of tensors, for a checkpoint."""
        scale = None if self.scale is None else self.scale._asdict()
        return {"scale": scale, "fading": self.fading, "csi": self.csi}

    @staticmethod
    def from_plain(plain: dict[str, Any]) -> UplinkState:
        """Read what `to_plain` made."""
        scale = None if plain["scale"] is None else ScaleState(**plain["scale"])
        return UplinkState(scale, plain["fading"], plain["csi"])


NOTHING = UplinkState(None, {}, {})
"""What is known before the first round."""


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
        """The part of symbols [..., K, S] that the estimate counts; what is missing is still owed by its device."""
        ...


class Reception(NamedTuple):
    """What a round gives back.

    estimate: like the symbols, [..., S], the receiver's estimate of the mean message; zero where nobody was heard.
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
        """The part of symbols [..., K, S] that the estimate counts; what is missing is still owed by its device."""
        return self.segments.scale(symbols, self.delivered.to(symbols.dtype))


class Uplink(Protocol):
    """Takes messages, gives the estimate of their mean: analog or digital."""

    def aggregate(
        self,
        symbols: Tensor,
        layout: tuple[int, ...],
        *,
        round: int,
        streams: Streams,
        air: Air = _LOCAL,
        state: UplinkState | None = None,
        share_as: tuple[int, ...] | None = None,
    ) -> Received:
        """Carry one round's messages [..., K, S] with blocks of `layout` symbols to the receiver."""
        ...
