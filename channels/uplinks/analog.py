"""The uplink's round: message -> energy per block -> precoding -> fading -> superposition -> noise -> estimate of the mean.

    y = sum_k h_k b_k u_k + n,    estimate = w^H y,    sum over symbols of |b_k u_k|^2 <= P_k for every device, always

n is N(0, sigma^2) per real symbol and antenna, once, at the receiver. A complex baseband carries two real symbols in a
channel use, x = b (u_I + j u_Q) with noise CN(0, 2 sigma^2); both basebands give the same estimate for the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from laser_wireless.channels.brief import brief
from laser_wireless.channels.carrier import (
    Baseband,
    Carrier,
    Coherence,
    SingleCarrier,
    as_channel_uses,
    channel_uses,
    together,
)
from laser_wireless.channels.csi.contract import Csi
from laser_wireless.channels.csi.models import PerfectCsi
from laser_wireless.channels.csi.observation import Known, Observation, observation
from laser_wireless.channels.energy.allocation import (
    Allocation,
    Budget,
    Energies,
    EnergyOfRound,
    NormAllocation,
    shares_of,
    spendable,
)
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.hardware.impairments import Impairment
from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.parameters import check_fields
from laser_wireless.channels.participation import Participation
from laser_wireless.channels.power_control.contract import Agreement, PowerControl
from laser_wireless.channels.power_control.inversion import AlignedInversion
from laser_wireless.channels.radio_link import LinkGain, RadioLink
from laser_wireless.channels.receivers.contract import Receiver
from laser_wireless.channels.receivers.single_antenna import SingleAntenna
from laser_wireless.channels.round import LOCAL, Air, Round, StackedStreams, Streams
from laser_wireless.channels.scale import OracleScale, ScaleKnowledge, of_valid_rounds, remembered, scale_state
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.signals import is_finite
from laser_wireless.channels.uplinks.medium import Arrival, Medium, SegmentMedium, transmitted
from laser_wireless.channels.uplinks.plan import (
    Combining,
    Designer,
    MadeDesign,
    MeasuredMessage,
    Plan,
    Rescaling,
    lowered,
    measured,
    measured_in_parts,
    nonfinite,
)
from laser_wireless.channels.uplinks.reception import Reception, UplinkState
from laser_wireless.channels.uplinks.sample_path import Channel, SampleMedium
from laser_wireless.channels.waveform import Ofdm


@dataclass(frozen=True, kw_only=True)
class AnalogUplink:
    """Uncoded over-the-air aggregation: the devices' symbols add up in the air.

    Args:
        energy_budget: P, energy per device and round over all symbols; a number, one per device, a tensor
            broadcastable to [..., K], or a function of the round (`LinearEnergy`, `StepEnergy`, your own).
        noise_variance: sigma^2 per REAL symbol and antenna, absolute, >= 0; a number or a tensor over the leading axes.
        fading: small-scale gains, a model or a function; see `channels.fading`.
        link_gain: large-scale power gains, one for each device, or a function that draws them once for a run; 1 if None.
        num_rx_antennas: N_r of the receiver.
        csi: what the devices know of the small-scale gains; one model, or several in a row (pilots, then a delay).
        receiver_csi: what a receiver that combines knows (`SingleAntenna` goes by the scale that the power control chose);
            the same pilots serve both sides and are paid once.
        participation: who takes part; everybody if None. See `channels.participation`.
        power_control: a policy or a function; see `channels.power_control`.
        receiver: how several antennas are combined; see `channels.receivers`.
        allocation: of energy to blocks; `NormAllocation` as published, `LeastNoiseAllocation`, `UniformAllocation` or a
            function; see `channels.energy`.
        scale: how devices learn the common amplitude: `OracleScale` (as published) or `PreviousScale`.
        impairments: stages that the devices' samples pass before the channel; see `channels.hardware.impairments`.
        front_end: stages that the antennas' samples pass before the combiner: interference, converters.
        channel: a function of your own from the samples sent to those received, for fading; see `channels.sample_path`.
        ofdm: resource grid and waveform; None for a single carrier.
        coherence: without OFDM, the gain is constant over a "round", a "block" of the message, or a "symbol" (one channel
            use), or over so many real symbols.
        baseband: "complex" (two real symbols per channel use) or "real" (one). The estimate is the same.
        bandwidth_hz: channel uses per second, without OFDM; gives the ledger its seconds and the fading its times.
    """

    superposes: ClassVar[bool] = True  # over any air; see `Uplink`

    energy_budget: Budget
    noise_variance: float | Tensor = 1.0
    fading: FadingModel = field(default_factory=NoFading)
    link_gain: LinkGain | None = None
    num_rx_antennas: int = 1
    csi: Csi | list[Csi] = field(default_factory=PerfectCsi)
    receiver_csi: Csi | list[Csi] = field(default_factory=PerfectCsi)
    participation: Participation | None = None
    power_control: PowerControl = field(default_factory=AlignedInversion)
    receiver: Receiver = field(default_factory=SingleAntenna)
    allocation: Allocation = field(default_factory=NormAllocation)
    scale: ScaleKnowledge = field(default_factory=OracleScale)
    impairments: list[Impairment] = field(default_factory=list)
    front_end: list[Impairment] = field(default_factory=list)
    channel: Channel | None = None
    ofdm: Ofdm | None = None
    coherence: Coherence = "round"
    baseband: Baseband = "complex"
    bandwidth_hz: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        self._check_together()

    def __repr__(self) -> str:
        return brief(self)

    @cached_property
    def carrier(self) -> Carrier:
        """How a message lies on time and frequency."""
        if self.ofdm is not None:
            return self.ofdm
        return SingleCarrier(coherence=self.coherence, baseband=self.baseband, bandwidth_hz=self.bandwidth_hz)

    @cached_property
    def radio(self) -> RadioLink:
        """Fading, large-scale gain, antennas and noise."""
        return RadioLink(
            fading=self.fading,
            link_gain=self.link_gain,
            num_rx_antennas=self.num_rx_antennas,
            noise_variance=self.noise_variance,
            waveform=self._waveform,
        )

    @cached_property
    def medium(self) -> Medium:
        """What lies between precoders and estimate: gains over segments, or every sample."""
        if not (self.impairments or self.front_end or self.channel is not None or self._waveform is not None):
            return SegmentMedium(carrier=self.carrier)
        return SampleMedium(
            impairments=self.impairments,
            front_end=self.front_end,
            channel=self.channel,
            waveform=self._waveform,
            num_rx_antennas=self.num_rx_antennas,
            prefix_overhead=1.0 if self._waveform is not None else self.carrier.prefix_overhead,
            bandwidth_hz=self.bandwidth_hz,
        )

    @property
    def _waveform(self) -> Ofdm | None:
        """What is sent sample by sample, if anything."""
        return self.ofdm if self.ofdm is not None and self.ofdm.time_domain else None

    @cached_property
    def _observe(self) -> Observation:
        return observation(self.csi, self.receiver_csi, self.carrier.prefix_overhead)

    @cached_property
    def _energies(self) -> EnergyOfRound:
        return EnergyOfRound(self.energy_budget, self.participation)

    @cached_property
    def _designer(self) -> Designer:
        if isinstance(self.receiver, SingleAntenna):
            return Rescaling(self.power_control)
        return Combining(self.power_control, self.receiver, self.num_rx_antennas)

    def grid(self, layout: tuple[int, ...]) -> Grid:
        """Where the symbols lie, by OFDM or by the coherence asked for."""
        return self.carrier.cells(tuple(layout))

    def plan(
        self,
        symbols: Tensor,
        layout: tuple[int, ...],
        *,
        round: int,
        streams: Streams | StackedStreams,
        air: Air = LOCAL,
        state: UplinkState | None = None,
        share_as: tuple[int, ...] | None = None,
        gains: Tensor | None = None,
    ) -> Plan:
        """Decide gains, energies, precoders and the receiver's combiner; arguments as in `aggregate`."""
        message = measured(symbols, tuple(layout), self.carrier, air)
        return self._planned(message, symbols, Round(round, streams), state or {}, share_as, gains)

    def _planned(
        self,
        message: MeasuredMessage,
        like: Tensor,
        now: Round,
        before: UplinkState,
        share_as: tuple[int, ...] | None,
        gains: Tensor | None = None,
    ) -> Plan:
        """The plan for messages of all devices, of which some, [..., k, S], show dtype, place and leading axes."""
        noise_variance = self.radio.noise_for(like)
        num_devices, grid = message.norms.shape[-2], message.segments.grid
        drawn = self.radio.draw(num_devices, grid, now, like=like, state=before.get("fading"), given=gains)
        h = drawn.over(message.segments, drawn.cells)
        energy = self._energies(message.norms, now)
        known = self._observe(drawn, h, message.segments, energy.present, noise_variance, now, before.get("csi", {}))
        broken, finite = nonfinite(message.norms, energy.budget, h, known.by_transmitters, known.by_receiver, air=now.air)
        made = self._made(like, message, energy, known, drawn.link_gain, noise_variance, share_as, now, before)
        valid = finite & made.settled
        return Plan(
            message=message,
            gains=h,
            taps=drawn.taps,
            energies=energy,
            known=known,
            design=made.design,
            noise_amplitude=self._designer.noise_amplitude(made.design.combiner),
            arriving=self._designer.through(made.design.combiner, h) * made.design.transceiver.precoder,
            noise_variance=noise_variance,
            num_agreed=made.num_agreed,
            energy=made.energy.detach().masked_fill(~valid, 0),
            valid=valid,
            nonfinite=broken,
            unsettled=finite & ~made.settled,
            state={**made.scale, **drawn.state, **known.state},
        )

    def _made(
        self,
        like: Tensor,
        message: MeasuredMessage,
        energy: Energies,
        known: Known,
        link_gain: Tensor | None,
        noise_variance: Tensor,
        share_as: tuple[int, ...] | None,
        now: Round,
        before: UplinkState,
    ) -> MadeDesign:
        """Split the energy over the blocks and design transmitters and receiver for it."""
        last, segments = scale_state(before), message.segments
        agreement = Agreement(
            segments,
            now.air,
            lambda limits: self.scale.amplitude(limits, energy.mean, last, now.air),
            peaks=message.peaks,
            link_gain=link_gain,
        )
        current = shares_of(self.allocation, message.block_norms(share_as), segments.block_sizes, now.air)
        shares = self.scale.shares(current, last)
        limit = spendable(like.dtype, like.shape[-1]) / self.carrier.prefix_overhead * known.left
        design = self._designer(known, message.norms, limit.unsqueeze(-1) * shares, noise_variance, agreement)
        spent, num_agreed = design.energy(message.norms), 0
        if message.shared is not None and design.transceiver.precoder.is_complex():
            design, spent = lowered(design, spent, message.shared, limit, agreement)
            num_agreed = self._designer.num_agreed
        scale = remembered(self.scale, design.transceiver.limits, shares, current, energy.mean, now.air)
        return MadeDesign(design, spent, design.is_finite(spent, now.air), num_agreed, scale)

    def transmit(self, symbols: Tensor, plan: Plan) -> Tensor:
        """Form what each device puts on the air, for study; `aggregate` does so only where it goes sample by sample.

        Its energy, the sum of |x|^2, is `Plan.energy`: at most the device's budget. Nothing is sent in an invalid round.

        Returns:
            x: complex [..., K, ceil(S / 2)] on a complex baseband, else real or complex [..., K, S] (complex where the
            precoder turns the phase).
        """
        x = transmitted(symbols, plan)
        return x if self.baseband == "real" else as_channel_uses(x)

    def aggregate(
        self,
        symbols: Tensor,
        layout: tuple[int, ...],
        *,
        round: int,
        streams: Streams | StackedStreams,
        air: Air = LOCAL,
        state: UplinkState | None = None,
        share_as: tuple[int, ...] | None = None,
        gains: Tensor | None = None,
    ) -> Reception:
        """Carry one round's messages to the receiver.

        Args:
            symbols: float32 or float64 [..., K, S], u_k, real numbers to be averaged over the K devices.
            layout: real symbols of each block, in order, summing to S; each block has its own scale.
            round: 0, 1, ...; with `streams` it fixes gains ("gains") and noise ("noise").
            streams: the run's random streams.
            air: who adds up.
            state: `Reception.state` of the last round: what devices, fading and knowledge remember.
            share_as: for each block, the block whose norm stands for it in the allocation; itself if None.
            gains: real or complex [..., K, T F] ([..., K, N_r, T F] with several antennas), drawn elsewhere (`draw_rounds`
                for Monte-Carlo); otherwise drawn once and shared by all leading axes. The noise is independent along them.

        Raises:
            TypeError: symbols that are not float32 or float64.
            ValueError: shapes that do not fit.
        """
        plan = self.plan(symbols, layout, round=round, streams=streams, air=air, state=state, share_as=share_as, gains=gains)
        now = Round(round, streams, air)
        arrival = self.medium.carry(symbols, plan, now)
        return self._receive(plan, arrival, now, state or {})

    def aggregate_in_parts(
        self,
        parts: Callable[[], Iterable[Tensor]],
        layout: tuple[int, ...],
        *,
        num_devices: int,
        round: int,
        streams: Streams,
        state: UplinkState | None = None,
        share_as: tuple[int, ...] | None = None,
    ) -> Reception:
        """Carry messages that never lie side by side: what `aggregate` gives, up to the order of additions.

        Memory grows with K only by a few numbers for each device and block.

        Args:
            parts: gives the messages [k, S] of all devices in their order, some devices at a time; called twice, to measure
                and to send, and must give the same both times.
            num_devices: K.
            layout, round, streams, state, share_as: as in `aggregate`.

        Raises:
            ValueError: the uplink has stages that hear every sample (hardware, a waveform in time, a channel of one's own),
                or the messages are of another number of devices.
            RuntimeError: the messages to be sent are not those that were measured.
        """
        medium = self.medium
        if not isinstance(medium, SegmentMedium):
            raise ValueError(
                "messages in parts need gains that are constant over segments, but impairments, front_end, channel or "
                "ofdm.time_domain hear every sample of every device; leave them out, or send all messages at once"
            )
        now, before = Round(round, streams), state or {}
        message, like = measured_in_parts(parts(), num_devices, tuple(layout), self.carrier)
        plan = self._planned(message, like, now, before, share_as)
        return self._receive(plan, medium.carry_in_parts(parts(), like, plan, now), now, before)

    def _receive(self, plan: Plan, arrival: Arrival, now: Round, before: UplinkState) -> Reception:
        """The estimate, unless it left the range of its dtype, and the account of the round."""
        estimate = arrival.estimate
        finite = is_finite(estimate)  # [..., 1]
        valid = plan.valid & finite
        estimate = estimate.masked_fill(~valid, 0) if estimate.requires_grad else estimate.masked_fill_(~valid, 0)
        return Reception(
            estimate=estimate,
            ledger=self._ledger(plan, arrival, now, overflow=(plan.valid & ~finite).squeeze(-1)),
            delivered=now.air.own(plan.design.transceiver.delivered, -2).masked_fill(~valid.unsqueeze(-1), 0),
            segments=plan.message.segments,
            noise_variance=arrival.noise_variance.masked_fill(~valid, 0),
            state=of_valid_rounds(plan.state, before, valid) or None,
        )

    def _ledger(self, plan: Plan, arrival: Arrival, now: Round, *, overflow: Tensor) -> Ledger:
        segments, known = plan.message.segments, plan.known
        silent = ~plan.valid
        spent, peak = arrival.energy.masked_fill(silent, 0), arrival.peak_power.masked_fill(silent, 0)
        papr = peak * arrival.num_real_samples / (spent + (spent == 0))
        spent = spent * arrival.prefix
        if known.pilot_energy is not None:
            spent = spent + known.pilot_energy.detach().expand(spent.shape).masked_fill(silent, 0)
        sends = (plan.design.transceiver.active & plan.valid.unsqueeze(-1)).double()  # [..., K|1, G|1]
        outage = 1 - segments.mean_over_symbols(sends.amax(-2, keepdim=True)).squeeze(-1)
        return Ledger(
            round=now.index,
            num_symbols=segments.num_symbols,
            num_channel_uses=channel_uses(self.carrier.baseband, segments.num_symbols) + known.pilot_uses,
            seconds=together(plan.energies.waiting_s, self.carrier.on_air_s(segments.num_symbols, known.pilot_uses)),
            energy_spent=spent,
            energy_allowed=plan.energies.budget.expand(spent.shape),
            peak_power=peak,
            papr=papr,
            active_fraction=segments.mean_over_symbols(sends).expand(spent.shape),
            outage=outage,
            side_information=2 * len(segments.block_sizes) + plan.num_agreed,
            known_gains=spent.shape[-1] * segments.grid.num_cells * known.transmitters.free,
            nonfinite=plan.nonfinite.expand(spent.shape),
            feedback_bits=known.transmitters.feedback_bits,
            unsettled=plan.unsettled.squeeze(-1),
            overflow=overflow,
        )

    def _check_together(self) -> None:
        """Refuse options that cannot be, or that do not go together."""
        wave = self.ofdm
        if wave is not None and self.bandwidth_hz is not None:
            raise ValueError("bandwidth_hz follows from ofdm (subcarriers times their spacing); leave it out")
        if wave is not None and self.coherence != "round":
            raise ValueError(
                "coherence is that of the ofdm grid (symbols_per_slot, subcarriers_per_block), leave it out; "
                f"got {self.coherence!r}"
            )
        if self.num_rx_antennas > 1 and isinstance(self.receiver, SingleAntenna):
            raise ValueError(
                f"num_rx_antennas = {self.num_rx_antennas} needs a receiver that combines them: "
                "Lmmse, ZeroForcing or MaximumRatio"
            )
        _ = self.radio, self.carrier, self._energies  # which check their own options
        if self.baseband == "real" and (wave is not None or isinstance(self.medium, SampleMedium)):
            raise ValueError('ofdm, impairments, front_end and channel work on complex samples; leave baseband at "complex"')
        if self.channel is not None and not isinstance(self.fading, NoFading):
            raise ValueError("channel stands in place of fading; give one of them")
        if self.channel is not None and self._waveform is not None:
            raise ValueError("channel stands in place of the taps of an OFDM waveform in the time domain; give one of them")
