"""Digital downlink: the change of the model, quantised in as many bits as the worst device can decode.

    theta_hat <- theta_hat + Q(theta - theta_hat), at every device alike

theta is the base station's model, theta_hat what all devices hold, d numbers in B blocks; n real symbols carry
n/2 log2(1 + min_k |h_k|^2 P / (n sigma^2)) bits, with sigma^2 per REAL symbol.
Reference: Amiri, Gunduz, Kulkarni, Poor, "Convergence of Federated Learning over a Noisy Downlink", arXiv:2008.11141.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from laser_wireless.channels.carrier import check_bandwidth
from laser_wireless.channels.downlinks.analog import Delivery, DownlinkLedger, check_values, one_coherence_block
from laser_wireless.channels.energy.allocation import budget_of_round, check_budget
from laser_wireless.channels.energy.schedules import Schedule
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.radio_link import RadioLink
from laser_wireless.channels.round import Round, Streams
from laser_wireless.channels.segments import Grid, Segments
from laser_wireless.channels.signals import measure, scale, scale_

_BITS_PER_SCALE = 32  # of a block's range, sent as float32
_LEAST_BITS = 2  # with one, the error of stochastic rounding may be twice the largest difference: differences would grow


@dataclass(frozen=True, kw_only=True)
@checked
class DigitalBroadcast:
    """Quantised broadcast of the model's change, in as many bits as the worst device can decode.

    The difference of the model from the devices' common copy is rounded stochastically (without bias) to 2^q levels
    between -m_b and m_b, m_b its largest magnitude in the block: |error| <= 2 m_b / (2^q - 1) and its variance is at most
    the square of half of that. What is lost stays in the difference of the next round (error feedback). q is the largest
    number of bits per parameter, from 2 to `bits`, for which
    q d + 32 B <= n/2 log2(1 + min_k |h_k|^2 P / (n sigma^2)); if not even 2 bits fit, nothing is sent in the round.
    Of P only what the worst device needs is spent. The base station knows the gains. All devices hold the same model.
    Rounding is not differentiable: gradients do not pass. Memory: a few times d numbers, d after.

    Args:
        energy_budget: P of the base station per round over its n symbols, a number or a function of the round.
        bits: most bits per parameter, 2 .. 16.
        noise_variance: sigma^2 per REAL symbol at each device, >= 0.
        fading: one gain per device and round is asked of it, independent of the uplink's.
        symbols_per_parameter: n / d, real symbols of the broadcast.
        bandwidth_hz: channel uses per second; gives the ledger its seconds.
    """

    energy_budget: float | Schedule
    bits: int = 8
    noise_variance: float = 1.0
    fading: FadingModel = field(default_factory=NoFading)
    symbols_per_parameter: float = 1.0
    bandwidth_hz: float | None = None

    def __post_init__(self) -> None:
        check_budget(self.energy_budget)
        check_bandwidth(self.bandwidth_hz)
        _ = self.radio  # which checks its own options
        if not _LEAST_BITS <= self.bits <= 16:
            raise ValueError(f"bits must be an integer in 2 .. 16 (per parameter), got {self.bits}")
        if not 0 < self.symbols_per_parameter < math.inf:
            raise ValueError(f"symbols_per_parameter must be finite and > 0, got {self.symbols_per_parameter}")

    @cached_property
    def radio(self) -> RadioLink:
        """Fading and noise."""
        return RadioLink(fading=self.fading, noise_variance=self.noise_variance, stream="downlink gains")

    @torch.no_grad()
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
        """Broadcast the change of a round; see `Downlink`. `held` must be the common copy [1, d]."""
        check_values(values, layout, num_devices, held)
        _check_common(held)
        segments, num_symbols = one_coherence_block(layout), math.ceil(len(values) * self.symbols_per_parameter)
        grid, now = Grid(num_slots=1, symbols_per_cell=num_symbols), Round(round, streams)
        drawn = self.radio.draw(num_devices, grid, now, like=values, state=state)
        power = drawn.powers().flatten().expand(num_devices)
        budget = budget_of_round(self.energy_budget, round, values)
        difference = values - held  # [1, d]
        largest = (measure(difference, segments)[1] * (1 + 2**-22)).float().to(values.dtype)  # [1, B], as sent, rounded up
        valid = (largest.double().sum() + power.sum() + budget.sum()).isfinite()

        q, bits, energy = self._rate(power.amin(), budget.squeeze(0), len(values), len(layout), num_symbols, valid)
        step = (2 * largest / (2**q - 1).clamp(min=1)).to(values.dtype)  # [1, B]
        sent, generator = q > 0, now.generator("downlink noise", values.device)
        rounded = _round_stochastically(difference, largest, step, segments, generator)
        received = torch.where(sent, held + rounded, held)
        ledger = DownlinkLedger(
            round=round,
            num_symbols=num_symbols,
            bandwidth_hz=self.bandwidth_hz,
            energy_spent=energy,
            energy_allowed=budget.squeeze(0),
            bits=bits,
            received=sent.expand(num_devices),
            side_information=0,
            known_gains=num_devices * drawn.fades,
            nonfinite=~valid,
        )
        return Delivery(received, ledger, (step.double() / 2).square() * sent, drawn.state.get("fading", {}))

    def _rate(
        self, power: Tensor, budget: Tensor, d: int, num_blocks: int, num_symbols: int, valid: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Bits per parameter, bits in all and energy, float64 [] each; 0 if too few bits fit."""
        noise_energy = num_symbols * self.noise_variance
        snr = (power * budget / noise_energy if noise_energy else power * budget * math.inf).nan_to_num(
            nan=0, posinf=math.inf
        )
        capacity = num_symbols / 2 * torch.log1p(snr) / math.log(2)
        q = ((capacity - _BITS_PER_SCALE * num_blocks) / d).floor().clamp(max=self.bits)
        q = torch.where((q >= _LEAST_BITS) & valid, q, 0)
        bits = torch.where(q > 0, q * d + _BITS_PER_SCALE * num_blocks, 0)
        needed = noise_energy * torch.expm1(2 * math.log(2) * bits / num_symbols) / power
        return q, bits, torch.where(q > 0, torch.minimum(needed, budget), 0)


def _check_common(held: Tensor) -> None:
    if len(held) != 1:
        raise ValueError(f"held must be the devices' common copy [1, d], got {list(held.shape)}; start from one model")


def _round_stochastically(
    difference: Tensor, largest: Tensor, step: Tensor, segments: Segments, generator: torch.Generator
) -> Tensor:
    """Round [1, d] up or down to -m_b + step_b i, with the chances that make the mean exact; 0 where a block is 0."""
    empty = step == 0
    u = torch.rand(difference.shape, dtype=difference.dtype, device=difference.device, generator=generator)
    level = scale(difference + segments.expand(largest), step.masked_fill(empty, torch.inf).reciprocal(), segments)
    level = level.add_(u).floor_()
    return scale_(level, step, segments).sub_(segments.expand(largest)).masked_fill_(segments.expand(empty), 0)
