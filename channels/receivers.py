"""Receivers of N_r antennas: estimate = w^H y, y = sum_k a_k u_k + n with a_k = h_k b_k, one w for each segment.

With p_k = ||u_k||^2 / N, the mean square of a real symbol, and uncorrelated messages, the error per real symbol is

    sum_k |w^H a_k - 1/K|^2 p_k + ||w||^2 sigma^2

Two real symbols share a channel use, so signal powers 2 p_k meet noise of variance 2 sigma^2, and the factors cancel. All w
are found in float64. A receiver takes turns with the power control: `beam` is its first guess, from the channel alone; the
power control sees the gains w^H h_k / ||w||; `combine` sets w for what arrives; `alternations` more rounds may follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from laser_wireless.channels.estimation_error import delivered_share
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.power_control import Transceiver
from laser_wireless.channels.round import Air
from laser_wireless.channels.signals import root, wide
from torch import Tensor

_SINGULAR = 1e-13  # eigenvalues below this part of the largest are no signal
_SQUARINGS = 12  # of a covariance matrix: 4096 steps of the power method

Mean = Literal["policy", "active", "all"]


class Receiver(Protocol):
    """Chooses the combiner; state of the channel comes in by its arguments only.

    alternations: rounds of joint design with the power control after the first; 0 designs once.
    mean_of: whose mean is wanted, for `delivered_by`: as the power control says, of the active devices, or of all K.
    """

    @property
    def alternations(self) -> int:
        """Rounds of joint design after the first."""
        ...

    @property
    def mean_of(self) -> Mean:
        """Whose mean the estimate aims at."""
        ...

    def beam(self, h: Tensor, air: Air) -> Tensor:
        """Return the first combiner [..., N_r, G], of unit norm.

        Args:
            h: real or complex [..., K, N_r, G], gains as the receiver knows them.
            air: adds up over the devices.
        """
        ...

    def combine(
        self, arriving: Tensor, beam: Tensor, transceiver: Transceiver, power: Tensor, noise_variance: Tensor, air: Air
    ) -> Tensor:
        """Return w [..., N_r, G], scale included; 0 where nothing arrives.

        Args:
            arriving: real or complex [..., K, N_r, G], a_k.
            beam: [..., N_r, G], the unit-norm combiner that the power control knew.
            transceiver: what the power control chose for it.
            power: float64, broadcastable to [..., K, G], p_k.
            noise_variance: float64 [...], sigma^2 per real symbol.
            air: adds up over the devices.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class SingleAntenna:
    """One antenna: w = g, the scale of the power control."""

    @property
    def alternations(self) -> int:
        """0."""
        return 0

    @property
    def mean_of(self) -> Mean:
        """The power control's."""
        return "policy"

    def beam(self, h: Tensor, air: Air) -> Tensor:
        """Return ones: [..., 1, G].

        Raises:
            ValueError: the gains are of several antennas.
        """
        if h.shape[-2] != 1:
            raise ValueError(
                f"SingleAntenna needs gains of one antenna, [..., num_devices, 1, G], got {list(h.shape)}; "
                "use num_rx_antennas=1 or a receiver that combines, such as Lmmse()"
            )
        return torch.ones_like(wide(h)[..., 0, :, :])

    def combine(
        self, arriving: Tensor, beam: Tensor, transceiver: Transceiver, power: Tensor, noise_variance: Tensor, air: Air
    ) -> Tensor:
        """Return g; see `Receiver`."""
        return beam * transceiver.scale


@dataclass(frozen=True, kw_only=True)
@checked
class MaximumRatio:
    """A beam from the gains alone, scaled by the power control: w = g v.

    Args:
        direction: "sum", v along sum_k h_k: the matched filter of what devices send that know nothing of the channel
            (`FullPower(phase=False)`), whose cross terms vanish as antennas grow (channel hardening: Amiri, Duman, Gunduz,
            Kulkarni, Poor, arXiv:2010.10030). "dominant", v maximises sum_k |v^H h_k|^2: for devices that undo the phase of
            v^H h_k.
    """

    direction: Literal["sum", "dominant"] = "sum"

    def __post_init__(self) -> None:
        if self.direction not in ("sum", "dominant"):
            raise ValueError(f'direction must be "sum" or "dominant", got {self.direction!r}')

    @property
    def alternations(self) -> int:
        """0."""
        return 0

    @property
    def mean_of(self) -> Mean:
        """The power control's."""
        return "policy"

    def beam(self, h: Tensor, air: Air) -> Tensor:
        """Return v; the first antenna where the gains vanish or cancel. Differentiable."""
        if self.direction == "dominant":
            return _dominant(h, air)
        return _unit(_sum(_scaled(h, air), -3, air).squeeze(-3))

    def combine(
        self, arriving: Tensor, beam: Tensor, transceiver: Transceiver, power: Tensor, noise_variance: Tensor, air: Air
    ) -> Tensor:
        """Return g v; see `Receiver`."""
        return beam * transceiver.scale


@dataclass(frozen=True, kw_only=True)
class ZeroForcing:
    """w^H a_k = 1/m for the m active devices, with the least norm: no bias in their mean, whatever noise that costs.

    Possible if N_r >= m and the a_k are independent; otherwise the least sum of |w^H a_k - 1/m|^2 p_k, then the least norm.
    Directions in which next to nothing arrives (1e-13 of the largest eigenvalue) are left out, so w is always finite.
    Error: ||w||^2 sigma^2 and that of taking the mean of m devices for that of K. Differentiable where the rank is constant.
    """

    @property
    def alternations(self) -> int:
        """0."""
        return 0

    @property
    def mean_of(self) -> Mean:
        """The active devices'."""
        return "active"

    def beam(self, h: Tensor, air: Air) -> Tensor:
        """Return the direction that maximises sum_k |v^H h_k|^2."""
        return _dominant(h, air)

    def combine(
        self, arriving: Tensor, beam: Tensor, transceiver: Transceiver, power: Tensor, noise_variance: Tensor, air: Air
    ) -> Tensor:
        """Return the zero-forcing w; see `Receiver`."""
        active = transceiver.active.double().expand(*arriving.shape[:-3], arriving.shape[-3], arriving.shape[-1])
        num_active = air.sum(active, dim=-2).squeeze(-2)
        return _least_error(arriving, power, torch.zeros_like(noise_variance), num_active, air)


@dataclass(frozen=True, kw_only=True)
@checked
class Lmmse:
    """The w of least error in the mean of all K devices: w = (sum_k p_k a_k a_k^H + sigma^2 I)^-1 sum_k p_k a_k / K.

    Biased: it shrinks what is noisy, and what a silent device does not send is missing. Never worse than any other w for the
    same precoders. With `MseOptimal` and alternations it is a joint design of transmitters and receiver, in which each step
    lowers the error or keeps it (block coordinate descent, to a local optimum). Differentiable where the rank is constant.

    Args:
        alternations: rounds after the first, >= 0.
    """

    alternations: int = 0

    def __post_init__(self) -> None:
        if not (isinstance(self.alternations, int) and self.alternations >= 0):
            raise ValueError(f"alternations must be an integer >= 0, got {self.alternations!r}")

    @property
    def mean_of(self) -> Mean:
        """All devices'."""
        return "all"

    def beam(self, h: Tensor, air: Air) -> Tensor:
        """Return the direction that maximises sum_k |v^H h_k|^2."""
        return _dominant(h, air)

    def combine(
        self, arriving: Tensor, beam: Tensor, transceiver: Transceiver, power: Tensor, noise_variance: Tensor, air: Air
    ) -> Tensor:
        """Return the LMMSE w; see `Receiver`."""
        return _least_error(arriving, power, noise_variance, _num_devices(arriving, air), air)


def delivered_by(receiver: Receiver, combiner: Tensor, arriving: Tensor, transceiver: Transceiver, *, air: Air) -> Tensor:
    """Part of each device's amplitude that the estimate counts, float64 [..., K, G]; see `delivered_share`.

    Args:
        receiver: whose `combine` returned the combiner.
        combiner: w [..., N_r, G].
        arriving: a_k [..., K, N_r, G].
        transceiver: of the round.
        air: counts the devices.
    """
    if receiver.mean_of == "policy":
        return transceiver.delivered
    if receiver.mean_of == "all":
        counted = _num_devices(arriving, air).unsqueeze(-2)
    else:
        active = transceiver.active.double().expand(*arriving.shape[:-3], arriving.shape[-3], arriving.shape[-1])
        counted = air.sum(active, dim=-2)
    return delivered_share(coefficients_of(combiner, arriving), counted) * transceiver.active


def coefficients_of(combiner: Tensor, arriving: Tensor) -> Tensor:
    """c_k = w^H a_k: [..., K, G], for w [..., N_r, G] and a [..., K, N_r, G]."""
    return (combiner.conj().unsqueeze(-3) * arriving).sum(-2)


def _least_error(arriving: Tensor, power: Tensor, noise_variance: Tensor, num_counted: Tensor, air: Air) -> Tensor:
    """(sum_k p a a^H + sigma^2 I)^+ sum_k p a / m, for m = num_counted [..., G]; the least-norm solution where singular."""
    a = wide(arriving).movedim(-1, -3).mT  # [..., G, N_r, K]
    p = power.expand(*power.shape[:-2], arriving.shape[-3], arriving.shape[-1]).mT  # [..., G, K]
    size = root(p)
    largest = a.detach().abs().amax(-2) * size.detach()  # [..., G, K]
    unit = air.max(largest, dim=-1).unsqueeze(-1)  # [..., G, 1, 1]
    unit = torch.maximum(unit, noise_variance.detach().sqrt()[..., None, None, None])
    unit = unit.masked_fill(unit == 0, 1)
    scaled = (a * size.unsqueeze(-2)) / unit
    covariance = _total(scaled @ scaled.mH, air)
    identity = torch.eye(a.shape[-2], dtype=torch.float64, device=a.device)
    covariance = covariance + noise_variance[..., None, None, None] / unit / unit * identity
    wanted = _total(scaled @ (size / unit.squeeze(-1)).unsqueeze(-1).to(scaled.dtype), air)
    share = 1 / num_counted.masked_fill(num_counted == 0, torch.inf)
    w = _pseudo_inverse(covariance) @ wanted
    return w.squeeze(-1).mT * share.unsqueeze(-2)


def _pseudo_inverse(covariance: Tensor) -> Tensor:
    """Of Hermitian matrices [..., n, n]; NaN if the eigenvalues are not found, so that the round is invalid and says so."""
    try:
        return torch.linalg.pinv(covariance, rtol=_SINGULAR, hermitian=True)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return torch.full_like(covariance, torch.nan)


def _dominant(h: Tensor, air: Air) -> Tensor:
    """Unit vector v [..., N_r, G] that maximises sum_k |v^H h_k|^2: repeated squaring of sum_k h_k h_k^H, differentiable."""
    a = _scaled(h, air).movedim(-1, -3).mT  # [..., G, N_r, K]
    matrix = _total(a @ a.mH, air)
    for _ in range(_SQUARINGS):
        trace = matrix.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None]
        matrix = matrix / (trace + (trace == 0))
        matrix = matrix @ matrix
    strongest = matrix.diagonal(dim1=-2, dim2=-1).real.argmax(-1)[..., None, None]
    column = matrix.gather(-1, strongest.expand(*matrix.shape[:-1], 1)).squeeze(-1)
    return _unit(column.mT)


def _scaled(h: Tensor, air: Air) -> Tensor:
    """h in double precision over its largest value of each segment, so that squares neither overflow nor vanish."""
    values = wide(h)
    largest = air.max(values.detach().abs().amax(-2, keepdim=True), dim=-3)
    return values / largest.masked_fill(largest == 0, 1)


def _unit(v: Tensor) -> Tensor:
    """v [..., N_r, G] over its norm; the first antenna where it is zero."""
    largest = v.detach().abs().amax(-2, keepdim=True)
    zero = largest == 0
    scaled = v / largest.masked_fill(zero, 1)
    first = torch.zeros_like(v)
    first[..., 0, :] = 1
    scaled = torch.where(zero, first, scaled)
    return scaled / torch.linalg.vector_norm(scaled, dim=-2, keepdim=True)


def _num_devices(arriving: Tensor, air: Air) -> Tensor:
    """K over all processes: float64 [1]."""
    ones = torch.ones(arriving.shape[-3], 1, dtype=torch.float64, device=arriving.device)
    return air.sum(ones, dim=-2).squeeze(-2)


def _total(local: Tensor, air: Air) -> Tensor:
    """Add up what the processes' devices [..., m, n] have summed."""
    return _sum(local.unsqueeze(-3), -3, air).squeeze(-3)


def _sum(values: Tensor, dim: int, air: Air) -> Tensor:
    """air.sum for complex values too, as pairs of real numbers, which is what processes can reduce."""
    if not values.is_complex():
        return air.sum(values, dim=dim)
    return torch.view_as_complex(air.sum(torch.view_as_real(values), dim=dim - 1).contiguous())
