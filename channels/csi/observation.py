"""What both sides of a link know of a round's gains, by models of knowledge one after another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.csi.contract import Csi, Knowledge
from laser_wireless.channels.csi.models import PerfectCsi
from laser_wireless.channels.radio_link import Gains
from laser_wireless.channels.round import Round
from laser_wireless.channels.segments import Segments


class Known(NamedTuple):
    """What both sides know of the gains in a round, and what it cost.

    by_transmitters, by_receiver: complex or real, broadcastable to [..., K, N_r, G], with the large-scale gain.
    transmitters: small-scale, of the cells, with its price.
    left: float64, broadcastable to [..., K], energy left for the message.
    pilot_energy: float64, broadcastable to [..., K]; None without pilots. pilot_uses: channel uses of all pilots.
    state: "csi", of stages that remember, by side and place; empty if none is asked.
    """

    by_transmitters: Tensor
    by_receiver: Tensor
    transmitters: Knowledge
    left: Tensor
    pilot_energy: Tensor | None
    pilot_uses: int
    state: dict[str, dict[str, dict[str, Tensor]]]


class Observation(Protocol):
    """Decides what is known of a round's gains; chosen once, when an uplink is made."""

    def __call__(
        self,
        gains: Gains,
        h: Tensor,
        segments: Segments,
        energy: Tensor,
        noise_variance: Tensor,
        now: Round,
        state: dict[str, dict[str, Tensor]],
    ) -> Known:
        """Return what is known.

        Args:
            gains: true gains. h: the same over the segments, with large-scale gain.
            segments: of the message.
            energy: float64, broadcastable to [..., K], of each device for the round.
            noise_variance: float64 [...], sigma^2 per real symbol.
            now: the round.
            state: `Known.state["csi"]` of the last one.
        """
        ...


def observe_exactly(
    gains: Gains,
    h: Tensor,
    segments: Segments,
    energy: Tensor,
    noise_variance: Tensor,
    now: Round,
    state: dict[str, dict[str, Tensor]],
) -> Known:
    """Everything is known to both sides, free of cost; see `Observation`."""
    return Known(h, h, Knowledge(gains.cells, free=gains.fades), energy, None, 0, {})


@dataclass(frozen=True)
class ObserveByStages:
    """Models of knowledge on either side; stages that both begin with are passed and paid once.

    Args:
        own: the transmitters' stages.
        theirs: the receiver's.
        prefix_overhead: energy of a pilot with cyclic prefix over energy without.
    """

    own: tuple[Csi, ...]
    theirs: tuple[Csi, ...]
    prefix_overhead: float

    def __call__(
        self,
        gains: Gains,
        h: Tensor,
        segments: Segments,
        energy: Tensor,
        noise_variance: Tensor,
        now: Round,
        state: dict[str, dict[str, Tensor]],
    ) -> Known:
        """Pass the gains through the stages; see `Observation`."""
        perfect = Knowledge(gains.cells, free=gains.fades)
        per_device = self._noise_at_unit_gain(noise_variance, gains.link_gain)
        states: dict[str, dict[str, Tensor]] = {"transmitters": {}, "receiver": {}}
        generators = {side: now.generator(f"csi of {side}", h.device) for side in states}

        def know(side: str, stages: tuple[Csi, ...], known: Knowledge, *, energy: Tensor, first_place: int) -> Knowledge:
            known, after = apply_csi(
                stages,
                known,
                energy=energy,
                noise_variance=per_device,
                generator=generators[side],
                state=state.get(side, {}),
                first_place=first_place,
            )
            states[side].update(after)
            return known

        shared = num_shared(self.own, self.theirs)
        start = perfect._replace(h=gains.of_every_device())
        both = know("transmitters", self.own[:shared], start, energy=energy, first_place=0)
        own = know("transmitters", self.own[shared:], both, energy=energy, first_place=shared)
        left = energy if own.energy is None else (energy - own.energy).clamp(min=0)
        theirs = know("receiver", self.theirs[shared:], Knowledge(both.h), energy=left, first_place=shared)
        own, theirs = own if self.own else perfect, theirs if self.theirs else perfect
        kept = {side: places for side, places in states.items() if places}
        return _known(gains, h, segments, energy, own, theirs)._replace(state={"csi": kept} if kept else {})

    def _noise_at_unit_gain(self, noise_variance: Tensor, link_gain: Tensor | None) -> Tensor:
        """sigma^2 over each device's large-scale gain, prefix included; 0 for a device that nothing reaches."""
        per_device = noise_variance.unsqueeze(-1) * self.prefix_overhead
        if link_gain is None:
            return per_device
        reached = link_gain > 0
        return torch.where(reached, per_device / torch.where(reached, link_gain, 1), 0)


def _known(gains: Gains, h: Tensor, segments: Segments, energy: Tensor, own: Knowledge, theirs: Knowledge) -> Known:
    """What both sides know over the segments, and what is left of the energy after their pilots."""
    pilots = [known.energy for known in (own, theirs) if known.energy is not None]
    pilot_energy = None if not pilots else sum(pilots[1:], pilots[0])
    spread = {id(known): gains.over(segments, known) for known in (own.h, theirs.h) if known is not gains.cells}
    return Known(
        spread.get(id(own.h), h),
        spread.get(id(theirs.h), h),
        transmitters=own,
        left=energy if pilot_energy is None else (energy - pilot_energy).clamp(min=0),
        pilot_energy=pilot_energy,
        pilot_uses=own.num_channel_uses + theirs.num_channel_uses,
        state={},
    )


def observation(own: Csi | list[Csi], theirs: Csi | list[Csi], prefix_overhead: float) -> Observation:
    """How transmitters and receiver get to know the gains, by the options of an uplink."""
    stages = stages_of(own), stages_of(theirs)
    return ObserveByStages(*stages, prefix_overhead) if any(stages) else observe_exactly


def stages_of(rule: Csi | tuple[Csi, ...] | list[Csi]) -> tuple[Csi, ...]:
    """The models of knowledge one after another; one alone is a row of one, and perfect knowledge needs none."""
    stages = tuple(rule) if isinstance(rule, tuple | list) else (rule,)
    return tuple(stage for stage in stages if not isinstance(stage, PerfectCsi))


def num_shared(stages: tuple[Csi, ...], others: tuple[Csi, ...]) -> int:
    """How many stages two rows begin with alike: what is measured there is measured once."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(stages, others, strict=False))))


def apply_csi(
    stages: tuple[Csi, ...],
    known: Knowledge,
    *,
    energy: Tensor,
    noise_variance: Tensor,
    generator: torch.Generator,
    state: dict[str, Tensor],
    first_place: int = 0,
) -> tuple[Knowledge, dict[str, Tensor]]:
    """Pass gains through one model of knowledge after another, such as pilots, then a delay; prices add up.

    Args:
        stages: the models.
        known: complex gains [..., K, N_r, C], and the prices paid for them so far.
        energy: budget of each device; a stage is offered what those before it have left.
        noise_variance: see `Csi`.
        generator: see `Csi`.
        state: of the stages, by their place.
        first_place: of the first of these stages.

    Returns:
        the knowledge (its own `state` is not used), free only if no stage was paid for; and the states of the stages.
    """
    after = {}
    for place, stage in enumerate(stages, first_place):
        left = energy if known.energy is None else (energy - known.energy).clamp(min=0)
        old = state.get(str(place))
        new = stage(known.h, energy=left, noise_variance=noise_variance, generator=generator, state=old)
        if new.state is not None:
            after[str(place)] = new.state
        known = Knowledge(
            new.h,
            known.energy if new.energy is None else new.energy if known.energy is None else known.energy + new.energy,
            known.num_channel_uses + new.num_channel_uses,
            known.feedback_bits + new.feedback_bits,
            known.free and new.free,
        )
    return known, after
