"""The sample path: the round carried out as it happens on the air, sample by sample.

    x_k = precoded symbols -> waveform -> impairments -> level control,    y = channel(x) + n -> front end -> combiner

It is taken where the quick path does not hold: non-linear or time-varying impairments, interference, waveforms, channels of
the user's own. Without any of them both give the same estimate, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
from laser_wireless.channels.hardware.impairments import Impairment, Radio, generators_of
from laser_wireless.channels.noise import receiver_noise
from laser_wireless.channels.segments import Segments
from laser_wireless.channels.streams import Streams
from laser_wireless.channels.superposition import Air
from laser_wireless.channels.waveform import Ofdm, convolve
from torch import Tensor


class Channel(Protocol):
    """A whole channel in one function: what the devices send -> what the antennas hear, before noise.

    By contract a device's symbols arrive with mean power gain 1. The receiver takes the gains to be 1, unless the power
    control knows better.
    """

    def __call__(self, x: Tensor, *, round: int, generator: torch.Generator) -> Tensor:
        """Turn x: complex [..., K, n] into y: complex [..., N_r, n]."""
        ...


class Arrival(NamedTuple):
    """What the receiver made of the samples.

    estimate: [..., S]. energy_spent, peak_power: float64 [..., K], on the air, the peak of one real dimension.
    num_samples: complex samples sent by each device.
    level: float64 [..., 1], by which the receiver made up for what the level control lowered; noise is raised with it.
    """

    estimate: Tensor
    energy_spent: Tensor
    peak_power: Tensor
    num_samples: int
    level: Tensor


class Medium(NamedTuple):
    """All that lies between the precoders and the combiner.

    gains: complex or real, broadcastable to [..., K, N_r, G]. taps: complex [..., K, N_r, T, L] of a waveform in time.
    combiner: complex or real, broadcastable to [..., N_r, G]; the estimate is w^H y.
    budget: float64, broadcastable to [..., K].
    """

    segments: Segments
    gains: Tensor
    taps: Tensor | None
    combiner: Tensor
    budget: Tensor
    noise_variance: Tensor
    impairments: Sequence[Impairment]
    front_end: Sequence[Impairment]
    channel: Channel | None
    ofdm: Ofdm | None
    bandwidth_hz: float | None

    @property
    def num_antennas(self) -> int:
        """N_r."""
        return self.combiner.shape[-2]


def through_samples(x: Tensor, medium: Medium, num_symbols: int, *, round: int, streams: Streams, air: Air) -> Arrival:
    """Carry precoded symbols to the receiver.

    Args:
        x: complex [..., K, n], what the precoders give, n = ceil(S / 2) channel uses.
        medium: what lies between.
        num_symbols: S.
        round: 0, 1, ...
        streams: "noise", "channel", "impairment i" and "front end i" are drawn from.
        air: adds up.
    """
    num_uses = x.shape[-1]
    waveform = medium.ofdm if medium.ofdm is not None and medium.ofdm.time_domain else None
    sent = x if waveform is None else waveform.modulate(waveform.to_elements(x)).flatten(-2)
    rate = medium.bandwidth_hz if waveform is None else waveform.sample_rate_hz
    allowed = (medium.budget / sent.shape[-1]).unsqueeze(-1)
    sent = _stages(
        sent, medium.impairments, Radio(mean_power=allowed, sample_rate_hz=rate, round=round), "impairment", streams
    )
    sent, level, spent = _level_control(sent, medium.budget, air)

    heard = _propagate(sent, medium, num_uses, round, streams, air)  # [..., N_r, n]
    pairs = torch.view_as_real(heard.contiguous()).flatten(-2).detach()
    noise = receiver_noise(pairs, medium.noise_variance.unsqueeze(-1), generator=streams.generator("noise", round, x.device))
    heard = heard + torch.view_as_complex(noise.unflatten(-1, (-1, 2)))
    radio = Radio(mean_power=allowed, sample_rate_hz=rate, round=round)
    heard = _stages(heard, medium.front_end, radio, "front end", streams, gain_control=True)

    if waveform is not None:
        symbols = heard.unflatten(-1, (-1, waveform.num_samples + waveform.prefix_samples))
        heard = waveform.from_elements(waveform.demodulate(symbols, waveform.filter_reach), num_uses)
    estimate = _combine(heard, medium, num_symbols) * level.to(heard.real.dtype)
    parts = torch.view_as_real(sent.detach())
    peak = parts.abs().amax((-1, -2)).double().square()
    return Arrival(estimate, spent, peak, sent.shape[-1], level)


def _stages(
    x: Tensor, stages: Sequence[Impairment], radio: Radio, name: str, streams: Streams, *, gain_control: bool = False
) -> Tensor:
    """Pass samples through stages; a receiver's gain control knows the mean power of what stands before each of them."""
    for place, stage in enumerate(stages):
        if gain_control:
            power = torch.view_as_real(x.resolve_conj()).double().square().sum(-1).mean((-1, -2), keepdim=True)
            radio = replace(radio, mean_power=power)
        changed = stage(x, radio, generators=generators_of(streams, f"{name} {place}", radio, x.device))
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


def _propagate(x: Tensor, medium: Medium, num_uses: int, round: int, streams: Streams, air: Air) -> Tensor:
    if medium.channel is not None:
        return _through(medium.channel, x, medium, round, streams)
    if medium.taps is not None and medium.ofdm is not None:
        ofdm, length = medium.ofdm, medium.ofdm.num_samples + medium.ofdm.prefix_samples
        taps = medium.taps.to(x.dtype)
        taps = taps.expand(*taps.shape[:-3], medium.num_antennas, *taps.shape[-2:])  # each antenna has noise of its own
        stream = convolve(x.unflatten(-1, (-1, length)), taps, ofdm.symbols_per_slot)
        stream = air.sum(stream.unsqueeze(-3), dim=-3).squeeze(-3)
        return _from_delay_zero(stream, x.shape[-1], ofdm.filter_reach if taps.shape[-1] > 1 else 0)
    gains, segments = medium.gains.to(x.dtype), medium.segments
    gains = gains.expand(*gains.shape[:-2], medium.num_antennas, segments.num_segments)
    per_use = segments.expand(gains)[..., 0::2]  # [..., K, N_r, n]
    total = (
        (per_use * x.unsqueeze(-2)).sum(-3) if per_use.shape[-3] == x.shape[-2] else per_use.squeeze(-3) * x.sum(-2, True)
    )
    return air.sum(total.unsqueeze(-3), dim=-3).squeeze(-3)


def _from_delay_zero(stream: Tensor, length: int, start: int) -> Tensor:
    """Cut the part that the receiver's clock takes for its own: delay 0 lies `start` samples into the stream."""
    stream = torch.nn.functional.pad(stream, (0, max(0, start + length - stream.shape[-1])))
    return stream[..., start : start + length]


def _through(channel: Channel, x: Tensor, medium: Medium, round: int, streams: Streams) -> Tensor:
    y = channel(x, round=round, generator=streams.generator("channel", round, x.device))
    wanted = (*x.shape[:-2], medium.num_antennas, x.shape[-1])
    if not isinstance(y, Tensor) or y.dtype != x.dtype or y.shape != wanted:
        found = f"{y.dtype} {list(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        name = getattr(channel, "__name__", None) or repr(channel)
        raise ValueError(
            f"channel {name} must return what the antennas hear, {x.dtype} [num_rx_antennas, num_samples] = {list(wanted)}, "
            f"got {found}"
        )
    return y


def _combine(heard: Tensor, medium: Medium, num_symbols: int) -> Tensor:
    """w^H y as real numbers [..., S]: real parts on in-phase symbols, imaginary ones on quadrature, each with its own w."""
    segments = medium.segments
    w = medium.combiner.to(heard.dtype).conj()
    w = segments.expand(w.expand(*w.shape[:-1], segments.num_segments))
    in_phase = (w[..., 0::2] * heard).sum(-2).real
    odd = w[..., 1::2]
    quadrature = (odd * heard[..., : odd.shape[-1]]).sum(-2).imag
    if odd.shape[-1] < in_phase.shape[-1]:
        quadrature = torch.nn.functional.pad(quadrature, (0, 1))
    return torch.stack([in_phase, quadrature], dim=-1).flatten(-2)[..., :num_symbols]
