"""The uplink's round: message -> energy per block -> precoding -> fading -> superposition -> noise -> estimate of the mean.

    y = sum_k h_k b_k u_k + n,    estimate = g y,    sum over symbols of |b_k u_k|^2 <= P_k for every device, always

n is N(0, sigma^2) per real symbol, once, at the receiver. A complex baseband carries two real symbols in a channel use,
x = b (u_I + j u_Q) with noise CN(0, 2 sigma^2); both basebands give the same estimate for the same draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import torch
from laser_wireless.channels.energy import Allocation, NormAllocation, Schedule, budget_of_round, check_budget
from laser_wireless.channels.fading import Fading, NoFading, draw_gains
from laser_wireless.channels.ledger import Ledger
from laser_wireless.channels.noise import receiver_noise
from laser_wireless.channels.power_control import Agreement, AlignedInversion, PowerControl, Transceiver
from laser_wireless.channels.scale import OracleScale, ScaleKnowledge, ScaleState, keep_of_valid_rounds
from laser_wireless.channels.segments import Grid, Segments, root, segments_of
from laser_wireless.channels.streams import Streams
from laser_wireless.channels.superposition import Air, LocalAir, superpose
from torch import Tensor

_LOCAL = LocalAir()


class Reception(NamedTuple):
    """What a round gives back.

    estimate: like the symbols, [..., S], the receiver's estimate of the mean message; zero where nobody was heard.
    ledger: what it cost.
    delivered: float64, broadcastable to [..., K, G], part of each device's amplitude that reached the estimate in full.
    segments: the G pieces of the message.
    noise_variance: float64 [..., B], of the noise on the estimate, per real symbol, mean over each block; known to the
        receiver, which set its scale.
    state: what the next round's devices may know of this one.
    """

    estimate: Tensor
    ledger: Ledger
    delivered: Tensor
    segments: Segments
    noise_variance: Tensor
    state: ScaleState | None

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
        state: ScaleState | None = None,
        share_as: tuple[int, ...] | None = None,
    ) -> Reception:
        """Carry one round's messages [..., K, S] with blocks of `layout` symbols to the receiver."""
        ...


class Plan(NamedTuple):
    """Everything of a round that is settled before the symbols go on the air.

    gains: real or complex, broadcastable to [..., K, G]. norms: float64 [..., K, G]. peaks: [..., K, G].
    budget: float64, broadcastable to [..., K]. valid: bool [..., 1]. nonfinite: bool [..., K].
    """

    segments: Segments
    gains: Tensor
    transceiver: Transceiver
    norms: Tensor
    peaks: Tensor
    budget: Tensor
    valid: Tensor
    nonfinite: Tensor
    state: ScaleState | None


@dataclass(frozen=True, kw_only=True)
class AnalogUplink:
    """Uncoded over-the-air aggregation: the devices' symbols add up in the air.

    Args:
        energy_budget: P, energy per device and round over all symbols; a number, one per device, a tensor
            broadcastable to [..., K], or a function of the round (`LinearEnergy`, `StepEnergy`, your own).
        noise_variance: sigma^2 per REAL symbol, absolute, >= 0; a number or a tensor over the leading axes.
        fading: `NoFading`, `Rayleigh`, `Rician` or a function; see `channels.fading`.
        power_control: `AlignedInversion`, `TruncatedInversion` or a function; see `channels.power_control`.
        allocation: of energy to blocks; `NormAllocation` as published, `LeastNoiseAllocation`, `UniformAllocation` or a
            function; see `channels.energy`.
        scale: how devices learn the common amplitude: `OracleScale` (as published) or `PreviousScale`.
        coherence: the gain is constant over a "round", a "block" of the message, or a "symbol" (one channel use), or
            over so many real symbols.
        baseband: "complex" (two real symbols per channel use) or "real" (one). The estimate is the same.
        bandwidth_hz: channel uses per second; gives the ledger its seconds.
    """

    energy_budget: float | list[float] | Tensor | Schedule
    noise_variance: float | Tensor = 1.0
    fading: Fading = field(default_factory=NoFading)
    power_control: PowerControl = field(default_factory=AlignedInversion)
    allocation: Allocation = field(default_factory=NormAllocation)
    scale: ScaleKnowledge = field(default_factory=OracleScale)
    coherence: Literal["round", "block", "symbol"] | int = "round"
    baseband: Literal["complex", "real"] = "complex"
    bandwidth_hz: float | None = None

    def __post_init__(self) -> None:
        check_budget(self.energy_budget)
        noise_variance = torch.as_tensor(self.noise_variance).detach()
        if not bool(((noise_variance >= 0) & noise_variance.isfinite()).all()):
            raise ValueError(f"noise_variance must be finite and >= 0 (per real symbol), got {self.noise_variance}")
        if self.baseband not in ("complex", "real"):
            raise ValueError(f'baseband must be "complex" or "real", got {self.baseband!r}')
        whole = isinstance(self.coherence, int) and self.coherence >= 1
        if not whole and self.coherence not in ("round", "block", "symbol"):
            raise ValueError(
                f'coherence must be "round", "block", "symbol" or a number of real symbols >= 1, got {self.coherence!r}'
            )
        if whole and self.baseband == "complex" and int(self.coherence) % 2:
            raise ValueError(
                f"coherence must be an even number of real symbols on a complex baseband, got {self.coherence}; "
                'a channel use carries two, or set baseband="real"'
            )
        if self.bandwidth_hz is not None and not 0 < self.bandwidth_hz < float("inf"):
            raise ValueError(f"bandwidth_hz must be finite and > 0, got {self.bandwidth_hz}")
        for name in ("fading", "power_control", "allocation"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} must be callable, got {getattr(self, name)!r}")

    def grid(self, layout: tuple[int, ...]) -> Grid:
        """Where the symbols lie, by the coherence asked for."""
        num_symbols = sum(layout)
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
        cell = self.coherence if isinstance(self.coherence, int) else (2 if self.baseband == "complex" else 1)
        return Grid(num_slots=-(-num_symbols // cell), symbols_per_cell=cell)

    def plan(
        self,
        symbols: Tensor,
        layout: tuple[int, ...],
        *,
        round: int,
        streams: Streams,
        air: Air = _LOCAL,
        state: ScaleState | None = None,
        share_as: tuple[int, ...] | None = None,
        gains: Tensor | None = None,
    ) -> Plan:
        """Settle gains, energies, precoders and the receiver's scale; arguments as in `aggregate`."""
        num_devices = _check_message(symbols, layout)
        segments = segments_of(tuple(layout), self.grid(layout))
        if gains is None and isinstance(self.fading, NoFading):
            gains = torch.ones(1, 1, dtype=symbols.dtype, device=symbols.device)
        elif gains is None:
            generator = streams.generator("gains", round, symbols.device)
            gains = draw_gains(self.fading, num_devices, segments.grid, round=round, generator=generator)
        else:
            _check_gains(gains, num_devices, segments.grid)
        h = segments.gains_of(gains)
        norms, peaks = segments.measure(symbols)

        budget = budget_of_round(self.energy_budget, round, symbols)
        if budget.shape[-1] not in (1, num_devices):
            raise ValueError(
                f"energy_budget must hold one value or one for each of the {num_devices} devices, "
                f"got shape {list(budget.shape)}"
            )
        total = norms.sum(-1) + h.abs().sum(-1) + budget  # a sum of terms >= 0: NaN or infinite if one of them is
        nonfinite = ~((total < torch.inf) & (budget >= 0))  # [..., K]; a budget < 0 as well
        valid = air.max(nonfinite.to(norms.dtype), dim=-1) == 0  # [..., 1]

        block_norms = root(segments.sum_in_blocks(norms.square())) if not segments.are_blocks else norms
        weights = block_norms if share_as is None else block_norms[..., list(share_as)]
        mean_budget = air.sum(budget.expand(*budget.shape[:-1], num_devices), dim=-1) / num_devices  # [..., 1]
        current = self.allocation(weights, tuple(layout), air).clamp(min=0)
        current = current + (current.sum(-1, keepdim=True) == 0)  # nothing to send: equal shares
        current = current / current.sum(-1, keepdim=True)
        shares = self.scale.shares(current, state)
        margin = 1 - 16 * torch.finfo(symbols.dtype).eps  # rounding of the symbols must not break the limit
        energy = margin * budget.unsqueeze(-1) * shares  # [..., K|1, B]

        known: list[Tensor] = []

        def amplitude(limits: Tensor) -> Tensor:
            known.append(limits)
            return self.scale.amplitude(limits, mean_budget, state, air)

        agreement = Agreement(segments, air, amplitude)
        transceiver = self.power_control(h, norms, energy, self._noise_variance(symbols), agreement=agreement)
        after = self.scale.remember(_at_shares(known[-1], shares, current), current, mean_budget, air) if known else None
        after = keep_of_valid_rounds(after, state, valid)
        return Plan(segments, h, transceiver, norms, peaks, budget, valid, nonfinite, after)

    def transmit(self, symbols: Tensor, plan: Plan) -> Tensor:
        """Form what each device puts on the air, for study; `aggregate` never materialises it.

        Returns:
            x: complex [..., K, ceil(S / 2)] on a complex baseband, else real or complex [..., K, S] (complex where the
            precoder turns the phase).
        """
        precoder = plan.transceiver.precoder
        x = plan.segments.expand(precoder.expand(*precoder.shape[:-2], *plan.norms.shape[-2:])) * symbols
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
        state: ScaleState | None = None,
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
            state: `Reception.state` of the last round, for `PreviousScale`.
            share_as: for each block, the block whose norm stands for it in the allocation; itself if None.
            gains: real or complex [..., K, T F], drawn elsewhere (`draw_rounds` for Monte-Carlo); otherwise drawn once
                and shared by all leading axes. The noise is independent along them.

        Raises:
            TypeError: symbols that are not float32 or float64.
            ValueError: shapes that do not fit.
        """
        plan = self.plan(symbols, layout, round=round, streams=streams, air=air, state=state, share_as=share_as, gains=gains)
        segments, b, g = plan.segments, plan.transceiver.precoder, plan.transceiver.scale
        # g y in two parts: for messages near the smallest float32, y itself would be 0 or infinite, g h b never is
        heard = self._superposed(g * plan.gains * b, symbols, plan, air)  # [..., S]
        noise_variance = self._noise_variance(symbols)
        n = receiver_noise(heard, noise_variance, generator=streams.generator("noise", round, heard.device))
        scale = segments.scale if n.requires_grad or g.requires_grad else segments.scale_
        largest = torch.finfo(n.dtype).max  # where the amplitude all but vanishes; no noise must not become 0 times infinity
        g = g.clamp(max=largest)
        noise = scale(n.unsqueeze(-2), g.to(n.dtype)).squeeze(-2)
        estimate = noise.add_(heard).masked_fill_(~plan.valid, 0)
        delivered = plan.transceiver.delivered.masked_fill(~plan.valid.unsqueeze(-1), 0)
        noise_level = segments.mean_in_blocks(g.squeeze(-2).square() * noise_variance.unsqueeze(-1))
        ledger = self._ledger(plan, layout, round, air)
        return Reception(estimate, ledger, delivered, segments, noise_level, plan.state)

    def _superposed(self, received: Tensor, symbols: Tensor, plan: Plan, air: Air) -> Tensor:
        """Sum of (g h b)_k u_k as the receiver's real numbers [..., S]; in-phase and quadrature mix if h b is not real."""
        received = received.expand(*received.shape[:-2], *plan.norms.shape[-2:]).unsqueeze(-3)
        coherent = received.real if received.is_complex() else received
        if not received.is_complex() or self.baseband == "real":
            return superpose(coherent.to(symbols.dtype), symbols, plan.segments, air).squeeze(-2)
        parts = torch.cat([coherent, received.imag], dim=-3).to(symbols.dtype)
        sums = superpose(parts, symbols, plan.segments, air)
        return sums[..., 0, :] + _times_j(sums[..., 1, :])

    def _noise_variance(self, like: Tensor) -> Tensor:
        if isinstance(self.noise_variance, Tensor):
            return self.noise_variance.to(device=like.device, dtype=torch.float64)
        return torch.full((), self.noise_variance, dtype=torch.float64, device=like.device)

    def _ledger(self, plan: Plan, layout: tuple[int, ...], round: int, air: Air) -> Ledger:
        segments, transceiver = plan.segments, plan.transceiver
        num_symbols = sum(layout)
        amplitude = transceiver.precoder.detach().abs()  # [..., K, G]
        void = ~plan.valid
        spent = (amplitude * plan.norms.detach()).square().sum(-1).masked_fill(void, 0)
        peak = (amplitude * plan.peaks).amax(-1).square().masked_fill(void, 0)
        sends = (transceiver.active & plan.valid.unsqueeze(-1)).double()  # [..., K|1, G|1]
        active_fraction = segments.mean_over_symbols(sends)  # [..., K|1]
        outage = 1 - segments.mean_over_symbols(air.max(sends, dim=-2)).squeeze(-1)
        uses = num_symbols if self.baseband == "real" else -(-num_symbols // 2)
        return Ledger(
            round=round,
            num_symbols=num_symbols,
            num_channel_uses=uses,
            seconds=None if self.bandwidth_hz is None else uses / self.bandwidth_hz,
            energy_spent=spent,
            energy_allowed=plan.budget.expand(spent.shape),
            peak_power=peak,
            papr=peak * num_symbols / (spent + (spent == 0)),
            active_fraction=active_fraction.expand(spent.shape),
            outage=outage,
            side_information=2 * len(layout),
            known_gains=0 if isinstance(self.fading, NoFading) else spent.shape[-1] * segments.grid.num_cells,
            nonfinite=plan.nonfinite.expand(spent.shape),
        )


def _at_shares(limits: Tensor, used: Tensor, shares: Tensor) -> Tensor:
    """What devices could afford [..., K, B] with other shares of their energy: amplitudes go with the root of a share."""
    return limits if used is shares else torch.where(limits.isinf(), limits, limits * root(shares / used))


def _times_j(values: Tensor) -> Tensor:
    """Multiply by j the complex numbers that lie as pairs (I, Q) in [..., S]; a lone last symbol is an I."""
    padded = torch.nn.functional.pad(values, (0, values.shape[-1] % 2)).unflatten(-1, (-1, 2))
    turned = torch.stack([-padded[..., 1], padded[..., 0]], dim=-1).flatten(-2)
    return turned[..., : values.shape[-1]]


def _check_gains(gains: Tensor, num_devices: int, grid: Grid) -> None:
    wanted = (num_devices, grid.num_cells)
    if gains.ndim < 2 or any(found not in (1, size) for found, size in zip(gains.shape[-2:], wanted, strict=True)):
        raise ValueError(
            f"gains must be [..., num_devices, T F] = [..., {wanted[0]}, {wanted[1]}] (axes of length 1 are broadcast), "
            f"got shape {list(gains.shape)}"
        )


def _check_message(symbols: Tensor, layout: Sequence[int]) -> int:
    if symbols.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"symbols must be float32 or float64, got {symbols.dtype}; convert them with .float()")
    if symbols.ndim < 2 or symbols.shape[-2] < 1:
        raise ValueError(f"symbols must be [..., num_devices, num_symbols], got shape {list(symbols.shape)}")
    if not layout or min(layout) < 1 or sum(layout) != symbols.shape[-1]:
        raise ValueError(
            f"layout must hold block sizes >= 1 that sum to num_symbols = {symbols.shape[-1]}, got "
            f"{len(layout)} blocks with sum {sum(layout)}"
        )
    return symbols.shape[-2]
