"""The uplink's round: message -> energy per block -> precoding -> fading -> superposition -> noise -> estimate of the mean.

    y = sum_k h_k b_k u_k + n,    estimate = w^H y,    sum over symbols of |b_k u_k|^2 <= P_k for every device, always

n is N(0, sigma^2) per real symbol and antenna, once, at the receiver. A complex baseband carries two real symbols in a
channel use, x = b (u_I + j u_Q) with noise CN(0, 2 sigma^2); both basebands give the same estimate for the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from laser_wireless.channels.csi import Csi, PerfectCsi
from laser_wireless.channels.energy import Allocation, NormAllocation
from laser_wireless.channels.fading import Fading, FadingProcess, NoFading
from laser_wireless.channels.hardware.impairments import Impairment
from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.noise import receiver_noise
from laser_wireless.channels.norms import is_finite
from laser_wireless.channels.participation import Participation
from laser_wireless.channels.plan import Plan, make_plan
from laser_wireless.channels.power_control import AlignedInversion, PowerControl
from laser_wireless.channels.receivers import Receiver, SingleAntenna
from laser_wireless.channels.reception import Reception, UplinkState
from laser_wireless.channels.round_input import Budget, LinkGain, check_message
from laser_wireless.channels.sample_path import Arrival, Channel, Medium, through_samples
from laser_wireless.channels.scale import OracleScale, ScaleKnowledge
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.straddling import leakage
from laser_wireless.channels.streams import Streams
from laser_wireless.channels.superposition import Air, LocalAir, can_superpose_onto, superpose, superpose_onto_
from laser_wireless.channels.uplink_options import brief, check_options
from laser_wireless.channels.waveform import Ofdm
from torch import Tensor

_LOCAL = LocalAir()


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
        channel: a function of your own from the samples sent to those heard, in place of fading; see `channels.sample_path`.
        ofdm: resource grid and waveform; None for a single carrier.
        coherence: without OFDM, the gain is constant over a "round", a "block" of the message, or a "symbol" (one channel
            use), or over so many real symbols.
        baseband: "complex" (two real symbols per channel use) or "real" (one). The estimate is the same.
        bandwidth_hz: channel uses per second, without OFDM; gives the ledger its seconds and the fading its times.
    """

    energy_budget: Budget
    noise_variance: float | Tensor = 1.0
    fading: Fading | FadingProcess = field(default_factory=NoFading)
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
    coherence: Literal["round", "block", "symbol"] | int = "round"
    baseband: Literal["complex", "real"] = "complex"
    bandwidth_hz: float | None = None

    def __post_init__(self) -> None:
        check_options(self)

    def __repr__(self) -> str:
        return brief(self)

    @property
    def single_antenna(self) -> bool:
        """Whether the receiver has one antenna and only rescales what it hears."""
        return self.num_rx_antennas == 1 and isinstance(self.receiver, SingleAntenna)

    @property
    def in_time_domain(self) -> bool:
        """Whether a waveform is sent sample by sample."""
        return self.ofdm is not None and self.ofdm.time_domain

    @property
    def by_samples(self) -> bool:
        """Whether rounds take the sample path."""
        return bool(self.impairments or self.front_end or self.channel is not None or self.in_time_domain)

    @property
    def prefix_overhead(self) -> float:
        """Energy with cyclic prefix over energy without."""
        return 1.0 if self.ofdm is None else self.ofdm.prefix_overhead

    def noise_variance_like(self, symbols: Tensor) -> Tensor:
        """sigma^2 as float64 [...] on the device of the symbols."""
        if isinstance(self.noise_variance, Tensor):
            return self.noise_variance.to(device=symbols.device, dtype=torch.float64)
        return torch.full((), self.noise_variance, dtype=torch.float64, device=symbols.device)

    def grid(self, layout: tuple[int, ...]) -> Grid:
        """Where the symbols lie, by OFDM or by the coherence asked for."""
        num_symbols = sum(layout)
        if self.ofdm is not None:
            return self.ofdm.grid(num_symbols)
        if self.coherence == "round":
            return Grid(num_slots=1, symbols_per_cell=num_symbols)
        if self.coherence == "block" and self.baseband == "real":
            return Grid(num_slots=len(layout), symbols_per_cell=layout)
        if self.coherence == "block":  # a channel use that straddles two blocks belongs to the first
            ends, total = [], 0
            for size in layout:
                total += size
                ends.append(min(total + total % 2, num_symbols))
            sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
            return Grid(num_slots=len(layout), symbols_per_cell=tuple(sizes))
        per_use = 2 if self.baseband == "complex" else 1
        cell = self.coherence if isinstance(self.coherence, int) else per_use
        slot_s = None if self.bandwidth_hz is None else cell / per_use / self.bandwidth_hz
        return Grid(num_slots=-(-num_symbols // cell), symbols_per_cell=cell, slot_s=slot_s)

    def plan(
        self,
        symbols: Tensor,
        layout: tuple[int, ...],
        *,
        round: int,
        streams: Streams,
        air: Air = _LOCAL,
        state: UplinkState | None = None,
        share_as: tuple[int, ...] | None = None,
        gains: Tensor | None = None,
    ) -> Plan:
        """Settle gains, energies, precoders and the receiver's combiner; arguments as in `aggregate`."""
        check_message(symbols, layout)
        return make_plan(
            self,
            symbols,
            tuple(layout),
            round=round,
            streams=streams,
            air=air,
            state=state,
            share_as=share_as,
            gains=gains,
        )

    def transmit(self, symbols: Tensor, plan: Plan) -> Tensor:
        """Form what each device puts on the air, for study; `aggregate` does so only where it goes sample by sample.

        Its energy, the sum of |x|^2, is `Plan.energy`: at most the device's budget. Nothing is sent in an invalid round.

        Returns:
            x: complex [..., K, ceil(S / 2)] on a complex baseband, else real or complex [..., K, S] (complex where the
            precoder turns the phase).
        """
        precoder = plan.transceiver.precoder
        x = plan.segments.expand(precoder.expand(*precoder.shape[:-2], *plan.norms.shape[-2:])) * symbols
        x = x.masked_fill(~plan.valid.unsqueeze(-1), 0)
        if self.baseband == "real":
            return x
        if x.shape[-1] % 2:
            x = torch.cat([x, torch.zeros_like(x[..., :1])], dim=-1)
        return x[..., 0::2] + 1j * x[..., 1::2]

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
        segments = plan.segments
        noise_variance = self.noise_variance_like(symbols)
        arrival = None
        if self.by_samples:
            arrival = self._by_samples(symbols, plan, round, streams, air)
            estimate = arrival.estimate
        else:
            estimate = self._by_segments(symbols, plan, round, streams, air)
        finite = is_finite(estimate)  # [..., 1]
        valid = plan.valid & finite
        estimate = estimate.masked_fill(~valid, 0) if estimate.requires_grad else estimate.masked_fill_(~valid, 0)
        delivered = plan.transceiver.delivered.masked_fill(~valid.unsqueeze(-1), 0)
        noise_level = segments.mean_in_blocks(plan.noise_amplitude.square() * noise_variance.unsqueeze(-1))
        if arrival is not None:
            noise_level = noise_level * arrival.level.square()
        ledger = self._ledger(plan, arrival, layout, round, air, overflow=(plan.valid & ~finite).squeeze(-1))
        kept = None if plan.state is None else plan.state.after(state, valid)
        return Reception(estimate, ledger, delivered, segments, noise_level.masked_fill(~valid, 0), kept)

    def _by_segments(self, symbols: Tensor, plan: Plan, round: int, streams: Streams, air: Air) -> Tensor:
        """The estimate where gains hold over segments: sum of w^H h_k b_k u_k, and one noise of the combiner's length."""
        # w^H y in two parts: for messages near the smallest float32, y itself would be 0 or infinite, w^H h b never is
        segments, noise_variance, g = plan.segments, self.noise_variance_like(symbols), plan.noise_amplitude
        coefficients = self._coefficients(plan, symbols.dtype)
        generator = streams.generator("noise", round, symbols.device)
        # an amplitude that all but vanishes: no noise must not become 0 times infinity
        g = g.clamp(max=torch.finfo(symbols.dtype).max).to(symbols.dtype)
        onto = can_superpose_onto(coefficients, symbols, segments, air) and noise_variance.ndim == 0 and g.ndim == 1
        heard = symbols[0] if onto else self._superposed(coefficients, symbols, plan, air)  # [..., S]
        n = receiver_noise(heard, noise_variance, generator=generator)
        scale = segments.scale if n.requires_grad or g.requires_grad else segments.scale_
        noise = scale(n, g)
        estimate = superpose_onto_(noise, coefficients, symbols, segments) if onto else noise.add_(heard)
        if coefficients.shape[-3] == 2 and segments.straddles:
            w = plan.transceiver.scale if plan.combiner is None else plan.combiner
            h = plan.gains.unsqueeze(-2) if plan.combiner is None else plan.gains
            places, values = leakage(segments, h, plan.transceiver.precoder, w, symbols, air)
            estimate = estimate.index_add(-1, places, values.expand(*estimate.shape[:-1], -1))
        return estimate

    def _by_samples(self, symbols: Tensor, plan: Plan, round: int, streams: Streams, air: Air) -> Arrival:
        """The estimate sample by sample."""
        w = plan.transceiver.scale if plan.combiner is None else plan.combiner
        gains = plan.gains.unsqueeze(-2) if self.single_antenna else plan.gains
        prefix = 1.0 if self.in_time_domain else self.prefix_overhead  # else it is sent here, and counted
        medium = Medium(
            segments=plan.segments,
            gains=gains,
            taps=plan.taps,
            combiner=w,
            budget=plan.data_budget / prefix,
            noise_variance=self.noise_variance_like(symbols),
            impairments=self.impairments,
            front_end=self.front_end,
            channel=self.channel,
            ofdm=self.ofdm,
            bandwidth_hz=self.bandwidth_hz,
        )
        x = self.transmit(symbols, plan).to(torch.complex128 if symbols.dtype == torch.float64 else torch.complex64)
        return through_samples(x, medium, symbols.shape[-1], round=round, streams=streams, air=air)

    def _coefficients(self, plan: Plan, dtype: torch.dtype) -> Tensor:
        """(w^H h b)_k as real numbers [..., C, K, G]: in-phase and quadrature part, C = 1 where there is no quadrature."""
        arriving = plan.arriving
        arriving = arriving.expand(*arriving.shape[:-2], *plan.norms.shape[-2:]).unsqueeze(-3)
        if not arriving.is_complex():
            return arriving.to(dtype)
        if self.baseband == "real":
            return arriving.real.to(dtype)
        return torch.cat([arriving.real.to(dtype), arriving.imag.to(dtype)], dim=-3)

    def _superposed(self, coefficients: Tensor, symbols: Tensor, plan: Plan, air: Air) -> Tensor:
        """Sum of (w^H h b)_k u_k as the receiver's real numbers [..., S]; in-phase and quadrature mix if h b is not real."""
        sums = superpose(coefficients, symbols, plan.segments, air)
        return sums.squeeze(-2) if sums.shape[-2] == 1 else sums[..., 0, :] + _times_j(sums[..., 1, :])

    def _ledger(
        self, plan: Plan, arrival: Arrival | None, layout: tuple[int, ...], round: int, air: Air, *, overflow: Tensor
    ) -> Ledger:
        segments, transceiver = plan.segments, plan.transceiver
        num_symbols = sum(layout)
        uses = num_symbols if self.baseband == "real" else -(-num_symbols // 2)
        void = ~plan.valid
        if arrival is None:
            amplitude = transceiver.precoder.detach().abs()  # [..., K, G]
            spent = plan.energy
            peak = (amplitude * plan.peaks).amax(-1).square()
            real_samples = num_symbols
        else:
            spent, peak, real_samples = arrival.energy_spent.detach(), arrival.peak_power, 2 * arrival.num_samples
        spent, peak = spent.masked_fill(void, 0), peak.masked_fill(void, 0)
        papr = peak * real_samples / (spent + (spent == 0))
        if not self.in_time_domain:
            spent = spent * self.prefix_overhead
        if plan.pilot_energy is not None:
            spent = spent + plan.pilot_energy.detach().expand(spent.shape).masked_fill(void, 0)
        sends = (transceiver.active & plan.valid.unsqueeze(-1)).double()  # [..., K|1, G|1]
        outage = 1 - segments.mean_over_symbols(air.max(sends, dim=-2)).squeeze(-1)
        return Ledger(
            round=round,
            num_symbols=num_symbols,
            num_channel_uses=uses + plan.pilot_uses,
            seconds=self._seconds(num_symbols, uses + plan.pilot_uses, plan),
            energy_spent=spent,
            energy_allowed=plan.budget.expand(spent.shape),
            peak_power=peak,
            papr=papr,
            active_fraction=segments.mean_over_symbols(sends).expand(spent.shape),
            outage=outage,
            side_information=2 * len(layout) + plan.shared_numbers,
            known_gains=spent.shape[-1] * segments.grid.num_cells if plan.knowledge.free else 0,
            nonfinite=plan.nonfinite.expand(spent.shape),
            feedback_bits=plan.knowledge.feedback_bits,
            unsettled=plan.unsettled.squeeze(-1),
            overflow=overflow,
        )

    def _seconds(self, num_symbols: int, num_channel_uses: int, plan: Plan) -> float | Tensor | None:
        """Time on the air and time waited for devices."""
        if self.ofdm is not None:
            pilots = -(-plan.pilot_uses // self.ofdm.num_subcarriers) * self.ofdm.symbol_s
            on_air: float | None = self.ofdm.seconds(num_symbols) + pilots
        else:
            on_air = None if self.bandwidth_hz is None else num_channel_uses / self.bandwidth_hz
        if plan.waiting_s is None:
            return on_air
        return plan.waiting_s if on_air is None else plan.waiting_s + on_air


def _times_j(values: Tensor) -> Tensor:
    """Multiply by j the complex numbers that lie as pairs (I, Q) in [..., S]; a lone last symbol is an I."""
    padded = torch.nn.functional.pad(values, (0, values.shape[-1] % 2)).unflatten(-1, (-1, 2))
    turned = torch.stack([-padded[..., 1], padded[..., 0]], dim=-1).flatten(-2)
    return turned[..., : values.shape[-1]]
