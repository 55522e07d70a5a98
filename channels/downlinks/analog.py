"""The downlink: the base station broadcasts the model to K devices, which then hold different models.

    analog: x = a_b theta in block b, y_k = h_k x + n_k, theta_k = y_k / (a_b h_k) = theta + n_k / (a_b h_k)
    digital: the change of theta, quantised; see `channels.digital_downlink`

The energy budget is the base station's, per round over all symbols; sigma^2 is per REAL symbol of each device's receiver,
a complex channel use carries two. Gains and noise have streams of their own ("downlink gains", "downlink noise").
Reference: Amiri, Gunduz, Kulkarni, Poor, "Convergence of Federated Learning over a Noisy Downlink", arXiv:2008.11141.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.carrier import check_bandwidth
from laser_wireless.channels.energy.allocation import (
    Allocation,
    LeastNoiseAllocation,
    budget_of_round,
    check_budget,
    spendable,
)
from laser_wireless.channels.energy.schedules import Schedule
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.radio_link import RadioLink
from laser_wireless.channels.round import LOCAL, Round, Streams
from laser_wireless.channels.segments import Grid, Segments, segments_of
from laser_wireless.channels.signals import is_finite, measure, root, scale, scale_


@dataclass(frozen=True, kw_only=True)
class DownlinkLedger:
    """Account of one broadcast; tensors stay on the device until somebody reads them.

    Args:
        round: the round that starts with this broadcast.
        num_symbols: real symbols sent.
        bandwidth_hz: channel uses per second, None if unknown.
        energy_spent: float64 [], of the base station, never above energy_allowed.
        energy_allowed: float64 [], the budget.
        bits: float64 [], sent; 0 for an analog broadcast.
        received: bool [K], devices whose model was renewed.
        side_information: real numbers known to the devices without being paid for (one amplitude per block if analog).
        known_gains: complex gains known without being paid for, to devices or base station.
        nonfinite: bool [], whether the model or a gain was NaN or infinite; nothing was sent then.
    """

    round: int
    num_symbols: int
    bandwidth_hz: float | None
    energy_spent: Tensor
    energy_allowed: Tensor
    bits: Tensor
    received: Tensor
    side_information: int
    known_gains: int
    nonfinite: Tensor

    @property
    def num_channel_uses(self) -> int:
        """Complex channel uses, two real symbols each."""
        return -(-self.num_symbols // 2)

    @property
    def seconds(self) -> float:
        """Channel uses over the bandwidth, NaN without one."""
        return math.nan if self.bandwidth_hz is None else self.num_channel_uses / self.bandwidth_hz

    def check(self) -> None:
        """Read the flag.

        Raises:
            FloatingPointError: the model or a gain was not finite.
        """
        raise_if_invalid(self.nonfinite, self.round)

    def summary(self) -> dict[str, float]:
        """Read the ledger: one number per column; `received` as a fraction of the devices."""
        self.check()
        columns = torch.stack([self.energy_spent, self.energy_allowed, self.bits, self.received.double().mean()]).tolist()
        return {
            **dict(zip(("energy_spent", "energy_allowed", "bits", "received"), columns, strict=True)),
            "num_symbols": self.num_symbols,
            "num_channel_uses": self.num_channel_uses,
            "seconds": self.seconds,
            "side_information": self.side_information,
            "known_gains": self.known_gains,
        }


def raise_if_invalid(nonfinite: Tensor, round: int) -> None:
    """Raise FloatingPointError if the flag bool [] of a broadcast is set."""
    if nonfinite.any():
        raise FloatingPointError(
            f"the model or a downlink gain, or what arrived, was not finite in the broadcast of round {round}. The devices "
            "kept what they held. Go back to the last checkpoint and lower the learning rate, or look at the fading model"
        )


class Delivery(NamedTuple):
    """What a broadcast gives.

    received: like the values, [K, d], or [1, d] where all devices hold the same: the devices' models now.
    ledger: what it cost, None if nothing was sent.
    noise_variance: float64 [K, B] or [1, B], variance of received - values per number, mean over each block; 0 for a
        device that kept its model (its error is no noise), for a quantiser an upper bound.
    state: of the fading, for the next round; empty without memory.
    """

    received: Tensor
    ledger: DownlinkLedger | None
    noise_variance: Tensor
    state: dict[str, Tensor]


class Downlink(Protocol):
    """Brings the base station's model to the devices."""

    def broadcast(
        self,
        values: Tensor,
        layout: tuple[int, ...],
        *,
        num_devices: int,
        round: int,
        streams: Streams,
        held: Tensor,
        state: dict[str, Tensor] | None = None,
    ) -> Delivery:
        """Broadcast the model of a round.

        Args:
            values: float32 or float64 [d], the parameters.
            layout: numbers in each block (a parameter tensor), summing to d.
            num_devices: K.
            round: 0, 1, ...; with `streams` it fixes all draws.
            streams: the run's random streams.
            held: [K, d] or [1, d], what the devices hold; it is not changed.
            state: `Delivery.state` of the last broadcast.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class NoiselessBroadcast:
    """Every device holds the base station's model: the papers' assumption, free of cost."""

    def broadcast(
        self,
        values: Tensor,
        layout: tuple[int, ...],
        *,
        num_devices: int,
        round: int,
        streams: Streams,
        held: Tensor,
        state: dict[str, Tensor] | None = None,
    ) -> Delivery:
        """Return a view of the values."""
        check_values(values, layout, num_devices, held)
        return Delivery(
            values.unsqueeze(0), None, torch.zeros(1, len(layout), dtype=torch.float64, device=values.device), {}
        )


@dataclass(frozen=True, kw_only=True)
@checked
class AnalogBroadcast:
    """Uncoded broadcast of the model: theta_k = theta + n_k / (a_b h_k), noise N(0, sigma^2 / (a_b^2 |h_k|^2)).

    sum_b a_b^2 ||theta_b||^2 <= P always. The model itself is sent, not its change, as in arXiv:2008.11141: noise does not
    add up over the rounds, but it does not vanish with the steps either, and training ends at a floor proportional to
    sigma^2 / P; an energy that grows over the rounds lowers it (Wei, Shen, arXiv:2101.02198). A device with |h_k|^2 below
    the threshold keeps its old model. A block of zeros is silent and arrives exactly, since its amplitude is known. Each
    device knows its own gain; the base station needs none. Differentiable with respect to the values.
    Memory: 2 K d numbers while it runs, K d after.

    Args:
        energy_budget: P of the base station per round over its d symbols, a number or a function of the round.
        noise_variance: sigma^2 per REAL symbol at each device, >= 0.
        fading: one gain per device and round is asked of it, independent of the uplink's.
        threshold: smallest |h|^2 at which a device listens, >= 0.
        allocation: of energy to blocks; `LeastNoiseAllocation` minimises the total noise energy.
        bandwidth_hz: channel uses per second; gives the ledger its seconds.
    """

    energy_budget: float | Schedule
    noise_variance: float = 1.0
    fading: FadingModel = field(default_factory=NoFading)
    threshold: float = 0.1
    allocation: Allocation = field(default_factory=LeastNoiseAllocation)
    bandwidth_hz: float | None = None

    def __post_init__(self) -> None:
        check_budget(self.energy_budget)
        check_bandwidth(self.bandwidth_hz)
        _ = self.radio  # which checks its own options
        if not 0 <= self.threshold < math.inf:
            raise ValueError(f"threshold must be finite and >= 0 (a value of |h|^2), got {self.threshold}")

    @cached_property
    def radio(self) -> RadioLink:
        """Fading and noise."""
        return RadioLink(fading=self.fading, noise_variance=self.noise_variance, stream="downlink gains")

    def broadcast(
        self,
        values: Tensor,
        layout: tuple[int, ...],
        *,
        num_devices: int,
        round: int,
        streams: Streams,
        held: Tensor,
        state: dict[str, Tensor] | None = None,
    ) -> Delivery:
        """Broadcast the model of a round; see `Downlink`."""
        check_values(values, layout, num_devices, held)
        segments = one_coherence_block(layout)
        drawn = self.radio.draw(num_devices, segments.grid, Round(round, streams), like=values, state=state)
        power = drawn.powers().flatten().expand(num_devices)  # [K]
        norms = measure(values.unsqueeze(0), segments)[0]  # [1, B]
        budget = budget_of_round(self.energy_budget, round, values)  # [1]
        valid = (norms.sum() + power.sum() + budget.sum()).isfinite()  # a sum of terms >= 0

        amplitude = self._amplitude(norms, layout, budget, values.dtype)  # [1, B]
        listens = (power >= self.threshold) & (power > 0) & valid  # [K]
        std = self._noise(amplitude, power, listens, values.dtype)  # [K, B]
        generator = streams.generator("downlink noise", round, values.device)
        n = torch.randn(num_devices, len(values), dtype=values.dtype, device=values.device, generator=generator)
        received = (scale if std.requires_grad else scale_)(n, std.to(n.dtype), segments) + values
        silent = segments.expand((amplitude <= 0) & (norms > 0))  # a block without energy does not arrive either
        received = torch.where(~listens.unsqueeze(-1) | silent, held, received)
        valid = valid & is_finite(received.flatten()).squeeze(-1)  # noise beyond the range of the dtype
        received = torch.where(valid, received, held)

        spent = (amplitude.detach() * norms.detach()).square().sum().masked_fill(~valid, 0)
        ledger = self._ledger(round, layout, spent, budget, listens, num_devices * drawn.fades, valid)
        return Delivery(received, ledger, std.detach().square(), drawn.state.get("fading", {}))

    def _ledger(
        self,
        round: int,
        layout: tuple[int, ...],
        spent: Tensor,
        budget: Tensor,
        listens: Tensor,
        known_gains: int,
        valid: Tensor,
    ) -> DownlinkLedger:
        return DownlinkLedger(
            round=round,
            num_symbols=sum(layout),
            bandwidth_hz=self.bandwidth_hz,
            energy_spent=spent,
            energy_allowed=budget.squeeze(0),
            bits=torch.zeros_like(spent),
            received=listens,
            side_information=len(layout),
            known_gains=known_gains,
            nonfinite=~valid,
        )

    def _noise(self, amplitude: Tensor, power: Tensor, listens: Tensor, dtype: torch.dtype) -> Tensor:
        """Standard deviation of each block at each device: float64 [K, B], 0 where nothing is sent or received."""
        loud, listens = amplitude > 0, listens.unsqueeze(-1)
        reach = (amplitude.masked_fill(~loud, 1) * root(power).unsqueeze(-1)).masked_fill(~listens, 1)
        return (math.sqrt(self.noise_variance) / reach).clamp(max=torch.finfo(dtype).max) * loud * listens

    def _amplitude(self, norms: Tensor, layout: tuple[int, ...], budget: Tensor, dtype: torch.dtype) -> Tensor:
        """a_b: float64 [1, B], 0 for a block of zeros."""
        weights = self.allocation(norms, tuple(layout), LOCAL).clamp(min=0)
        weights = weights + (weights.sum(-1, keepdim=True) == 0)
        energy = spendable(dtype, sum(layout)) * budget * weights / weights.sum(-1, keepdim=True)
        empty = norms == 0
        return (root(energy) / norms.masked_fill(empty, 1)).masked_fill(empty, 0)


def one_coherence_block(layout: tuple[int, ...]) -> Segments:
    """The whole message in one coherence block."""
    return segments_of(tuple(layout), Grid(num_slots=1, symbols_per_cell=sum(layout)))


def check_values(values: Tensor, layout: tuple[int, ...], num_devices: int, held: Tensor) -> None:
    """Refuse a model or devices' models of another form."""
    if values.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"values must be float32 or float64, got {values.dtype}; convert them with .float()")
    if values.ndim != 1 or not layout or min(layout) < 1 or sum(layout) != len(values):
        raise ValueError(
            f"values must be [d] with d = {sum(layout)}, the sum of a layout of blocks >= 1, got shape {list(values.shape)}"
        )
    if tuple(held.shape) not in ((1, len(values)), (num_devices, len(values))):
        raise ValueError(
            f"held must be [1, d] or [num_devices, d] = {[num_devices, len(values)]}, got shape {list(held.shape)}"
        )
    if held.dtype != values.dtype:
        raise TypeError(f"held must be {values.dtype}, as the values are, got {held.dtype}")
