"""A channel by itself, without a model: error of the aggregate, silence and energy against SNR, beside the closed forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.theory import inversion_mse, silence
from laser_wireless.channels import (
    AlignedInversion,
    AnalogUplink,
    Fading,
    NoFading,
    PowerControl,
    Streams,
    draw_rounds,
    energy_from_snr,
    from_db,
)
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ChannelStudy:
    """What to measure.

    Args:
        fading: law of the gains.
        power_control: the devices' policy.
        num_devices: K.
        num_symbols: S, real symbols of a message; white, unit variance, scaled to equal norms.
        snr_db: list of SNRs of one device, per real symbol, in dB; the energy budget is SNR times S at noise variance 1.
        num_rounds: Monte-Carlo rounds; each has its own gains, messages and noise, the same at every SNR.
        seed: of all draws.
    """

    fading: Fading = field(default_factory=NoFading)
    power_control: PowerControl = field(default_factory=AlignedInversion)
    num_devices: int = 16
    num_symbols: int = 64
    snr_db: list[float] = field(default_factory=lambda: [-20.0, -15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0])
    num_rounds: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_devices", "num_symbols"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.num_rounds < 2:
            raise ValueError(f"num_rounds must be >= 2, for a standard error, got {self.num_rounds}")
        if not self.snr_db:
            raise ValueError("snr_db must hold at least one value")


def study(
    settings: ChannelStudy, device: torch.device, progress: Callable[[list[float]], Iterable[float]] = iter
) -> list[Row]:
    """Measure at each SNR.

    Returns:
        rows with snr_db, energy_budget, mse (per symbol of the mean message, with standard error mse_se), mse_given_gains
        (closed form, averaged over the drawn gains), mse_theory (closed form over the law; NaN where not known), silent
        and outage (fractions, with _theory), energy_spent and energy_spent_largest (over the budget).
    """
    k, s = settings.num_devices, settings.num_symbols
    streams = Streams(settings.seed)
    uplink = AnalogUplink(energy_budget=1.0, fading=settings.fading, power_control=settings.power_control)
    gains = draw_rounds(
        settings.fading, k, uplink.grid((s,)), num_rounds=settings.num_rounds, streams=streams, device=device
    )
    messages = torch.randn(settings.num_rounds, k, s, device=device, generator=streams.generator("messages", 0, device))
    messages *= s**0.5 / messages.norm(dim=-1, keepdim=True)
    rows: list[Row] = []
    for snr_db in progress(settings.snr_db):
        snr = from_db(float(snr_db))
        loud = replace(uplink, energy_budget=energy_from_snr(snr, s))
        rows.append({"snr_db": float(snr_db), **_at_one_snr(settings, loud, snr, messages, gains, streams)})
    return rows


def _at_one_snr(
    settings: ChannelStudy, uplink: AnalogUplink, snr: float, messages: Tensor, gains: Tensor, streams: Streams
) -> Row:
    s, budget = settings.num_symbols, energy_from_snr(snr, settings.num_symbols)
    reception = uplink.aggregate(messages, (s,), round=0, streams=streams, gains=gains)
    ledger = reception.ledger
    ledger.check()
    error = (reception.estimate - messages.mean(-2)).double().square().mean(-1)  # [rounds]
    plan = uplink.plan(messages, (s,), round=0, streams=streams, gains=gains)
    received = plan.transceiver.scale * (plan.gains * plan.transceiver.precoder)  # g h b, [rounds, K, 1]
    bias = ((received - 1 / settings.num_devices) * messages).sum(-2).abs().square().mean(-1)
    given_gains = bias + plan.transceiver.scale.square().squeeze(-1).squeeze(-1)
    silent_theory = silence(settings.fading, settings.power_control)
    return {
        "energy_budget": budget,
        "mse": error.mean().item(),
        "mse_se": (error.std() / len(error) ** 0.5).item(),
        "mse_given_gains": given_gains.mean().item(),
        "mse_theory": inversion_mse(settings.fading, settings.power_control, settings.num_devices, snr),
        "silent": 1 - ledger.active_fraction.mean().item(),
        "silent_theory": silent_theory,
        "outage": ledger.outage.mean().item(),
        "outage_theory": silent_theory**settings.num_devices,
        "energy_spent": (ledger.energy_spent.mean() / budget).item(),
        "energy_spent_largest": (ledger.energy_spent.max() / budget).item(),
    }
