"""The medium: all that lies between the precoders and the receiver's estimate.

`SegmentMedium` holds where gains are constant over segments and nothing else happens to a signal; no sample is formed.
`channels.sample_path.SampleMedium` carries every sample through waveform, hardware and a channel of one's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.carrier import Carrier
from laser_wireless.channels.radio_link import receiver_noise
from laser_wireless.channels.round import Round
from laser_wireless.channels.signals import broadcast, by_run, measure, scale, scale_, superpose
from laser_wireless.channels.uplinks.plan import Plan
from laser_wireless.channels.uplinks.straddling import leakage


class Arrival(NamedTuple):
    """What the receiver made of a round, and what the devices put on the air for it.

    estimate: like the symbols, [..., S].
    noise_variance: float64 [..., B], of the noise on the estimate per real symbol, mean over each block.
    energy: float64 [..., K], of the samples. prefix: factor that a prefix which is not among the samples costs.
    peak_power: float64 [..., K], the peak of one real dimension. num_real_samples: sent by each device.
    """

    estimate: Tensor
    noise_variance: Tensor
    energy: Tensor
    prefix: float
    peak_power: Tensor
    num_real_samples: int


class Medium(Protocol):
    """Carries precoded symbols to the receiver; chosen once, when an uplink is made."""

    def carry(self, symbols: Tensor, plan: Plan, now: Round) -> Arrival:
        """Return what arrives of symbols [..., K, S] sent as planned."""
        ...


def transmitted(symbols: Tensor, plan: Plan) -> Tensor:
    """b u, real or complex [..., K, S]: what each device sends for each real symbol; nothing in an invalid round."""
    precoder = plan.design.transceiver.precoder
    expanded = precoder.expand(*precoder.shape[:-2], *plan.message.norms.shape[-2:])
    return (plan.message.segments.expand(expanded) * symbols).masked_fill(~plan.valid.unsqueeze(-1), 0)


@dataclass(frozen=True, kw_only=True)
class SegmentMedium:
    """estimate = sum_k (w^H h_k b_k) u_k + ||w|| n: one coefficient for each device and segment, one noise.

    w^H y is added up in two parts: for messages near the smallest float32, y itself would be 0 or infinite, w^H h b never
    is.
    """

    carrier: Carrier

    def carry(self, symbols: Tensor, plan: Plan, now: Round) -> Arrival:
        """Return what arrives; see `Medium`."""
        message = plan.message
        coefficients = now.air.own(self._coefficients(plan, symbols.dtype), -2)
        estimate = _noise(symbols, coefficients, plan, now)
        if now.num_run_axes:  # one by one, in the forms of one run
            for heard, c, u in zip(estimate, by_run(coefficients), by_run(symbols), strict=True):
                superpose(c, u, message.segments, now.air, onto=heard)
        else:
            estimate = superpose(coefficients, symbols, message.segments, now.air, onto=estimate)
        return self._arrival(estimate, plan, symbols.shape[-1])

    def carry_in_parts(self, parts: Iterable[Tensor], like: Tensor, plan: Plan, now: Round) -> Arrival:
        """Return what arrives of messages [k, S] that come some at a time; see `AnalogUplink.aggregate_in_parts`."""
        coefficients = self._coefficients(plan, like.dtype)
        estimate = _noise(like, coefficients, plan, now)
        message, place = plan.message, 0
        same = torch.ones((), dtype=torch.bool, device=like.device)
        for symbols in parts:
            norms, _ = measure(symbols, message.segments)
            expected = message.norms.narrow(-2, place, len(symbols))
            same = same & ((norms == expected) | (norms.isnan() & expected.isnan())).all()
            superpose(coefficients.narrow(-2, place, len(symbols)), symbols, message.segments, now.air, onto=estimate)
            place += len(symbols)
        if place != message.norms.shape[-2] or not same:
            raise RuntimeError(
                "messages that come in parts must be the same when they are measured and when they are sent; leave out what "
                "draws random numbers or remembers between the two, such as dropout and statistics of batch normalisation"
            )
        return self._arrival(estimate, plan, like.shape[-1])

    def _arrival(self, estimate: Tensor, plan: Plan, num_symbols: int) -> Arrival:
        """What was added up, with what straddles two segments; and its account."""
        message, transceiver = plan.message, plan.design.transceiver
        if plan.arriving.is_complex() and self.carrier.baseband == "complex" and message.shared is not None:
            places, values = leakage(
                message.segments, plan.gains, transceiver.precoder, plan.design.combiner, message.shared
            )
            estimate = estimate.index_add(-1, places, values.expand(*estimate.shape[:-1], -1))
        amplitude = transceiver.precoder.detach().abs()  # [..., K, G]
        return Arrival(
            estimate=estimate,
            noise_variance=plan.estimate_noise,
            energy=plan.energy,
            prefix=self.carrier.prefix_overhead,
            peak_power=(amplitude * message.peaks).amax(-1).square(),
            num_real_samples=num_symbols,
        )

    def _coefficients(self, plan: Plan, dtype: torch.dtype) -> Tensor:
        """(w^H h b)_k as real numbers [..., C, K, G]: in-phase and quadrature part, C = 1 where there is no quadrature."""
        arriving = plan.arriving
        arriving = arriving.expand(*arriving.shape[:-2], *plan.message.norms.shape[-2:]).unsqueeze(-3)
        if not arriving.is_complex():
            return arriving.to(dtype)
        if self.carrier.baseband == "real":
            return arriving.real.to(dtype)
        return torch.cat([arriving.real.to(dtype), arriving.imag.to(dtype)], dim=-3)


def _noise(symbols: Tensor, coefficients: Tensor, plan: Plan, now: Round) -> Tensor:
    """||w|| n: [..., S], the one noise of the antennas as the combiner leaves it."""
    # an amplitude that all but vanishes: no noise must not become 0 times infinity
    g = plan.noise_amplitude.clamp(max=torch.finfo(symbols.dtype).max).to(symbols.dtype)
    leading = broadcast(symbols.shape[:-2], coefficients.shape[:-3])
    like = symbols.select(-2, 0).expand(*leading, -1)
    n = receiver_noise(like, plan.noise_variance, now)
    return (scale if n.requires_grad or g.requires_grad else scale_)(n, g, plan.message.segments)
