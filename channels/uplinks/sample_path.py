"""The sample path: the round carried out as it happens on the air, sample by sample.

    x_k = precoded symbols -> waveform -> impairments -> level control,    y = channel(x) + n -> front end -> combiner

It is taken where gains that hold over segments are not all: non-linear or time-varying impairments, interference, waveforms,
channels of the user's own. Without any of them both media give the same estimate, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from laser_wireless.channels.carrier import as_channel_uses
from laser_wireless.channels.hardware.impairments import Impairment, Radio, generators_of
from laser_wireless.channels.radio_link import receiver_noise
from laser_wireless.channels.round import Air, Round
from laser_wireless.channels.uplinks.medium import Arrival, transmitted
from laser_wireless.channels.uplinks.plan import Plan
from laser_wireless.channels.waveform import Ofdm, convolve


class Channel(Protocol):
    """A whole channel in one function: what the devices send -> what the antennas receive, before noise.

    By contract a device's symbols arrive with mean power gain 1. The receiver takes the gains to be 1, unless the power
    control knows better.
    """

    def __call__(self, x: Tensor, /, *, round: int, generator: torch.Generator) -> Tensor:
        """Turn x: complex [..., K, n] into y: complex [..., N_r, n]."""
        ...


@dataclass(frozen=True, kw_only=True)
class SampleMedium:
    """Every sample, from the precoders to the combiner.

    Args:
        impairments: stages of the transmitters.
        front_end: stages of the receiver.
        channel: a function of the user's own in place of the gains; None for the gains, or a waveform's taps.
        waveform: OFDM in the time domain; None where a sample is a channel use.
        num_rx_antennas: N_r.
        prefix_overhead: energy with cyclic prefix over energy without, where the prefix is not among the samples.
        bandwidth_hz: samples per second; None where no time is known, or a waveform knows it.
    """

    impairments: Sequence[Impairment]
    front_end: Sequence[Impairment]
    channel: Channel | None
    waveform: Ofdm | None
    num_rx_antennas: int
    prefix_overhead: float
    bandwidth_hz: float | None

    def carry(self, symbols: Tensor, plan: Plan, now: Round) -> Arrival:
        """Return what arrives; "noise", "channel", "impairment i" and "front end i" are drawn from; see `Medium`."""
        symbols, now = now.air.gather(symbols, -2), now.of_all_devices  # hardware draws row by row: all rows everywhere
        x = as_channel_uses(transmitted(symbols, plan))
        x = x.to(torch.complex128 if symbols.dtype == torch.float64 else torch.complex64)
        budget = plan.known.left / self.prefix_overhead
        sent = self.samples(x)
        radio = Radio(
            mean_power=(budget / sent.shape[-1]).unsqueeze(-1), sample_rate_hz=self._sample_rate_hz, round=now.index
        )
        sent = _stages(sent, self.impairments, radio, "impairment", now)
        sent, level, energy = _level_control(sent, budget, now.air)
        received = self._receive(self.propagate(sent, plan, now), radio, plan.noise_variance, now)
        return Arrival(
            estimate=_combine(self._channel_uses(received, x.shape[-1]), plan, symbols.shape[-1], level),
            noise_variance=plan.estimate_noise * level.square(),
            energy=energy.detach(),
            prefix=self.prefix_overhead,
            peak_power=torch.view_as_real(sent.detach()).abs().amax((-1, -2)).double().square(),
            num_real_samples=2 * sent.shape[-1],
        )

    def samples(self, x: Tensor) -> Tensor:
        """The samples of channel uses [..., n]."""
        if self.waveform is None:
            return x
        return self.waveform.modulate(self.waveform.to_elements(x)).flatten(-2)

    def propagate(self, x: Tensor, plan: Plan, now: Round) -> Tensor:
        """What the antennas receive of samples [..., K, n], before noise: [..., N_r, n]."""
        if self.channel is not None:
            return self._through(self.channel, x, now)
        if plan.taps is not None and self.waveform is not None:
            return self._through_taps(self.waveform, plan.taps, x, now.air)
        gains, segments = plan.gains.to(x.dtype), plan.message.segments
        gains = gains.expand(*gains.shape[:-2], self.num_rx_antennas, segments.num_segments)
        per_use = segments.expand(gains)[..., 0::2]  # [..., K, N_r, n]
        if per_use.shape[-3] == x.shape[-2]:
            total = (per_use * x.unsqueeze(-2)).sum(-3)
        else:
            total = per_use.squeeze(-3) * x.sum(-2, True)
        return now.air.sum(total.unsqueeze(-3), dim=-3).squeeze(-3)

    @property
    def _sample_rate_hz(self) -> float | None:
        return self.bandwidth_hz if self.waveform is None else self.waveform.sample_rate_hz

    def _channel_uses(self, samples: Tensor, num_uses: int) -> Tensor:
        """The channel uses [..., n] of received samples."""
        waveform = self.waveform
        if waveform is None:
            return samples
        symbols = samples.unflatten(-1, (-1, waveform.num_samples + waveform.prefix_samples))
        return waveform.from_elements(waveform.demodulate(symbols, waveform.filter_reach), num_uses)

    def _receive(self, y: Tensor, radio: Radio, noise_variance: Tensor, now: Round) -> Tensor:
        """Noise and the stages of the receiver."""
        pairs = torch.view_as_real(y.contiguous()).flatten(-2).detach()
        noise = receiver_noise(pairs, noise_variance.unsqueeze(-1), now)
        y = y + torch.view_as_complex(noise.unflatten(-1, (-1, 2)))
        return _stages(y, self.front_end, radio, "front end", now, gain_control=True)

    def _through_taps(self, waveform: Ofdm, taps: Tensor, x: Tensor, air: Air) -> Tensor:
        length = waveform.num_samples + waveform.prefix_samples
        taps = taps.to(x.dtype)
        taps = taps.expand(*taps.shape[:-3], self.num_rx_antennas, *taps.shape[-2:])  # each antenna has noise of its own
        stream = convolve(x.unflatten(-1, (-1, length)), taps, waveform.symbols_per_slot)
        stream = air.sum(stream.unsqueeze(-3), dim=-3).squeeze(-3)
        return _from_delay_zero(stream, x.shape[-1], waveform.filter_reach if taps.shape[-1] > 1 else 0)

    def _through(self, channel: Channel, x: Tensor, now: Round) -> Tensor:
        y = channel(x, round=now.index, generator=now.generator("channel", x.device))
        wanted = (*x.shape[:-2], self.num_rx_antennas, x.shape[-1])
        if not isinstance(y, Tensor) or y.dtype != x.dtype or y.shape != wanted:
            found = f"{y.dtype} {list(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            name = getattr(channel, "__name__", None) or repr(channel)
            raise ValueError(
                f"channel {name} must return what the antennas hear, {x.dtype} [num_rx_antennas, num_samples] = "
                f"{list(wanted)}, got {found}"
            )
        return y


def _stages(
    x: Tensor, stages: Sequence[Impairment], radio: Radio, name: str, now: Round, *, gain_control: bool = False
) -> Tensor:
    """Pass samples through stages; a receiver's gain control knows the mean power of what stands before each of them."""
    for place, stage in enumerate(stages):
        if gain_control:
            power = torch.view_as_real(x.resolve_conj()).double().square().sum(-1).mean((-1, -2), keepdim=True)
            radio = replace(radio, mean_power=power)
        changed = stage(x, radio, generators=generators_of(now.of_one_run, f"{name} {place}", radio, x.device))
        if not isinstance(changed, Tensor) or changed.shape != x.shape or changed.dtype != x.dtype:
            found = f"{changed.dtype} {list(changed.shape)}" if isinstance(changed, Tensor) else type(changed).__name__
            raise ValueError(
                f"{name} {place} ({stage}) must return samples like those given, {x.dtype} {list(x.shape)}, got {found}"
            )
        x = changed
    return x


def _level_control(x: Tensor, budget: Tensor, air: Air) -> tuple[Tensor, Tensor, Tensor]:
    """Lower all devices together until each keeps to its budget; prefixes and converters may have raised their energy.

    Returns:
        samples, the factor [..., 1] by which the receiver makes up for it, and the energy [..., K] of the samples.
    """
    energy = torch.view_as_real(x).double().square().sum((-1, -2))
    eps = torch.finfo(x.real.dtype).eps
    limit = budget.expand(energy.shape) * (1 - 8 * eps)  # rounding of the samples must not break it; a plan leaves 16 eps
    silent = limit <= 0  # whatever its hardware does, a device without energy is off
    excess = torch.where(silent, torch.zeros_like(energy), energy / torch.where(silent, torch.ones_like(limit), limit))
    factor = air.max(excess, dim=-1).clamp(min=1).sqrt()  # [..., 1]
    lower = factor.reciprocal().to(x.real.dtype)  # as it multiplies the samples, rounded
    gain = lower * (~silent)
    return x * gain.unsqueeze(-1), lower.double().reciprocal(), energy * gain.double().square()


def _from_delay_zero(stream: Tensor, length: int, start: int) -> Tensor:
    """Cut the part that the receiver's clock takes for its own: delay 0 lies `start` samples into the stream."""
    stream = torch.nn.functional.pad(stream, (0, max(0, start + length - stream.shape[-1])))
    return stream[..., start : start + length]


def _combine(received: Tensor, plan: Plan, num_symbols: int, level: Tensor) -> Tensor:
    """w^H y as real numbers [..., S]: real parts on in-phase symbols, imaginary ones on quadrature, each with its own w.

    level: [..., 1], by which the receiver makes up for what the level control lowered.
    """
    segments = plan.message.segments
    w = plan.design.combiner.to(received.dtype).conj()
    w = segments.expand(w.expand(*w.shape[:-1], segments.num_segments))
    in_phase = (w[..., 0::2] * received).sum(-2).real
    odd = w[..., 1::2]
    quadrature = (odd * received[..., : odd.shape[-1]]).sum(-2).imag
    if odd.shape[-1] < in_phase.shape[-1]:
        quadrature = torch.nn.functional.pad(quadrature, (0, 1))
    estimate = torch.stack([in_phase, quadrature], dim=-1).flatten(-2)[..., :num_symbols]
    return estimate * level.to(received.real.dtype)
