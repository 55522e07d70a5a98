"""Signed sums by energy: positive entries on one channel use, negative on another, and the receiver takes the difference.

Device k sends energy a^2 |u| / (l_k L) for an entry u on each of L pairs of channel uses (chips), at a random phase: on the
first of a pair if u > 0, else on the second. The estimate of the mean is the sum over the chips of the received energies'
difference E+ - E-, over a^2 K with K devices that send. A complex channel use has noise CN(0, 2 sigma^2), whose mean
energy cancels. Reference: Chen, Bozorgasl, "Resource-element energy difference for noncoherent over-the-air federated
learning" (REED), arXiv:2605.07263.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from laser_wireless.channels.carrier import check_bandwidth, seconds, together
from laser_wireless.channels.constants import taken
from laser_wireless.channels.energy.allocation import (
    Allocation,
    Budget,
    NormAllocation,
    check_budget,
    shares_of,
    spendable,
)
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.participation import Participation
from laser_wireless.channels.radio_link import LinkGain, RadioLink
from laser_wireless.channels.round import LOCAL, Air, Round, Streams
from laser_wireless.channels.scale import OracleScale, ScaleKnowledge, of_valid_rounds, remembered, scale_state
from laser_wireless.channels.segments import Grid, Segments, segments_of
from laser_wireless.channels.signals import is_finite
from laser_wireless.channels.uplinks.energy_gain import EnergyGain, energy_gain, largest_amplitudes, magnitudes
from laser_wireless.channels.uplinks.reception import Reception, UplinkState
from laser_wireless.channels.uplinks.round_start import RoundStart, start_round


class _Plan(NamedTuple):
    """Decided before transmission.

    gain: energies, and the receiver's scale. link_gain: float64 [K]. valid: bool [..., 1]. nonfinite: bool [..., K].
    state: for the next round by stage.
    """

    gain: EnergyGain
    link_gain: Tensor
    valid: Tensor
    nonfinite: Tensor
    state: UplinkState


class _Energies(NamedTuple):
    """difference: real [..., S], sum over the chips of E+ - E-. squares: float64 [..., S], of E+^2 + E-^2."""

    difference: Tensor
    squares: Tensor


@dataclass(frozen=True, kw_only=True)
@checked
class EnergyDifference:
    """Non-coherent over-the-air mean (REED): no gain is known at either end, only the links' mean powers.

    The estimate is unbiased, of messages of any size and sign. Let A+ be the sum of a^2 |u| over the devices whose entry is
    positive, A- over the others. Under Rayleigh fading that is independent from chip to chip ("symbol"; "chip" too, for each
    entry by itself) the sum of the differences has mean A+ - A- and variance

        (A+^2 + A-^2) / L  +  4 sigma^2 (A+ + A-)  +  8 L sigma^4:

    fading falls with the number of chips, signal times noise does not, noise times noise grows. With energy P only the last
    two fall, as 1 / P and 1 / P^2. One device without fading and noise is received exactly.

    The energy of an entry goes with |u|: the devices must share a^2 = min_k P_k l_k / sum |u_k|, for each block of the
    message. A weak link sets it for all; a device that is absent or has P_k = 0 or l_k = 0 never counts.

    Differences from the paper: every block has a gain of its own, by `allocation`, as over `AnalogUplink` (with one block,
    or blocks in the same proportions at all devices, the paper's single gain); the energy limit holds in every round, not on
    average. No gradient flows: amplitudes go with the root of an entry, whose slope at 0 is infinite.

    Args:
        energy_budget: P, energy per device and round; as for `AnalogUplink`.
        noise_variance: sigma^2 per REAL symbol, >= 0; a number or a tensor over the leading axes.
        fading: model of the gains; only their size matters. Nobody knows them.
        link_gain: l, large-scale power gains, one for each device, or a function that draws them once for a run; 1 if None.
            Each device knows its own and makes up for it.
        participation: who takes part; everybody if None. See `channels.participation`.
        num_chips: L, pairs of channel uses for each entry; its energy is spread evenly over them.
        coherence: the gain is constant over the "round"; drawn for each "chip", the same for all entries, which are sent L
            times one after the other; or drawn for each "symbol" and chip. Phases are random for each symbol and chip.
        allocation: of energy to blocks; the norms that it is given are sums of magnitudes here.
        scale: how devices learn a: `OracleScale` or `PreviousScale`.
        bandwidth_hz: complex channel uses per second; gives the ledger its seconds and the fading its times.
    """

    energy_budget: Budget
    noise_variance: float | Tensor = 1.0
    fading: FadingModel = field(default_factory=NoFading)
    link_gain: LinkGain | None = None
    participation: Participation | None = None
    num_chips: int = 1
    coherence: Literal["round", "chip", "symbol"] = "round"
    allocation: Allocation = field(default_factory=NormAllocation)
    scale: ScaleKnowledge = field(default_factory=OracleScale)
    bandwidth_hz: float | None = None

    def __post_init__(self) -> None:
        check_budget(self.energy_budget)
        check_bandwidth(self.bandwidth_hz)
        _ = self.radio  # which checks its own options
        if self.num_chips < 1:
            raise ValueError(
                f"num_chips must be an integer >= 1 (pairs of channel uses for each entry), got {self.num_chips}"
            )

    @cached_property
    def radio(self) -> RadioLink:
        """Fading, large-scale gain and noise."""
        return RadioLink(fading=self.fading, link_gain=self.link_gain, noise_variance=self.noise_variance)

    @torch.no_grad()
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
    ) -> Reception:
        """Carry one round's messages to the receiver.

        The reception's `noise_variance` is measured: half the mean of E+^2 + E-^2 over each block, the variance of E+ - E-
        where energies are exponential, as under Rayleigh fading that is independent from chip to chip.

        Args:
            symbols: float32 or float64 [..., K, S], u_k, real numbers to be averaged over the K devices.
            layout: real symbols of each block, in order, summing to S; each block has its own a.
            round: 0, 1, ...; with `streams` it fixes gains ("gains"), phases ("phases") and noise ("noise").
            streams: the run's random streams.
            air: adds up what the devices send; all must be in this process.
            state: `Reception.state` of the last round: what devices and fading remember.
            share_as: for each block, the block whose sum of magnitudes stands for it in the allocation; itself if None.
            gains: real or complex [..., K, C], drawn elsewhere, C = 1 for a "round", L for each "chip", L S (chip after
                chip) for each "symbol"; otherwise drawn once and shared by all leading axes.

        Raises:
            TypeError: symbols that are not float32 or float64, or an air over processes.
            ValueError: shapes that do not fit.
        """
        now, before, size = Round(round, streams, air), state or {}, symbols.shape[-1]
        segments = segments_of(tuple(layout), Grid(num_slots=1, symbols_per_cell=size))
        start = start_round(symbols, tuple(layout), self._grid(size), now, self, before, gains)
        plan = self._plan(symbols, segments, start, share_as, now, before)
        received = self._received(symbols, segments, start, plan, now)
        scale = plan.gain.scale.squeeze(-2)
        estimate = (received.difference * segments.expand(scale)).to(symbols.dtype)
        error = _means(received.squares / 2, segments) * scale.square()
        finite = is_finite(estimate) & is_finite(error)
        valid = plan.valid & finite
        return Reception(
            estimate=estimate.masked_fill(~valid, 0),
            ledger=self._ledger(plan, start, segments, now, overflow=(plan.valid & ~finite).squeeze(-1)),
            delivered=plan.gain.delivered.masked_fill(~valid.unsqueeze(-1), 0),
            segments=segments,
            noise_variance=error.masked_fill(~valid, 0),
            state=of_valid_rounds(plan.state, before, valid) or None,
        )

    def _grid(self, size: int) -> Grid:
        """Which entries and chips share a gain: slots in the order in which they are sent."""
        if self.coherence == "round":
            return Grid(num_slots=1, symbols_per_cell=size)
        each = 1 if self.coherence == "symbol" else size
        num_slots = self.num_chips * size // each
        return Grid(num_slots=num_slots, symbols_per_cell=each, slot_s=seconds(2 * each, self.bandwidth_hz))

    def _plan(
        self,
        symbols: Tensor,
        segments: Segments,
        start: RoundStart,
        share_as: tuple[int, ...] | None,
        now: Round,
        before: UplinkState,
    ) -> _Plan:
        """Agree on the energy of an entry of size 1."""
        message, last, num_devices = magnitudes(symbols, segments), scale_state(before), symbols.shape[-2]
        link_gain = start.link_gain
        if link_gain is None:
            link_gain = torch.ones(num_devices, dtype=torch.float64, device=symbols.device)
        norms = message.sums if share_as is None else taken(message.sums, share_as)
        current = shares_of(self.allocation, norms, segments.block_sizes, now.air)
        shares = self.scale.shares(current, last)
        energy = (start.energy * spendable(symbols.dtype, symbols.shape[-1])).unsqueeze(-1) * shares
        mean = now.air.sum(start.budget, dim=-1) / num_devices
        limits = largest_amplitudes(message, energy, link_gain)
        common = self.scale.amplitude(limits, mean, last, now.air)
        kept = remembered(self.scale, limits, shares, current, mean, now.air)
        nonfinite = start.nonfinite | ~(message.sums.sum(-1) < torch.inf)
        return _Plan(
            gain=energy_gain(message, energy, link_gain, common=common, limits=limits, air=now.air),
            link_gain=link_gain,
            valid=now.air.max(nonfinite.double(), dim=-1) == 0,
            nonfinite=nonfinite,
            state={**(start.state or {}), **kept},
        )

    def _received(self, symbols: Tensor, segments: Segments, start: RoundStart, plan: _Plan, now: Round) -> _Energies:
        """What the receiver measures, chip after chip."""
        dtype, device = symbols.dtype, symbols.device
        own = segments.expand((plan.gain.amplitude / math.sqrt(self.num_chips)).to(dtype))
        amplitude = torch.where(plan.valid.unsqueeze(-1), own * symbols.abs().sqrt(), 0)  # [..., K, S]
        sent = amplitude * (symbols > 0), amplitude * (symbols < 0)
        reached = plan.gain.amplitude.amax(-1, keepdim=True) > 0
        h = (start.gain_power / plan.link_gain.unsqueeze(-1)).sqrt().masked_fill(~reached, 0).to(dtype)
        per_chip = symbols.shape[-1] if self.coherence == "symbol" else 1
        phases, noise = now.generator("phases", device), now.generator("noise", device)
        difference, squares = symbols.new_zeros(()), symbols.new_zeros((), dtype=torch.float64)
        for chip in range(self.num_chips):
            y = _superposed(sent, _of_chip(h, chip, per_chip), now.air, phases)
            energy = self._noisy(y, noise).square().sum(-1)  # [..., S, 2 channel uses]
            difference = difference + (energy[..., 0] - energy[..., 1])
            squares = squares + energy.double().square().sum(-1)
        return _Energies(difference, squares)

    def _noisy(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Signals [..., S, 2 channel uses, 2 parts] with the receiver's noise."""
        deviation = self.radio.noise_for(y).sqrt().to(y.dtype)[..., None, None, None]
        shape = torch.broadcast_shapes(y.shape, deviation.shape)
        return y + torch.randn(shape, dtype=y.dtype, device=y.device, generator=generator) * deviation

    def _ledger(self, plan: _Plan, start: RoundStart, segments: Segments, now: Round, *, overflow: Tensor) -> Ledger:
        gain, silent = plan.gain, ~plan.valid
        spent = gain.spent.masked_fill(silent, 0)
        peak = gain.peak.masked_fill(silent, 0) / self.num_chips  # of one real symbol, at phase 0
        sends = (gain.active & plan.valid.unsqueeze(-1)).double()
        uses = 2 * segments.num_symbols * self.num_chips
        return Ledger(
            round=now.index,
            num_symbols=segments.num_symbols,
            num_channel_uses=uses,
            seconds=together(start.attendance.seconds, seconds(uses, self.bandwidth_hz)),
            energy_spent=spent,
            energy_allowed=start.budget.expand(spent.shape),
            peak_power=peak,
            papr=peak * 2 * uses / (spent + (spent == 0)),
            active_fraction=segments.mean_over_symbols(sends),
            outage=1 - segments.mean_over_symbols(now.air.max(sends, dim=-2)).squeeze(-1),
            side_information=2 * len(segments.block_sizes),
            known_gains=0,
            nonfinite=plan.nonfinite.expand(spent.shape),
            overflow=overflow,
        )


def _superposed(sent: tuple[Tensor, Tensor], h: Tensor, air: Air, generator: torch.Generator) -> Tensor:
    """What arrives without noise at random phases: real [..., S, 2 channel uses, 2 parts].

    Args:
        sent: amplitudes [..., K, S] on the two channel uses of a pair; of an entry at most one is not 0, and has the phase.
        h: size of the gains, [..., K, S] or [..., K, 1].
        air: adds up.
        generator: draws the phases.
    """
    shape = torch.broadcast_shapes(sent[0].shape, h.shape)
    phase = torch.rand(shape, dtype=h.dtype, device=h.device, generator=generator) * (2 * math.pi)
    waves = phase.cos() * h, phase.sin() * h
    sums = [air.sum(amplitude * wave, dim=-2).squeeze(-2) for amplitude in sent for wave in waves]
    return torch.stack(sums, -1).unflatten(-1, (2, 2))


def _of_chip(values: Tensor, chip: int, width: int) -> Tensor:
    """A chip's part of values [..., L width] or [..., 1]: [..., width] or [..., 1]."""
    return values if values.shape[-1] == 1 else values.narrow(-1, chip * width, width)


def _means(values: Tensor, segments: Segments) -> Tensor:
    """Means over the symbols of each block: float64 [..., S] -> [..., B]."""
    return torch.stack([piece.mean(-1) for piece in torch.split_with_sizes(values, list(segments.block_sizes), -1)], -1)
