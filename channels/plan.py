"""The plan of a round: all that is settled before the symbols go on the air.

    gains -> who takes part -> knowledge of the gains -> energy per block -> precoders b and combiner w

With a combiner w the N_r antennas are one receiver of gain w^H h_k for device k and of noise power ||w||^2 sigma^2, so that
their signals need not be formed. Everything here has one number for each piece of the message, none for each symbol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from laser_wireless.channels.csi import Csi, Knowledge, apply_csi, num_shared, stages_of
from laser_wireless.channels.fading import NoFading, draw_gains
from laser_wireless.channels.norms import spendable
from laser_wireless.channels.power_control import Agreement, Transceiver
from laser_wireless.channels.propagation.multipath import Multipath, as_fading
from laser_wireless.channels.propagation.paths import draw_paths, frequency_response
from laser_wireless.channels.receivers import delivered_by
from laser_wireless.channels.reception import NOTHING, UplinkState
from laser_wireless.channels.round_input import device_budgets, given_gains, large_scale
from laser_wireless.channels.segments import Grid, Segments, root, segments_of
from laser_wireless.channels.straddling import cross_energy
from laser_wireless.channels.streams import Streams
from laser_wireless.channels.superposition import Air
from torch import Tensor

if TYPE_CHECKING:
    from laser_wireless.channels.uplink import AnalogUplink


class Plan(NamedTuple):
    """Everything of a round that is settled before the symbols go on the air.

    segments: the G pieces of the message.
    gains: real or complex, broadcastable to [..., K, G] ([..., K, N_r, G] with a combiner); true, with large-scale gain.
    taps: complex [..., K, N_r, T, L] of a waveform in time, None otherwise.
    transceiver: precoders; its scale is the combiner of a single antenna.
    combiner: w, complex [..., N_r, G], None with a single antenna that only rescales.
    norms, peaks: float64 and real [..., K, G], of the message.
    budget: float64, broadcastable to [..., K]. data_budget: the same, less what pilots take; 0 for absent devices.
    energy: float64 [..., K], of what the precoders give, sum of |x|^2 over channel uses; without prefix and pilots.
    valid: bool [..., 1]. nonfinite: bool [..., K]. unsettled: bool [..., 1], no finite precoders or combiner were found.
    knowledge: of the transmitters. pilot_energy: float64, broadcastable to [..., K]. pilot_uses: channel uses of all pilots.
    shared_numbers: that the devices must share beside amplitude and energy of each block.
    waiting_s: seconds until the server stopped waiting for devices, None where no time is known.
    state: for the next round, if this one turns out valid; see `UplinkState.after`.
    """

    segments: Segments
    gains: Tensor
    taps: Tensor | None
    transceiver: Transceiver
    combiner: Tensor | None
    norms: Tensor
    peaks: Tensor
    budget: Tensor
    data_budget: Tensor
    energy: Tensor
    valid: Tensor
    nonfinite: Tensor
    unsettled: Tensor
    knowledge: Knowledge
    pilot_energy: Tensor | None
    pilot_uses: int
    shared_numbers: int
    waiting_s: Tensor | None
    state: UplinkState | None

    @property
    def arriving(self) -> Tensor:
        """What the estimate holds of each device: w^H h_k b_k, real or complex, broadcastable to [..., K, G]."""
        b = self.transceiver.precoder
        if self.combiner is None:
            return self.transceiver.scale * self.gains * b
        return (self.combiner.conj().unsqueeze(-3) * self.gains).sum(-2) * b

    @property
    def noise_amplitude(self) -> Tensor:
        """||w||, float64 [..., G]: noise of the estimate over noise of the receiver."""
        if self.combiner is None:
            return self.transceiver.scale.squeeze(-2)
        return root(self.combiner.abs().square().sum(-2)).double()


@dataclass(frozen=True)
class _Gains:
    """True gains of the cells: small-scale h [..., K | 1, N_r | 1, C | 1], taps, and the fading's state."""

    h: Tensor
    taps: Tensor | None
    state: dict[str, Tensor]


def make_plan(
    uplink: AnalogUplink,
    symbols: Tensor,
    layout: tuple[int, ...],
    *,
    round: int,
    streams: Streams,
    air: Air,
    state: UplinkState | None,
    share_as: tuple[int, ...] | None,
    gains: Tensor | None,
) -> Plan:
    """Settle a round; arguments as in `AnalogUplink.aggregate`."""
    num_devices = symbols.shape[-2]
    before = NOTHING if state is None else state
    segments = segments_of(layout, uplink.grid(layout))
    drawn = _draw(uplink, symbols, num_devices, segments.grid, round, streams, before, gains)
    norms, peaks = segments.measure(symbols)
    budget = device_budgets(uplink.energy_budget, round, symbols)
    present, waiting_s = budget, None
    if uplink.participation is not None:
        generator = streams.generator("participation", round, symbols.device)
        attendance = uplink.participation(num_devices, round=round, generator=generator)
        present, waiting_s = budget * attendance.present, attendance.seconds

    link_gain = large_scale(uplink.link_gain, num_devices, streams, symbols.device)
    noise_variance = uplink.noise_variance_like(symbols)
    perfect = Knowledge(drawn.h, free=gains is not None or not isinstance(uplink.fading, NoFading))
    own, theirs, csi_state = _knowledge(
        uplink, perfect, num_devices, present, noise_variance, link_gain, round, streams, before
    )
    pilots = [k.energy for k in (own, theirs) if k.energy is not None]
    pilot_energy = None if not pilots else sum(pilots[1:], pilots[0])
    data_budget = present if pilot_energy is None else (present - pilot_energy).clamp(min=0)

    amplitude = None if link_gain is None else root(link_gain)[:, None, None]
    distinct = {id(k): k for k in (drawn.h, own.h, theirs.h)}
    spread = {key: _spread(k, amplitude, segments) for key, k in distinct.items()}
    h, known, heard = spread[id(drawn.h)], spread[id(own.h)], spread[id(theirs.h)]
    taps = drawn.taps if drawn.taps is None or amplitude is None else drawn.taps * amplitude.unsqueeze(-1)
    nonfinite = ~((_sum_of_magnitudes(norms, h, known, heard) + budget < torch.inf) & (budget >= 0))  # [..., K]
    finite = air.max(nonfinite.to(norms.dtype), dim=-1) == 0  # [..., 1]

    mean_budget = air.sum(budget.expand(*budget.shape[:-1], num_devices), dim=-1) / num_devices  # [..., 1]
    current = _shares(uplink, segments, norms, share_as, air)
    shares = uplink.scale.shares(current, before.scale)
    margin = spendable(symbols.dtype, segments.num_symbols) / uplink.prefix_overhead
    energy = margin * data_budget.unsqueeze(-1) * shares  # [..., K|1, B]

    limits: list[Tensor] = []

    def common_amplitude(affordable: Tensor) -> Tensor:
        limits.append(affordable)
        return uplink.scale.amplitude(affordable, mean_budget, before.scale, air)

    agreement = Agreement(segments, air, common_amplitude, peaks=peaks, link_gain=link_gain)
    transceiver, combiner = _settle(uplink, known, heard, norms, energy, noise_variance, agreement)
    spent = (transceiver.precoder.abs() * norms).square().sum(-1)  # [..., K]
    crosses = uplink.baseband == "complex" and segments.straddles and transceiver.precoder.is_complex()
    if crosses:
        cross = cross_energy(segments, transceiver.precoder, symbols)
        transceiver, combiner, spent = _lowered(transceiver, combiner, spent, cross, margin * data_budget, air)
    settled = _is_settled(transceiver, combiner, spent, air)
    valid = finite & settled
    after = uplink.scale.remember(_at_shares(limits[-1], shares, current), current, mean_budget, air) if limits else None
    kept = UplinkState(after, drawn.state, csi_state) if after is not None or drawn.state or csi_state else None
    return Plan(
        segments=segments,
        gains=h if not uplink.single_antenna else h.squeeze(-2),
        taps=taps,
        transceiver=transceiver,
        combiner=combiner,
        norms=norms,
        peaks=peaks,
        budget=budget,
        data_budget=data_budget,
        energy=spent.detach().masked_fill(~valid, 0),
        valid=valid,
        nonfinite=nonfinite,
        unsettled=finite & ~settled,
        knowledge=own,
        pilot_energy=pilot_energy,
        pilot_uses=own.num_channel_uses + theirs.num_channel_uses,
        shared_numbers=int(combiner is not None and crosses),
        waiting_s=waiting_s,
        state=kept,
    )


def _shares(uplink: AnalogUplink, segments: Segments, norms: Tensor, share_as: tuple[int, ...] | None, air: Air) -> Tensor:
    """Each block's part of the energy by this round's norms: float64 [..., 1 | K, B]."""
    block_norms = norms if segments.are_blocks else root(segments.sum_in_blocks(norms.square()))
    weights = block_norms if share_as is None else block_norms[..., list(share_as)]
    shares = uplink.allocation(weights, segments.block_sizes, air).clamp(min=0)
    shares = shares + (shares.sum(-1, keepdim=True) == 0)  # nothing to send: equal parts
    return shares / shares.sum(-1, keepdim=True)


def _draw(
    uplink: AnalogUplink,
    symbols: Tensor,
    num_devices: int,
    grid: Grid,
    round: int,
    streams: Streams,
    before: UplinkState,
    given: Tensor | None,
) -> _Gains:
    """The round's true small-scale gains."""
    if given is not None:
        if uplink.in_time_domain:
            raise ValueError(
                "gains cannot be given for an OFDM waveform in the time domain, which needs taps; give a fading"
            )
        return _Gains(given_gains(given, num_devices, uplink.num_rx_antennas, grid), None, {})
    if isinstance(uplink.fading, NoFading) and not uplink.in_time_domain:
        return _Gains(torch.ones(1, 1, 1, dtype=symbols.dtype, device=symbols.device), None, {})
    generator = streams.generator("gains", round, symbols.device)
    if not uplink.in_time_domain:
        h, after = draw_gains(
            uplink.fading,
            num_devices,
            grid,
            round=round,
            generator=generator,
            num_rx_antennas=uplink.num_rx_antennas,
            state=before.fading,
        )
        return _Gains(h, None, after)
    return _draw_taps(uplink, symbols, num_devices, grid, round, generator, before)


def _draw_taps(
    uplink: AnalogUplink,
    symbols: Tensor,
    num_devices: int,
    grid: Grid,
    round: int,
    generator: torch.Generator,
    before: UplinkState,
) -> _Gains:
    """Taps of the waveform, and the gains of the cells that follow from the same paths."""
    ofdm, slot_s, block_hz = uplink.ofdm, grid.slot_s, grid.block_hz
    assert ofdm is not None
    assert slot_s is not None
    assert block_hz is not None
    fading = as_fading(uplink.fading)
    if isinstance(fading, Multipath):
        times = torch.arange(grid.num_slots, dtype=torch.float64, device=symbols.device) * slot_s
        a, tau, after = draw_paths(
            fading.paths,
            num_devices,
            uplink.num_rx_antennas,
            times,
            round=round,
            generator=generator,
            state=before.fading or None,
        )
        blocks = torch.arange(grid.num_frequency_blocks, dtype=torch.float64, device=symbols.device)
        h = frequency_response(a, tau, (blocks - (grid.num_frequency_blocks - 1) / 2) * block_hz)
        return _Gains(h.flatten(-2), ofdm.taps(a, tau), after)
    flat = Grid(num_slots=grid.num_slots, symbols_per_cell=grid.symbols_per_cell, slot_s=slot_s)
    h, after = draw_gains(
        uplink.fading,
        num_devices,
        flat,
        round=round,
        generator=generator,
        num_rx_antennas=uplink.num_rx_antennas,
        state=before.fading,
    )
    h = h.to(torch.promote_types(h.dtype, torch.complex64)).expand(num_devices, uplink.num_rx_antennas, grid.num_slots)
    return _Gains(h.repeat_interleave(grid.num_frequency_blocks, -1), h.unsqueeze(-1), after)


def _knowledge(
    uplink: AnalogUplink,
    perfect: Knowledge,
    num_devices: int,
    budget: Tensor,
    noise_variance: Tensor,
    link_gain: Tensor | None,
    round: int,
    streams: Streams,
    before: UplinkState,
) -> tuple[Knowledge, Knowledge, dict[str, dict[str, Tensor]]]:
    """What transmitters and receiver know of the small-scale gains; stages that both begin with are passed and paid once.

    Returns:
        the transmitters' knowledge with its prices, the receiver's with those that come on top, and the stages' states.
    """
    own_stages, their_stages = stages_of(uplink.csi), stages_of(uplink.receiver_csi)
    if not own_stages and not their_stages:
        return perfect, perfect, {}
    shared = num_shared(own_stages, their_stages)
    h = perfect.h.to(torch.promote_types(perfect.h.dtype, torch.complex64))
    h = h.expand(*h.shape[:-3], num_devices, uplink.num_rx_antennas, -1)
    per_device = noise_variance.unsqueeze(-1) * uplink.prefix_overhead
    if link_gain is not None:
        reached = link_gain > 0
        per_device = torch.where(reached, per_device / torch.where(reached, link_gain, 1), 0)
    generators = {side: streams.generator(f"csi of {side}", round, h.device) for side in ("transmitters", "receiver")}
    states: dict[str, dict[str, Tensor]] = {side: {} for side in generators}

    def know(side: str, stages: tuple[Csi, ...], known: Knowledge, *, energy: Tensor, first_place: int) -> Knowledge:
        known, after = apply_csi(
            stages,
            known,
            energy=energy,
            noise_variance=per_device,
            generator=generators[side],
            state=before.csi.get(side, {}),
            first_place=first_place,
        )
        states[side].update(after)
        return known

    both = know("transmitters", own_stages[:shared], perfect._replace(h=h), energy=budget, first_place=0)
    own = know("transmitters", own_stages[shared:], both, energy=budget, first_place=shared)
    left = budget if own.energy is None else (budget - own.energy).clamp(min=0)
    theirs = know("receiver", their_stages[shared:], Knowledge(both.h), energy=left, first_place=shared)
    states = {side: places for side, places in states.items() if places}
    return own if own_stages else perfect, theirs if their_stages else perfect, states


def _settle(
    uplink: AnalogUplink,
    known: Tensor,
    heard: Tensor,
    norms: Tensor,
    energy: Tensor,
    noise_variance: Tensor,
    agreement: Agreement,
) -> tuple[Transceiver, Tensor | None]:
    """Precoders and combiner: the receiver chooses a beam, the devices amplitudes for it, the receiver its combiner."""
    if uplink.single_antenna:
        h = known.squeeze(-2)
        return uplink.power_control(h, norms, energy, noise_variance, agreement=agreement), None
    receiver, air, num_devices = uplink.receiver, agreement.air, norms.shape[-2]
    shape = (num_devices, uplink.num_rx_antennas, norms.shape[-1])
    norms, energy = (values.nan_to_num(0, 0, 0) for values in (norms, energy))  # a void round; solvers raise on NaN
    known, heard = (_finite(k) for k in (known, heard))
    known, heard = (k.to(torch.complex128).expand(*k.shape[:-3], *shape) for k in (known, heard))
    power = norms.square() / agreement.segments.lengths_like(norms)
    w = receiver.beam(heard, air)
    for _ in range(receiver.alternations + 1):
        length = root(w.abs().square().sum(-2, keepdim=True))
        beam = w / torch.where(length > 0, length, 1)
        effective = (beam.conj().unsqueeze(-3) * known).sum(-2)
        transceiver = uplink.power_control(effective, norms, energy, noise_variance, agreement=agreement)
        arriving = heard * transceiver.precoder.unsqueeze(-2)
        w = receiver.combine(arriving, beam, transceiver, power, noise_variance, air)
    delivered = delivered_by(receiver, w, arriving, transceiver, air=air)
    return transceiver._replace(delivered=delivered), w


def _lowered(
    transceiver: Transceiver, combiner: Tensor | None, energy: Tensor, cross: Tensor, limit: Tensor, air: Air
) -> tuple[Transceiver, Tensor | None, Tensor]:
    """Lower all devices together where channel uses that two blocks share would break a device's limit.

    The receiver makes up for it: what it counts of each device stays, its noise grows.

    Args:
        transceiver: precoders that keep every limit symbol by symbol.
        combiner: w, None with a single antenna.
        energy: float64 [..., K], of the symbols.
        cross: float64 [..., K], what shared channel uses add; see `cross_energy`.
        limit: float64, broadcastable to [..., K].
        air: agrees on the factor.

    Returns:
        transceiver, combiner and the energy [..., K] that is then sent.
    """
    total = energy + cross
    limit = torch.maximum(limit, energy)  # a policy that breaks the limit by itself is found out by the ledger
    silent = limit == 0
    excess = (total / limit.masked_fill(silent, 1)).masked_fill(silent, 0)
    factor = root(air.max(excess, dim=-1).clamp(min=1)).unsqueeze(-1)  # [..., 1, 1]
    lower = transceiver._replace(precoder=transceiver.precoder / factor, scale=transceiver.scale * factor)
    return lower, None if combiner is None else combiner * factor, total / factor.squeeze(-1).square()


def _is_settled(transceiver: Transceiver, combiner: Tensor | None, energy: Tensor, air: Air) -> Tensor:
    """Whether precoders and combiner are numbers: bool [..., 1]."""
    w = transceiver.scale.squeeze(-2) if combiner is None else combiner.abs().sum(-2)  # [..., G]
    unsettled = air.max((~energy.isfinite()).double(), dim=-1) > 0
    return ~(unsettled | w.isnan().any(-1, keepdim=True))


def _finite(h: Tensor) -> Tensor:
    """Gains with 0 for those that are not finite."""
    return torch.where(h.isfinite(), h, torch.zeros_like(h))


def _spread(h: Tensor, amplitude: Tensor | None, segments: Segments) -> Tensor:
    """Gains of the cells [..., K, N_r, C] over the segments [..., K, N_r, G], with the large-scale amplitude [K, 1, 1]."""
    h = segments.gains_of(h)
    return h if amplitude is None else h * amplitude


def _sum_of_magnitudes(norms: Tensor, *gains: Tensor) -> Tensor:
    """A sum [..., K] of terms >= 0: not finite if one of them is not, or if a message's energy is not."""
    total = norms.square().sum(-1)
    for h in {id(h): h for h in gains}.values():
        total = total + h.abs().sum((-1, -2))
    return total


def _at_shares(limits: Tensor, used: Tensor, shares: Tensor) -> Tensor:
    """What devices could afford [..., K, B] with other shares of their energy: amplitudes go with the root of a share."""
    return limits if used is shares else torch.where(limits.isinf(), limits, limits * root(shares / used))
