"""Channel inversion: all active devices arrive with one amplitude per block, so that the sum is a mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.power_control.contract import Agreement, Transceiver
from laser_wireless.channels.signals import root, wide

_NO_GAIN = 1e-200  # |h|^2 whose inverse would not leave room for other factors in float64


@dataclass(frozen=True, kw_only=True)
@checked
class TruncatedInversion:
    """Invert the channel where |h|^2 >= threshold, stay silent in a deeper fade.

    All active devices arrive with one amplitude per block, the largest that each of them can afford:
    alpha_b = min_k sqrt(P_kb / sum_{s in b} |u_ks|^2 / |h_ks|^2), b_k = alpha_b conj(h_k) / |h_k|^2, g = 1 / (alpha_b K_a),
    with K_a active devices: the estimate is the mean of their messages, and devices with P_k = 0 never count.
    Reference: Zhu, Wang, Huang, arXiv:1812.11494; with h = 1 the rule of Makkuva et al., arXiv:2310.13033.

    Args:
        threshold: smallest |h|^2 worth inverting, >= 0. Under Rayleigh fading a device is silent with
            probability 1 - exp(-threshold).
    """

    threshold: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < float("inf"):
            raise ValueError(f"threshold must be finite and >= 0 (a value of |h|^2), got {self.threshold}")

    def __call__(
        self, h: Tensor, norms: Tensor, energy: Tensor, noise_variance: Tensor, *, agreement: Agreement
    ) -> Transceiver:
        """Return the transceiver of a round; see `PowerControl`."""
        links = _links(h, energy, self.threshold)
        return _invert(links, links.inverse, norms, energy, agreement)


@dataclass(frozen=True, kw_only=True)
@checked
class TimeVaryingPrecoding:
    """Precoding of COTAF: like `TruncatedInversion`, but the common amplitude comes from the norms and the threshold alone.

    alpha_b = min_k sqrt(threshold P_kb) / ||u_kb||, over all devices with energy, active or not. An active device has
    |h|^2 >= threshold and so never exceeds its limit; nobody needs another device's gain, and the receiver only the number
    of those who send. Never louder than `TruncatedInversion`, which fits alpha_b to the weakest gain in use.
    Reference: Sery, Shlezinger, Cohen, Eldar, arXiv:2009.12787, where p_t = P / max_k E||u_k||^2. The expectation keeps the
    limit on average only; here it is this round's norm (`OracleScale`) or last round's (`PreviousScale`), and the limit is
    kept in every round. Without fading and with threshold 1 it is `AlignedInversion`.

    Args:
        threshold: smallest |h|^2 worth inverting, > 0.
    """

    threshold: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.threshold < float("inf"):
            raise ValueError(f"threshold must be finite and > 0 (a value of |h|^2), got {self.threshold}")

    def __call__(
        self, h: Tensor, norms: Tensor, energy: Tensor, noise_variance: Tensor, *, agreement: Agreement
    ) -> Transceiver:
        """Return the transceiver of a round; see `PowerControl`."""
        links = _links(h, energy, self.threshold)
        return _invert(links, links.powered.double() / self.threshold, norms, energy, agreement)


@dataclass(frozen=True, kw_only=True)
class AlignedInversion:
    """Invert every device's channel, however deep its fade: `TruncatedInversion` with threshold 0.

    The weakest device sets the amplitude of all; under Rayleigh fading the mean noise energy is infinite. A device with
    h = 0 exactly cannot be inverted and is left out.
    """

    def __call__(
        self, h: Tensor, norms: Tensor, energy: Tensor, noise_variance: Tensor, *, agreement: Agreement
    ) -> Transceiver:
        """Return the transceiver of a round; see `PowerControl`."""
        links = _links(h, energy, 0.0)
        return _invert(links, links.inverse, norms, energy, agreement)


class _Links(NamedTuple):
    """gain: h, wide. active: bool, whether it is inverted. inverse: 1 / |h|^2, 0 where not. powered: bool [..., K, 1]."""

    gain: Tensor
    active: Tensor
    inverse: Tensor
    powered: Tensor


def _links(h: Tensor, energy: Tensor, threshold: float) -> _Links:
    gain = wide(h)
    power = gain.abs().square()
    powered = energy.amax(-1, keepdim=True) > 0  # a block without energy is silent, its device is not
    active = (power >= max(threshold, _NO_GAIN)) & powered  # [..., K|1, G|1]
    return _Links(gain, active, power.masked_fill(~active, torch.inf).reciprocal(), powered)


def _invert(links: _Links, foreseen: Tensor, norms: Tensor, energy: Tensor, agreement: Agreement) -> Transceiver:
    """Invert with one amplitude for all, that of devices which foresee to need `foreseen` energy for unit amplitude."""
    segments, air = agreement.segments, agreement.air
    needed = segments.sum_in_blocks(norms.square() * foreseen)  # energy for unit amplitude, [..., K, B]
    empty = needed == 0
    limits = root(energy / (needed + empty)).masked_fill(empty, torch.inf)

    common = agreement.amplitude(limits)  # [..., 1, B]
    unusable = (common <= 0) | common.isinf()
    common = common.masked_fill(unusable, 1)
    own = torch.minimum(common, limits).masked_fill(unusable, 0)  # a clipped device arrives weaker

    active, num_devices = links.active, norms.shape[-2]
    speakers = air.sum(active.to(norms.dtype).expand(*active.shape[:-2], num_devices, -1), dim=-2)
    silent = segments.from_blocks(unusable) | (speakers == 0)
    scale = (segments.from_blocks(common) * speakers).reciprocal().masked_fill(silent, 0)
    precoder = segments.from_blocks(own) * links.inverse * links.gain.conj()
    delivered = segments.from_blocks(own / common) * active
    return Transceiver(precoder, scale, delivered, active & ~segments.from_blocks(unusable & ~empty), limits)
