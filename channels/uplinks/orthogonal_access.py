"""Digital uplink: each device quantises its message and sends it in channel uses of its own.

The K devices that take part share N complex channel uses, N_k = floor(N / K) each, one gain h_k per round. With energy P the
SNR of a channel use is |h_k|^2 P / (2 sigma^2 N_k): sigma^2 is per REAL symbol, a complex channel use has noise
CN(0, 2 sigma^2). By capacity N_k log2(1 + SNR) bits arrive (digital D-DSGD of Amiri, Gunduz, arXiv:1901.00844, section III).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from laser_wireless.channels.carrier import check_bandwidth, seconds, together
from laser_wireless.channels.digital.link_rate import Capacity, Link
from laser_wireless.channels.digital.quantisation import Quantised, Quantiser, StochasticQuantiser
from laser_wireless.channels.energy.allocation import Budget, check_budget
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.participation import Participation, asked_by
from laser_wireless.channels.radio_link import LinkGain, RadioLink
from laser_wireless.channels.round import LOCAL, Air, Round, Streams
from laser_wireless.channels.segments import Grid, Segments, segments_of
from laser_wireless.channels.signals import is_finite
from laser_wireless.channels.uplinks.reception import UplinkState
from laser_wireless.channels.uplinks.round_start import RoundStart, start_round

_MOST_BITS = 64  # per symbol; an infinite SNR carries more than any quantiser uses


class DigitalReception(NamedTuple):
    """What a digital round gives back.

    estimate: like the symbols, [..., S], mean of the messages received; zero where none was.
    ledger: what it cost.
    delivered: float64 [..., K, B], part of each block that was received from the device.
    segments: the B blocks of the message.
    noise_variance: float64 [..., B], of the quantisation error on the estimate, per real symbol; None if unknown.
    state: of a fading process, for the next round.
    decoded: like the symbols, [..., K, S], what the receiver decoded of each device; 0 where a packet was lost.
    """

    estimate: Tensor
    ledger: Ledger
    delivered: Tensor
    segments: Segments
    noise_variance: Tensor | None
    state: UplinkState | None
    decoded: Tensor

    def delivered_symbols(self, symbols: Tensor) -> Tensor:
        """What the receiver decoded of each device's symbols: the rest, quantisation error included, is yet to be sent."""
        return self.decoded


@dataclass(frozen=True, kw_only=True)
@checked
class DigitalUplink:
    """Digital orthogonal access: quantise, code, send, and average what was decoded.

    The estimate is the mean over the devices whose block arrived: a device that is absent, in outage, without energy or with
    too few bits for a single entry is left out, and has its message yet to send. All that a receiver needs is among the
    bits, so that no number is side information. The energy of a device that sends anything is its whole budget.

    Quantisation is flat almost everywhere: gradients with respect to the message are those of the mean of the messages
    received (straight-through); none flow to gains or energies.

    Args:
        energy_budget: P, energy per device and round; as for `AnalogUplink`.
        noise_variance: sigma^2 per REAL symbol, >= 0; a number or a tensor over the leading axes.
        fading: model of the small-scale gains, one per device, antenna and round; see `channels.fading`.
        link_gain: large-scale power gains, one for each device, or a function that draws them once for a run; 1 if None.
        num_rx_antennas: N_r; the receiver knows the gains and adds up their powers (maximum ratio combining).
        participation: who takes part; everybody if None. See `channels.participation`. The others get no channel uses.
        link: code of a device's link: `Capacity`, `FiniteBlocklength`, `LdpcLink` or your own; see `link_rate`.
        quantiser: `StochasticQuantiser` (unbiased) or `SparseQuantiser` (for error feedback) or your own.
        num_channel_uses: N, complex, of all devices together; ceil(S / 2) if None, as many as uncoded superposition takes.
            Bits are scarce then: S / (2 K) channel uses for S real numbers.
        fixed_rate: bits per complex channel use, the same for all. None: each device knows its gain and sends what it
            carries. With a rate, no device knows its gain, and a packet that the gain cannot carry is lost.
        mean_over: "received" divides the sum by the devices that were received, symbol by symbol; "all" by all that take
            part and have energy. With error feedback and many lost packets, "all" counts what is sent later no more than
            the rest.
        access: "tdma": devices take turns, each at power K P / N; "ofdma": all at once, each on its own subcarriers, at
            P / N. The ledger's peak tells them apart, nothing else. It is the mean power of a device's real symbols while
            it sends, for Gaussian symbols have no largest one.
        bandwidth_hz: complex channel uses per second; gives the ledger its seconds.
    """

    energy_budget: Budget
    noise_variance: float | Tensor = 1.0
    fading: FadingModel = field(default_factory=NoFading)
    link_gain: LinkGain | None = None
    num_rx_antennas: int = 1
    participation: Participation | None = None
    link: Link = field(default_factory=Capacity)
    quantiser: Quantiser = field(default_factory=StochasticQuantiser)
    num_channel_uses: int | None = None
    fixed_rate: float | None = None
    mean_over: Literal["received", "all"] = "received"
    access: Literal["tdma", "ofdma"] = "tdma"
    bandwidth_hz: float | None = None

    def __post_init__(self) -> None:
        check_budget(self.energy_budget)
        check_bandwidth(self.bandwidth_hz)
        _ = self.radio  # which checks its own options
        if self.num_channel_uses is not None and self.num_channel_uses < 1:
            raise ValueError(f"num_channel_uses must be an integer >= 1 or None, got {self.num_channel_uses}")
        if self.fixed_rate is not None and not 0 < self.fixed_rate < float("inf"):
            raise ValueError(f"fixed_rate must be finite and > 0 bits per complex channel use, got {self.fixed_rate}")

    @cached_property
    def radio(self) -> RadioLink:
        """Fading, large-scale gain, antennas and noise."""
        return RadioLink(
            fading=self.fading,
            link_gain=self.link_gain,
            num_rx_antennas=self.num_rx_antennas,
            noise_variance=self.noise_variance,
        )

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
        gains: Tensor | None = None,
    ) -> DigitalReception:
        """Carry one round's messages to the receiver.

        Args:
            symbols: float32 or float64 [..., K, S], real numbers to be averaged over the K devices.
            layout: real symbols of each block, in order, summing to S.
            round: 0, 1, ...; with `streams` it fixes gains ("gains"), rounding ("quantiser") and errors ("errors").
            streams: the run's random streams.
            air: adds up over the devices, here in the server's computer; all must be in this process.
            state: `DigitalReception.state` of the last round, for a fading process.
            share_as: not used: a device's energy is not split over blocks.
            gains: real or complex [..., K, 1], or [..., K, N_r, 1] with several antennas, drawn elsewhere; otherwise drawn
                once and shared by all leading axes.

        Raises:
            TypeError: symbols that are not float32 or float64, or an air over processes.
            ValueError: shapes that do not fit, or fewer channel uses than devices.
        """
        layout = tuple(layout)
        segments = segments_of(layout, Grid(num_slots=1, symbols_per_cell=sum(layout)))
        now = Round(round, streams, air)
        start = start_round(symbols, layout, segments.grid, now, self, state, gains)
        own_uses = self._own_uses(symbols, start, now)
        sent, arrived, quantised = self._send(symbols, layout, segments, start, own_uses, now)
        decoded = torch.where(arrived, quantised.values, 0)
        if symbols.requires_grad:  # straight through: the value is that of before
            decoded = decoded + torch.where(arrived, symbols - symbols.detach(), 0)
        num_received = air.sum(arrived.to(symbols.dtype), dim=-2)  # [..., 1, S]
        count = self._count(num_received, start, air)
        estimate = (air.sum(decoded, dim=-2) / count.clamp(min=1)).squeeze(-2)
        valid = start.valid & is_finite(estimate)
        lost = (sent & ~arrived).double().mean(-1)
        ledger = self._ledger(start, sent.double().mean(-1), (num_received == 0).double().mean(-1), own_uses, now, layout)
        received = _mean_in_blocks(arrived, layout)
        return DigitalReception(
            estimate=estimate.masked_fill(~valid, 0),
            ledger=replace(ledger, **_of_packets(ledger, lost, quantised, start, valid)),
            delivered=received,
            segments=segments,
            noise_variance=_error_variance(quantised.variance, received, _mean_in_blocks(count, layout), air),
            state=start.state,
            decoded=decoded.masked_fill(~valid.unsqueeze(-1), 0),
        )

    def _send(
        self, symbols: Tensor, layout: tuple[int, ...], segments: Segments, start: RoundStart, own_uses: Tensor, now: Round
    ) -> tuple[Tensor, Tensor, Quantised]:
        """Quantise and code: which symbols were sent and which arrived, bool [..., K, S], and their values."""
        snr = self._snr(start, own_uses)
        allowed = self._allowed(snr, start, own_uses, sum(layout))
        generator = now.generator("quantiser", symbols.device)
        quantised = self.quantiser(symbols.detach(), layout, allowed, generator=generator)
        packets = self.link.arrivals(snr, allowed, own_uses, generator=now.generator("errors", symbols.device))
        sent = segments.expand(quantised.sent & start.valid.unsqueeze(-1))
        return sent, sent & _intact(packets, quantised), quantised

    def _count(self, num_received: Tensor, start: RoundStart, air: Air) -> Tensor:
        """By how many devices the sum is divided, [..., 1, S]."""
        if self.mean_over == "received":
            return num_received
        powered = air.sum((start.energy > 0).to(num_received.dtype), dim=-1)
        return powered.unsqueeze(-1).expand(num_received.shape)

    def _own_uses(self, symbols: Tensor, start: RoundStart, now: Round) -> Tensor:
        """Channel uses of each device that is there, float64 [1]: an equal part of all."""
        most, uses = symbols.shape[-2], self._uses(symbols.shape[-1])
        if uses < most:
            asked = asked_by(self.participation, most, now, symbols.device)
            most = most if asked is None else len(asked)
        if uses < most:
            raise ValueError(
                f"num_channel_uses must be at least one for each of the {most} devices, got {uses}"
                f"{' (half the symbols)' if self.num_channel_uses is None else ''}; set num_channel_uses higher"
            )
        return (uses / now.air.sum(start.attendance.present.double(), dim=-1).clamp(min=1)).floor()

    def _uses(self, num_symbols: int) -> int:
        return -(-num_symbols // 2) if self.num_channel_uses is None else self.num_channel_uses

    def _snr(self, start: RoundStart, own_uses: Tensor) -> Tensor:
        """Energy over noise in a complex channel use: float64 [..., K], infinite without noise."""
        arriving = start.gain_power.squeeze(-1) * start.energy
        noise = self.radio.noise_for(arriving)
        noise = 2 * noise.unsqueeze(-1) * own_uses if noise.ndim else 2 * noise * own_uses
        silent = (arriving == 0) | (own_uses == 0)
        return (arriving / noise.masked_fill(silent, 1)).masked_fill(silent, 0)

    def _allowed(self, snr: Tensor, start: RoundStart, own_uses: Tensor, num_symbols: int) -> Tensor:
        """Bits that each device may send: float64 [..., K]; none without energy."""
        if self.fixed_rate is None:
            bits = self.link.bits(snr, own_uses)
        else:
            most = self.link.bits(torch.full_like(snr, torch.inf), own_uses)
            bits = torch.minimum((self.fixed_rate * own_uses).floor(), most)
        powered = (start.energy > 0) & start.valid
        return torch.where(powered, bits.clamp(max=_MOST_BITS * num_symbols), 0)

    def _ledger(
        self,
        start: RoundStart,
        sent_part: Tensor,
        outage: Tensor,
        own_uses: Tensor,
        now: Round,
        layout: tuple[int, ...],
    ) -> Ledger:
        num_symbols = sum(layout)
        spent = start.energy.detach() * (sent_part > 0)
        uses = self._uses(num_symbols)
        while_sending = own_uses if self.access == "tdma" else torch.full_like(own_uses, uses)
        peak = spent / (2 * while_sending).clamp(min=1)
        adaptive = self.fixed_rate is None and not isinstance(self.fading, NoFading)
        return Ledger(
            round=now.index,
            num_symbols=num_symbols,
            num_channel_uses=uses,
            seconds=together(start.attendance.seconds, seconds(uses, self.bandwidth_hz)),
            energy_spent=spent,
            energy_allowed=start.budget.expand(spent.shape),
            peak_power=peak,
            papr=peak * 2 * uses / (spent + (spent == 0)),
            active_fraction=sent_part,
            outage=outage.squeeze(-1),
            side_information=0,
            known_gains=spent.shape[-1] if adaptive else 0,
            nonfinite=start.nonfinite.expand(spent.shape),
        )


def _of_packets(ledger: Ledger, lost: Tensor, quantised: Quantised, start: RoundStart, valid: Tensor) -> dict[str, Any]:
    """Columns of the ledger that only a digital uplink has."""
    sent = ledger.active_fraction
    return {
        "bits": quantised.bits * start.valid,
        "overflow": (start.valid & ~valid).squeeze(-1),
        "lost": lost / sent.masked_fill(sent == 0, 1),
    }


def _mean_in_blocks(values: Tensor, layout: tuple[int, ...]) -> Tensor:
    """Mean over the symbols of each block: bool or real [..., S] -> float64 [..., B]."""
    return torch.stack([piece.double().mean(-1) for piece in torch.split_with_sizes(values, list(layout), -1)], -1)


def _intact(packets: Tensor, quantised: Quantised) -> Tensor:
    """Symbols all of whose bits lie in packets that arrived: bool, broadcastable to [..., K, S].

    A device's bits lie in its packets in order: scales and positions first, without which nothing can be read, then the
    symbols' values.
    """
    num_packets = packets.shape[-1]
    if num_packets == 1:
        return packets
    widths = quantised.widths.double()
    last = widths.cumsum(-1)
    header = quantised.bits.unsqueeze(-1) - last[..., -1:]
    per_packet = (quantised.bits.unsqueeze(-1) / num_packets).clamp(min=1)

    def packet_of(bit: Tensor) -> Tensor:
        return (bit / per_packet).floor().clamp(0, num_packets - 1).long()

    failures = torch.nn.functional.pad((~packets).double().cumsum(-1), (1, 0))  # failed before packet i
    first, final = packet_of(header + last - widths), packet_of(header + last - 1)
    failed = failures.gather(-1, (final + 1)) - failures.gather(-1, first)
    lost_header = failures.gather(-1, packet_of(header - 1) + 1)
    return (failed == 0) & (lost_header == 0)


def _error_variance(variance: Tensor | None, received: Tensor, count: Tensor, air: Air) -> Tensor | None:
    """Variance of the mean of the blocks received, each with its own error: float64 [..., B].

    Args:
        variance: of the values' errors, [..., K, B].
        received: part of each block that was received, [..., K, B].
        count: what the sum was divided by, [..., 1, B].
        air: adds up.
    """
    if variance is None:
        return None
    total = air.sum(torch.where(received > 0, variance * received, 0), dim=-2)
    return (total / count.square().clamp(min=1)).squeeze(-2)
