"""Power controls that do not invert the fading: full power and the open loop of 3GPP.

Each device spends an energy of its own choice on a block, with one amplitude |b_kb| = sqrt(E_kb) / ||u_kb|| in all of it.
Devices then arrive with unequal amplitudes |h_k b_k|; nothing has to be agreed between them. The receiver, which knows what
arrives, sets its scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from laser_wireless.channels.constants import constant
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.power_control.contract import Agreement, Transceiver
from laser_wireless.channels.power_control.estimation_error import count_devices, delivered_share, least_error_scale
from laser_wireless.channels.round import Air
from laser_wireless.channels.signals import root, wide

ScaleRule = Literal["least_error", "unit_sum"]


@dataclass(frozen=True, kw_only=True)
@checked
class FullPower:
    """Every device spends its whole energy on every block.

    With scale "least_error" the expected error given the gains is, for nu_k = ||u_k||^2 and a_k = h_k b_k,

        sum_k nu_k / K^2 - max(0, sum_k Re(a_k) nu_k / K)^2 / (sum_k |a_k|^2 nu_k + sigma^2 N)

    The scale is never negative: where the devices as a whole arrive upside down (phase = False, one antenna), the receiver
    says zero, with the error of the first term, as it does not know which of the messages to turn.

    Without CSI at the transmitters (phase = False) and with a receiver of many antennas (`MaximumRatio`) this is the scheme
    of Amiri, Duman, Gunduz, Kulkarni, Poor, arXiv:2010.10030: the array hardens the channel.

    Args:
        phase: whether transmitters know and undo the phase of h. If not, the precoder does not depend on h at all, and the
            receiver must align what arrives: with one antenna about half of the devices arrive against the others.
        scale: of the receiver. "least_error" counts on uncorrelated messages and shrinks the estimate of the mean of all K
            devices; "unit_sum" gives the devices weights that add up to one, exact without noise if all messages are equal.

    A device with h = 0 exactly has no phase and is silent.
    """

    phase: bool = True
    scale: ScaleRule = "least_error"

    def __post_init__(self) -> None:
        _check_scale(self.scale)

    def __call__(
        self, h: Tensor, norms: Tensor, energy: Tensor, noise_variance: Tensor, *, agreement: Agreement
    ) -> Transceiver:
        """Return the transceiver of a round; see `PowerControl`. Differentiable."""
        return _spend(h, norms, energy, noise_variance, agreement, phase=self.phase, rule=self.scale)


@dataclass(frozen=True, kw_only=True)
@checked
class OpenLoop:
    """Fractional path-loss compensation, the open loop of 3GPP TS 38.213, section 7.1: P = min(Pmax, P0 + alpha PL) in dB.

    Here linear and as energy: a block of N_b real symbols gets N_b min(max_power, p0 / link_gain^alpha), and never more
    than the device's energy for it. Only the path loss counts, the fading is not inverted. A device sends at that power
    whatever the norm of its message, as a modem does, so a louder message arrives with a smaller weight.

    Args:
        p0: energy per real symbol, > 0; what arrives on average at alpha = 1, in the units of the noise variance.
        alpha: fraction of the path loss (in dB) that is compensated, in [0, 1].
        max_power: most energy per real symbol, > 0; no limit but the energy's if None.
        phase: whether transmitters undo the phase of h; see `FullPower`.
        scale: of the receiver; see `FullPower`.

    `Agreement.link_gain` is the path gain; where it is None, all links have gain 1.
    """

    p0: float = 1.0
    alpha: float = 0.8
    max_power: float | None = None
    phase: bool = True
    scale: ScaleRule = "least_error"

    def __post_init__(self) -> None:
        if not 0 < self.p0 < float("inf"):
            raise ValueError(f"p0 must be finite and > 0 (energy per real symbol, linear, not dBm), got {self.p0}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must lie in [0, 1], got {self.alpha}")
        if self.max_power is not None and not 0 < self.max_power < float("inf"):
            raise ValueError(f"max_power must be finite and > 0 (energy per real symbol) or None, got {self.max_power}")
        _check_scale(self.scale)

    def __call__(
        self, h: Tensor, norms: Tensor, energy: Tensor, noise_variance: Tensor, *, agreement: Agreement
    ) -> Transceiver:
        """Return the transceiver of a round; see `PowerControl`. Differentiable."""
        sizes = constant(agreement.segments.block_sizes, dtype=torch.float64, device=norms.device)
        power = torch.full((1, 1), self.p0, dtype=torch.float64, device=norms.device)
        if agreement.link_gain is not None:
            power = power * agreement.link_gain.double().unsqueeze(-1) ** -self.alpha
        if self.max_power is not None:
            power = power.clamp(max=self.max_power)
        used = torch.minimum(energy, power * sizes)
        return _spend(h, norms, used, noise_variance, agreement, phase=self.phase, rule=self.scale)


def _spend(
    h: Tensor,
    norms: Tensor,
    energy: Tensor,
    noise_variance: Tensor,
    agreement: Agreement,
    *,
    phase: bool,
    rule: ScaleRule,
) -> Transceiver:
    """Spend exactly `energy` [..., K|1, B] on each block."""
    segments, air = agreement.segments, agreement.air
    gain = wide(h)
    needed = segments.sum_in_blocks(norms.square())
    empty = needed == 0
    amplitude = segments.from_blocks(root(energy / (needed + empty)).masked_fill(empty, 0))  # [..., K, G]
    precoder = amplitude * undo_phase(gain) if phase else amplitude
    active = (energy.amax(-1, keepdim=True) > 0) & ((gain != 0) if phase else True)
    arriving = gain * precoder
    noise_energy = noise_variance[..., None, None] * segments.lengths_like(norms)
    if rule == "least_error":
        scale = least_error_scale(arriving, norms, noise_energy, air)
        counted = count_devices(norms, air)
    else:
        counted = _count(active, norms, air)
        sending = _count((precoder != 0) & active, norms, air)  # the others say zero
        total = air.sum(arriving.real if arriving.is_complex() else arriving, dim=-2)
        arrives = (total > 0) & (counted > 0)
        scale = (sending / (total * counted).masked_fill(~arrives, 1)).masked_fill(~arrives, 0)
    return Transceiver(precoder, scale, delivered_share(scale * arriving, counted) * active, active)


def _count(chosen: Tensor, norms: Tensor, air: Air) -> Tensor:
    """How many devices are chosen: bool, broadcastable to [..., K, G] -> float64 [..., 1, G]."""
    return air.sum(chosen.double().expand(*chosen.shape[:-2], norms.shape[-2], -1), dim=-2)


def undo_phase(gain: Tensor) -> Tensor:
    """conj(h) / |h|, 0 where h is 0; real for real gains."""
    size = gain.abs()
    return (gain.conj() if gain.is_complex() else gain) / (size + (size == 0))


def _check_scale(scale: str) -> None:
    if scale not in ("least_error", "unit_sum"):
        raise ValueError(f'scale must be "least_error" or "unit_sum", got {scale!r}')
