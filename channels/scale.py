"""How the devices learn the amplitude that they must share.

Over-the-air sums are coherent only if all devices arrive with one amplitude per block, which depends on the norms of
all of them. That knowledge is either an oracle, free and counted as side information, or last round's values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.round import Air
from laser_wireless.channels.signals import root

__all__ = ["OracleScale", "PreviousScale"]

_LEAST_SHARE = 1e-30


class ScaleState(NamedTuple):
    """What a round leaves behind for the next: amplitude [..., 1, B] at unit budget, shares [..., 1 or K, B]; float64."""

    amplitude: Tensor
    shares: Tensor


class ScaleKnowledge(Protocol):
    """Decides which common amplitude and which shares the devices go by."""

    def shares(self, current: Tensor, state: ScaleState | None) -> Tensor:
        """Return the shares in use, given this round's."""
        ...

    def amplitude(self, limits: Tensor, budget: Tensor, state: ScaleState | None, air: Air) -> Tensor:
        """Return the common amplitude [..., 1, B], given what each device could afford.

        Args:
            limits: float64 [..., K, B], largest amplitude of each device (inf where it has nothing to send).
            budget: float64 [..., 1], mean energy budget of the devices this round.
            state: what the last round left, None in the first.
            air: reduces over all devices.
        """
        ...

    def remember(self, limits: Tensor, shares: Tensor, budget: Tensor, air: Air) -> ScaleState | None:
        """Return what this round's true values tell the next one; limits are those of this round's shares."""
        ...


@dataclass(frozen=True, kw_only=True)
class OracleScale:
    """This round's exact values, known to all before the round without cost: the papers' assumption."""

    def shares(self, current: Tensor, state: ScaleState | None) -> Tensor:
        """Return this round's shares."""
        return current

    def amplitude(self, limits: Tensor, budget: Tensor, state: ScaleState | None, air: Air) -> Tensor:
        """Return the smallest of the devices' limits."""
        return air.min(limits, dim=-2)

    def remember(self, limits: Tensor, shares: Tensor, budget: Tensor, air: Air) -> None:
        """Keep nothing."""


@dataclass(frozen=True, kw_only=True)
@checked
class PreviousScale:
    """Last round's values, broadcast by the receiver after it: causal.

    A device that cannot afford the amplitude (its message grew) sends at its own limit instead: it is clipped, the
    energy limit holds, and what was clipped stays in its memory. The first round, with no predecessor, uses the oracle.
    A block that was empty in the last round has no amplitude and stays silent for one round.

    Args:
        backoff: factor 0 < backoff <= 1 on last round's amplitude; smaller clips less and hears more noise.
    """

    backoff: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.backoff <= 1:
            raise ValueError(f"backoff must lie in (0, 1], got {self.backoff}")

    def shares(self, current: Tensor, state: ScaleState | None) -> Tensor:
        """Return last round's shares; never 0, so that what a block could afford is known when it fills again."""
        return current if state is None else state.shares.clamp(min=_LEAST_SHARE)

    def amplitude(self, limits: Tensor, budget: Tensor, state: ScaleState | None, air: Air) -> Tensor:
        """Return last round's amplitude, scaled by the root of the budgets' ratio."""
        if state is None:
            return air.min(limits, dim=-2)
        return self.backoff * state.amplitude * budget.sqrt().unsqueeze(-1)

    def remember(self, limits: Tensor, shares: Tensor, budget: Tensor, air: Air) -> ScaleState:
        """Keep the amplitude at unit budget and the shares; an empty block leaves inf, a silent one 0."""
        size = budget.sqrt().unsqueeze(-1)
        amplitude = air.min(limits, dim=-2) / size.masked_fill(size == 0, 1)
        return ScaleState(amplitude.detach(), shares.detach())


def scale_state(state: Mapping[str, Any]) -> ScaleState | None:
    """What an uplink's state says of the last round's scale; None if nothing."""
    kept = state.get("scale")
    return None if kept is None else ScaleState(**kept)


def remembered(
    scale: ScaleKnowledge, limits: Tensor | None, used: Tensor, shares: Tensor, budget: Tensor, air: Air
) -> dict[str, dict[str, Tensor]]:
    """What a round leaves of its scale: "scale", or nothing.

    Args:
        scale: what remembers.
        limits: float64 [..., K, B], what devices could afford with the shares in use; None if nothing was agreed.
        used, shares: float64 [..., 1 | K, B], in use and this round's own.
        budget: float64 [..., 1], mean of the devices.
        air: reduces over all devices.
    """
    if limits is None or (after := scale.remember(_at_shares(limits, used, shares), shares, budget, air)) is None:
        return {}
    return {"scale": after._asdict()}


def _at_shares(limits: Tensor, used: Tensor, shares: Tensor) -> Tensor:
    """What devices could afford [..., K, B] with other shares of their energy: amplitudes go with the root of a share."""
    return limits if used is shares else torch.where(limits.isinf(), limits, limits * root(shares / used))


def of_valid_rounds(after: dict[str, Any], before: Mapping[str, Any], valid: Tensor) -> dict[str, Any]:
    """A round's state, but the scale of the one before where the round was invalid (valid: bool [..., 1]): it may be NaN.

    Where there was no round before, nothing is known: no amplitude, so that one more round is silent.
    """
    new, old = scale_state(after), scale_state(before)
    if new is None:
        return after
    if old is None:
        equal = torch.full_like(new.shares, 1 / new.shares.shape[-1])
        old = ScaleState(torch.full_like(new.amplitude, torch.inf), equal)
    known = valid.unsqueeze(-1)
    kept = {name: torch.where(known, value, getattr(old, name)) for name, value in new._asdict().items()}
    return {**after, "scale": kept}
