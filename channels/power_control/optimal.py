"""Power controls of least error in the estimated mean of all K devices, which trade bias for noise.

With arriving amplitudes a_k = |h_k b_k| and nu_k = ||u_k||^2 the error of a segment of N real symbols is

    sum_k (g a_k - 1/K)^2 nu_k + g^2 sigma^2 N      (uncorrelated messages)

Both rules use this round's gains and norms of all devices, an oracle: `MseOptimal` agrees on nothing that a last round could
tell, so `PreviousScale` does not touch it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.power_control.contract import Agreement, Transceiver
from laser_wireless.channels.power_control.estimation_error import count_devices, delivered_share, least_error_scale
from laser_wireless.channels.power_control.full_power import undo_phase
from laser_wireless.channels.round import Air
from laser_wireless.channels.signals import root, wide

_HALVINGS = 32  # of log(level): brackets of 60 decades shrink below 1e-7, and the last step is exact


@dataclass(frozen=True, kw_only=True)
class MseOptimal:
    """The least expected error that energy limits allow: strong devices align, weak ones send at full power.

    Given g, device k sends at a_k = min(A_k, 1 / (g K)), where A_k is what it can afford: with full power below a threshold,
    inverting its channel above (Cao, Zhu, Xu, Huang, IEEE TWC 19(11), 2020, doi:10.1109/TWC.2020.3012287). The common level
    x = 1 / (g K) solves sum_k nu_k A_k max(0, x - A_k) = sigma^2 N, a water-filling; the error is then

        sum over A_k < x of nu_k (1 - A_k / x)^2 / K^2 + sigma^2 N / (K x)^2

    Exact where a block is one segment. A block of several segments gives each the fraction of the energy that its symbols
    have in the device's message, so that nobody needs the gains of later segments; each is then optimal given that.
    Without noise it is `AlignedInversion` of all who can arrive. Differentiable: the level is found by bisection and
    found exactly by one closed-form step, which carries the gradient.
    """

    def __call__(
        self, h: Tensor, norms: Tensor, energy: Tensor, noise_variance: Tensor, *, agreement: Agreement
    ) -> Transceiver:
        """Return the transceiver of a round; see `PowerControl`."""
        segments, air = agreement.segments, agreement.air
        gain = wide(h)
        powers = norms.square()
        needed = segments.sum_in_blocks(powers)
        empty = needed == 0
        limit = segments.from_blocks(root(energy / (needed + empty)).masked_fill(empty, 0))  # of |b|, [..., K, G]
        size = gain.abs()
        most = size * limit  # A_k
        noise_energy = noise_variance[..., None, None] * segments.lengths_like(norms)
        level, arrives = _level(most, powers, noise_energy, air)

        num_devices = count_devices(norms, air)
        full = most <= level
        inverting = level / (size + (size == 0))
        precoder = torch.where(full, limit, inverting.clamp(max=limit)) * undo_phase(gain)
        precoder = precoder.masked_fill(~arrives, 0)
        scale = (num_devices * level).reciprocal().masked_fill(~arrives, 0)
        delivered = (torch.minimum(most, level) / level).masked_fill(~arrives, 0)
        active = (energy.amax(-1, keepdim=True) > 0) & (gain != 0)
        return Transceiver(precoder, scale, delivered * active, active)


def _level(most: Tensor, powers: Tensor, noise_energy: Tensor, air: Air) -> tuple[Tensor, Tensor]:
    """Solve sum_k nu_k A_k max(0, x - A_k) = noise_energy.

    The left side is the largest of the sums over subsets S of the devices, so x is the least of the roots
    (noise_energy + sum_S nu A^2) / sum_S nu A: any S gives an upper bound, the devices with A_k <= x the value.

    Returns:
        x: float64 [..., 1, G], 1 where nobody arrives.
        arrives: bool [..., 1, G].
    """
    weights = powers * most
    counts = weights > 0

    def root_of(level: Tensor) -> Tensor:
        """Root for the devices with A_k <= level; infinite where there are none."""
        chosen = weights.masked_fill(~(most <= level), 0)
        sums = air.sum(torch.stack([chosen, chosen * most], dim=0), dim=-2)
        none = sums[0] == 0
        return ((noise_energy + sums[1]) / (sums[0] + none)).masked_fill(none, torch.inf)

    with torch.no_grad():
        low = air.min(most.masked_fill(~counts, torch.inf), dim=-2)
        arrives = low < torch.inf
        low = low.masked_fill(~arrives, 1)
        alone = most + noise_energy / (weights + ~counts)
        high = air.min(alone.masked_fill(~counts, torch.inf), dim=-2).masked_fill(~arrives, 1).maximum(low)
        for _ in range(_HALVINGS):
            middle = low.sqrt() * high.sqrt()
            found = root_of(middle)
            low = torch.where(found >= middle, middle, low)
            high = torch.minimum(high, found.maximum(low))
    return root_of(high).masked_fill(~arrives, 1), arrives


@dataclass(frozen=True, kw_only=True)
@checked
class RegularisedInversion:
    """Invert the channel softly: b_k = alpha_b conj(h_k) / (|h_k|^2 + regulariser), and the scale of least error.

    alpha_b is the largest that every device can afford, common to all. Weak devices count less, and no fade costs more
    energy than a gain of |h|^2 = regulariser. Such is the optimum under a limit on the mean energy over many fades (see
    `MseOptimal` for the paper), there with a multiplier in place of the regulariser. Biased, also without noise:

        sum_k (g a_k - 1/K)^2 nu_k + g^2 sigma^2 N,    a_k = alpha_b |h_k|^2 / (|h_k|^2 + regulariser)

    Args:
        regulariser: > 0, on the scale of |h|^2.
    """

    regulariser: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.regulariser < float("inf"):
            raise ValueError(
                f"regulariser must be finite and > 0 (on the scale of |h|^2), got {self.regulariser}; "
                "without one the rule is AlignedInversion"
            )

    def __call__(
        self, h: Tensor, norms: Tensor, energy: Tensor, noise_variance: Tensor, *, agreement: Agreement
    ) -> Transceiver:
        """Return the transceiver of a round; see `PowerControl`. Differentiable."""
        segments, air = agreement.segments, agreement.air
        gain = wide(h)
        power = gain.abs().square()
        active = (power > 0) & (energy.amax(-1, keepdim=True) > 0)
        soft = (gain.conj() if gain.is_complex() else gain) / (power + self.regulariser) * active
        needed = segments.sum_in_blocks(norms.square() * (power / (power + self.regulariser).square() * active))
        empty = needed == 0
        limits = root(energy / (needed + empty)).masked_fill(empty, torch.inf)
        common = agreement.amplitude(limits)
        unusable = (common <= 0) | common.isinf()
        own = torch.minimum(common.masked_fill(unusable, 1), limits).masked_fill(unusable, 0)
        precoder = segments.from_blocks(own) * soft
        noise_energy = noise_variance[..., None, None] * segments.lengths_like(norms)
        arriving = gain * precoder
        scale = least_error_scale(arriving, norms, noise_energy, air)
        delivered = delivered_share(scale * arriving, count_devices(norms, air)) * active
        return Transceiver(precoder, scale, delivered, active & ~segments.from_blocks(unusable & ~empty), limits)
