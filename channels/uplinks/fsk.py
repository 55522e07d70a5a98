"""Majority vote by frequency-shift keying: no channel knowledge at either end, no phase, no common amplitude.

Each entry has two tones, one complex channel use each. Device k puts energy E_k = P_k / S on the tone of its sign, at a
random phase; the receiver compares the energies E+ and E- of the tones. A complex channel use has noise CN(0, 2 sigma^2).
Reference: Sahin, Everette, Hoque, "Distributed learning over a wireless network with FSK-based majority vote",
arXiv:2111.01850.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from laser_wireless.channels.carrier import check_bandwidth, seconds, together
from laser_wireless.channels.energy.allocation import Budget, check_budget
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.participation import Participation
from laser_wireless.channels.radio_link import LinkGain, RadioLink
from laser_wireless.channels.round import LOCAL, Air, Round, Streams
from laser_wireless.channels.segments import Grid, Segments, segments_of
from laser_wireless.channels.signals import is_finite
from laser_wireless.channels.uplinks.reception import UplinkState
from laser_wireless.channels.uplinks.round_start import RoundStart, start_round


class VoteReception(NamedTuple):
    """What a round of votes gives back.

    estimate: like the symbols, [..., S], the winner of each entry, 1 or -1; 0 in an invalid round.
    ledger: what it cost.
    delivered: float64 [..., K, 1], 1 for a device that voted, 0 for one that is absent or without energy.
    segments: the message as one piece.
    noise_variance: None: what is wrong with a vote is no additive noise.
    state: of a fading process, for the next round.
    """

    estimate: Tensor
    ledger: Ledger
    delivered: Tensor
    segments: Segments
    noise_variance: None
    state: UplinkState | None

    def delivered_symbols(self, symbols: Tensor) -> Tensor:
        """The symbols of the devices that voted: a vote settles them whoever wins, and their size is gone."""
        return symbols * self.delivered.to(symbols.dtype)


@dataclass(frozen=True, kw_only=True)
@checked
class FskMajorityVote:
    """Non-coherent over-the-air vote on the sign of every entry.

    Made for `compression.Sign(rule="vote")`; of any other message the signs are taken and the sizes are lost. A zero casts
    no vote and sends nothing; its energy is saved. An entry for which nobody votes is decided by the noise.

    Under Rayleigh fading, and any E_k = E, E+ is exponential with mean K+ E + 2 sigma^2, K+ the votes for +, so that
    P(estimate = 1) = (K+ E + 2 sigma^2) / ((K+ + K-) E + 4 sigma^2).

    Differences from the paper: no OFDM framing; the votes' phases are uniform instead of QPSK. No gradient flows to the
    message, the gains or the energies.

    Args:
        energy_budget: P, energy per device and round; as for `AnalogUplink`.
        noise_variance: sigma^2 per REAL symbol, >= 0; a number or a tensor over the leading axes.
        fading: model of the gains; only their size matters. Nobody knows them.
        link_gain: large-scale power gains, one for each device, or a function that draws them once for a run; 1 if None.
        participation: who takes part; everybody if None. See `channels.participation`.
        abstain_below: a device abstains on entries smaller than this fraction of its message's root mean square
            (the paper's absentee votes); 0 votes on all but zeros.
        coherence: the gain is constant over the "round" or drawn for each "symbol"; phases are random for each symbol in
            either case.
        bandwidth_hz: complex channel uses per second; gives the ledger its seconds.
    """

    energy_budget: Budget
    noise_variance: float | Tensor = 1.0
    fading: FadingModel = field(default_factory=NoFading)
    link_gain: LinkGain | None = None
    participation: Participation | None = None
    abstain_below: float = 0.0
    coherence: Literal["round", "symbol"] = "round"
    bandwidth_hz: float | None = None

    def __post_init__(self) -> None:
        check_budget(self.energy_budget)
        check_bandwidth(self.bandwidth_hz)
        _ = self.radio  # which checks its own options
        if not 0 <= self.abstain_below < math.inf:
            raise ValueError(
                f"abstain_below must be finite and >= 0 (a fraction of the root mean square), got {self.abstain_below}"
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
    ) -> VoteReception:
        """Carry one round's votes to the receiver.

        Args:
            symbols: float32 or float64 [..., K, S]; their signs are sent.
            layout: real symbols of each block, in order, summing to S; all blocks are treated alike.
            round: 0, 1, ...; with `streams` it fixes gains ("gains"), phases ("phases") and noise ("noise").
            streams: the run's random streams.
            air: adds up what the devices send; all must be in this process.
            state: `VoteReception.state` of the last round, for a fading process.
            share_as: not used: every entry gets the same energy.
            gains: real or complex [..., K, T F], one per round or one per symbol; otherwise drawn once and shared by all
                leading axes.

        Raises:
            TypeError: symbols that are not float32 or float64, or an air over processes.
            ValueError: shapes that do not fit.
        """
        size = symbols.shape[-1]
        by_symbol = self.coherence == "symbol"
        grid = Grid(num_slots=size if by_symbol else 1, symbols_per_cell=1 if by_symbol else size)
        now = Round(round, streams, air)
        start = start_round(symbols, tuple(layout), grid, now, self, state, gains)
        votes = self._votes(symbols, start)
        tones = _tones(votes, start, now.generator("phases", symbols.device))  # [..., S, 2, 2]
        energy = self._noisy(air.sum(tones.unsqueeze(-4), dim=-4).squeeze(-4), now).square().sum(-1)
        decided = energy[..., 0] - energy[..., 1]
        finite = is_finite(decided)
        valid = start.valid & finite
        estimate = decided.sign().to(symbols.dtype).masked_fill(~valid, 0)
        voters = ((start.energy > 0) & valid).double()
        segments = segments_of((size,), Grid(num_slots=1, symbols_per_cell=size))
        ledger = replace(self._ledger(start, votes, round, air), overflow=(start.valid & ~finite).squeeze(-1))
        return VoteReception(estimate, ledger, voters.unsqueeze(-1), segments, None, start.state)

    def _noisy(self, tones: Tensor, now: Round) -> Tensor:
        """Tones [..., S, 2 tones, 2 parts] with the receiver's noise."""
        noise_variance = self.radio.noise_for(tones)
        shape = torch.broadcast_shapes(tones.shape, (*noise_variance.shape, 1, 1, 1))
        n = torch.randn(shape, dtype=tones.dtype, device=tones.device, generator=now.generator("noise", tones.device))
        return tones + n * noise_variance.sqrt().to(tones.dtype)[..., None, None, None]

    def _votes(self, symbols: Tensor, start: RoundStart) -> Tensor:
        """int8 [..., K, S]: 1, -1, or 0 where a device abstains."""
        votes = symbols.sign()
        if self.abstain_below:
            peak = symbols.abs().amax(-1, keepdim=True)
            unit = symbols / peak.masked_fill(peak == 0, 1)
            rms = unit.double().square().mean(-1, keepdim=True).sqrt().to(unit.dtype)
            votes = votes * (unit.abs() >= self.abstain_below * rms)
        allowed = (start.energy > 0) & start.valid
        return torch.where(allowed.unsqueeze(-1), votes, 0).to(torch.int8)

    def _ledger(self, start: RoundStart, votes: Tensor, round: int, air: Air) -> Ledger:
        size = votes.shape[-1]
        cast = (votes != 0).double().mean(-1)  # [..., K]
        spent = start.energy.detach() * cast
        peak = start.energy.detach() / size * (cast > 0)  # of one real symbol, at phase 0
        nobody = air.max((votes != 0).double(), dim=-2).squeeze(-2) == 0
        uses = 2 * size
        return Ledger(
            round=round,
            num_symbols=size,
            num_channel_uses=uses,
            seconds=together(start.attendance.seconds, seconds(uses, self.bandwidth_hz)),
            energy_spent=spent,
            energy_allowed=start.budget.expand(spent.shape),
            peak_power=peak,
            papr=peak * 2 * uses / (spent + (spent == 0)),
            active_fraction=cast,
            outage=nobody.double().mean(-1),
            side_information=0,
            known_gains=0,
            nonfinite=start.nonfinite.expand(spent.shape),
        )


def _tones(votes: Tensor, start: RoundStart, generator: torch.Generator) -> Tensor:
    """What arrives of all devices without noise: real [..., S, 2 tones, 2 parts], device by device to save memory."""
    size = votes.shape[-1]
    power = start.gain_power * start.energy.unsqueeze(-1) / size  # [..., K, 1 or S]
    amplitude = power.sqrt().float()
    total: Tensor | None = None
    for device_index in range(votes.shape[-2]):
        vote, size_of = votes[..., device_index, :], amplitude[..., device_index, :]
        phase = torch.rand(vote.shape, device=votes.device, generator=generator) * (2 * math.pi)
        wave = torch.stack([phase.cos(), phase.sin()], -1) * size_of.unsqueeze(-1)
        for_plus = (vote == 1).unsqueeze(-1)
        for_minus = (vote == -1).unsqueeze(-1)
        sent = torch.stack([wave * for_plus, wave * for_minus], -2)
        total = sent if total is None else total + sent
    assert total is not None  # there is at least one device
    return total
