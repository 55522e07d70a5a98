"""Channel state information (CSI): what is known of the gains, at the transmitters and at the receiver.

A model of knowledge takes the true small-scale gains h of the grid's cells and returns what is known of them, with what
that cost: pilots take energy from the device's budget and channel uses from the round, feedback takes bits. Large-scale
gains are known. Whatever is not paid for is counted in the ledger as given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, NamedTuple, Protocol

import torch
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.radio_link import Gains
from laser_wireless.channels.round import Round
from laser_wireless.channels.segments import Segments
from torch import Tensor


class Knowledge(NamedTuple):
    """What is known of the gains, and its price.

    h: complex, broadcastable to [..., K, N_r, C].
    energy: float64 [..., K], spent by each device on pilots this round; None for none.
    num_channel_uses: complex channel uses taken by pilots.
    feedback_bits: bits that each device was told.
    free: whether gains are known that nobody paid for.
    state: what the next round must remember; None for nothing.
    """

    h: Tensor
    energy: Tensor | None = None
    num_channel_uses: int = 0
    feedback_bits: int = 0
    free: bool = True
    state: Tensor | None = None


class Csi(Protocol):
    """Turns gains into knowledge of them; pure but for its generator."""

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return what is known.

        Args:
            h: complex [..., K, N_r, C], true gains of the C cells of the grid, E|h|^2 = 1.
            energy: float64, broadcastable to [..., K], what earlier stages left of each device's budget for the round.
            noise_variance: float64, broadcastable to [..., K], sigma^2 per real symbol over the device's large-scale gain,
                and times the energy that a cyclic prefix costs.
            generator: of this round's draws.
            state: `Knowledge.state` of the last round, None in the first.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class PerfectCsi:
    """The gains themselves, as most papers assume; counted as given."""

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return h."""
        return Knowledge(h)


@dataclass(frozen=True, kw_only=True)
class NoCsi:
    """Nothing: gains are taken to be 1, so that a power control does what it would do on a wire."""

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return ones."""
        return Knowledge(torch.ones_like(h), free=False)


@dataclass(frozen=True, kw_only=True)
@checked
class NoisyCsi:
    """An estimate of given quality.

    Args:
        nmse: E|h_est - h|^2 / E|h|^2 >= 0, linear.
        model: "additive": h_est = h + e, e ~ CN(0, nmse) independent of h (least squares from pilots); "mmse": h = h_est + e
            with e independent of h_est for h ~ CN(0, 1), h_est = (1 - nmse) h + CN(0, nmse (1 - nmse)), nmse <= 1.
    """

    nmse: float
    model: Literal["additive", "mmse"] = "additive"

    def __post_init__(self) -> None:
        if not 0 <= self.nmse < math.inf:
            raise ValueError(f"nmse must be finite and >= 0 (linear, not dB), got {self.nmse}")
        if self.model == "mmse" and self.nmse > 1:
            raise ValueError(f'nmse must be <= 1 for model "mmse" (a constant estimate has 1), got {self.nmse}')

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return h plus an error."""
        error = _complex_normal(h, generator)
        if self.model == "mmse":
            return Knowledge((1 - self.nmse) * h + math.sqrt(self.nmse * (1 - self.nmse)) * error)
        return Knowledge(h + math.sqrt(self.nmse) * error)


@dataclass(frozen=True, kw_only=True)
@checked
class PilotCsi:
    """Estimates from orthogonal pilots that the devices send and pay for.

    In each cell every device sends its own pilot with energy e = energy_fraction P / C (C cells), orthogonal to the others',
    over K channel uses. The receiver's least-squares estimate is h_est = h + CN(0, 2 sigma^2 / e); for h ~ CN(0, 1), "mmse"
    shrinks it by 1 / (1 + 2 sigma^2 / e). Devices learn it by a perfect feedback. One without energy is taken for h = 0.

    Args:
        energy_fraction: part of each device's budget, 0 < energy_fraction < 1; messages have the rest, and so have further
            pilots of another kind.
        estimator: "ls" or "mmse".
        uses_per_device: channel uses of the pilots per device and cell, >= 1; the energy is what counts for the error.
    """

    energy_fraction: float = 0.1
    estimator: Literal["ls", "mmse"] = "mmse"
    uses_per_device: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.energy_fraction < 1:
            raise ValueError(f"energy_fraction must lie strictly between 0 and 1, got {self.energy_fraction}")
        if self.uses_per_device < 1:
            raise ValueError(f"uses_per_device must be >= 1, got {self.uses_per_device}")

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return the estimate."""
        num_devices, _, num_cells = h.shape[-3:]
        spent = self.energy_fraction * energy
        heard = spent > 0
        per_cell = torch.where(heard, spent, 1) / num_cells
        variance = (2 * noise_variance / per_cell)[..., None, None]  # [..., K, 1, 1], of the complex estimate
        estimate = h + variance.sqrt().to(h.real.dtype) * _complex_normal(h, generator)
        if self.estimator == "mmse":
            estimate = estimate / (1 + variance).to(h.real.dtype)
        estimate = torch.where(heard[..., None, None], estimate, torch.zeros_like(estimate))
        return Knowledge(estimate, spent, num_devices * self.uses_per_device * num_cells)


@dataclass(frozen=True, kw_only=True)
@checked
class DelayedCsi:
    """The gains of some rounds ago; in the first rounds, those of the first one.

    Useful with fading that continues from round to round. Under fading that is drawn anew, delayed knowledge is worthless.
    What is kept is a constant: no gradient flows from the knowledge to the gains, neither of past rounds nor of the first.

    Args:
        rounds: delay >= 1.
    """

    rounds: int = 1

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be >= 1, got {self.rounds}; without a delay use PerfectCsi")

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return the oldest gains that are kept."""
        past = h.detach().expand(self.rounds, *h.shape) if state is None else state
        return Knowledge(past[0], state=torch.cat([past[1:], h.detach().unsqueeze(0)]))


@dataclass(frozen=True, kw_only=True)
class PhaseOnlyCsi:
    """The phase without the amplitude: h / |h|; 1 where h = 0."""

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return h / |h|."""
        zero = h == 0
        safe = torch.where(zero, torch.ones_like(h), h)
        return Knowledge(safe / safe.abs())


@dataclass(frozen=True, kw_only=True)
@checked
class QuantisedCsi:
    """Amplitude and phase, each rounded to the middle of its cell and fed back in bits.

    Args:
        phase_bits: cells of equal width over 2 pi, >= 1 bit.
        amplitude_bits: cells of equal width over [0, largest_amplitude]; 0 feeds back the phase alone.
        largest_amplitude: larger ones are taken for the last cell.
    """

    phase_bits: int = 4
    amplitude_bits: int = 4
    largest_amplitude: float = 3.0

    def __post_init__(self) -> None:
        if self.phase_bits < 1 or self.amplitude_bits < 0:
            raise ValueError(
                f"phase_bits must be >= 1 and amplitude_bits >= 0, got {self.phase_bits} and {self.amplitude_bits}"
            )
        if not 0 < self.largest_amplitude < math.inf:
            raise ValueError(f"largest_amplitude must be finite and > 0, got {self.largest_amplitude}")

    def __call__(
        self, h: Tensor, *, energy: Tensor, noise_variance: Tensor, generator: torch.Generator, state: Tensor | None
    ) -> Knowledge:
        """Return the cell's middle; its gradient with respect to h is 0."""
        step = 2 * math.pi / 2**self.phase_bits
        phase = ((h.angle() / step).floor() + 0.5) * step
        if self.amplitude_bits:
            width = self.largest_amplitude / 2**self.amplitude_bits
            cell = (h.abs() / width).floor().clamp(max=2**self.amplitude_bits - 1)
            amplitude = (cell + 0.5) * width
        else:
            amplitude = torch.ones_like(phase)
        bits = (self.phase_bits + self.amplitude_bits) * h.shape[-1] * h.shape[-2]
        return Knowledge(torch.polar(amplitude, phase), feedback_bits=bits, free=False)


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
        pilots = [known.energy for known in (own, theirs) if known.energy is not None]
        pilot_energy = None if not pilots else sum(pilots[1:], pilots[0])
        spread = {id(known): gains.over(segments, known) for known in (own.h, theirs.h) if known is not gains.cells}
        kept = {side: places for side, places in states.items() if places}
        return Known(
            spread.get(id(own.h), h),
            spread.get(id(theirs.h), h),
            transmitters=own,
            left=energy if pilot_energy is None else (energy - pilot_energy).clamp(min=0),
            pilot_energy=pilot_energy,
            pilot_uses=own.num_channel_uses + theirs.num_channel_uses,
            state={"csi": kept} if kept else {},
        )

    def _noise_at_unit_gain(self, noise_variance: Tensor, link_gain: Tensor | None) -> Tensor:
        """sigma^2 over each device's large-scale gain, prefix included; 0 for a device that nothing reaches."""
        per_device = noise_variance.unsqueeze(-1) * self.prefix_overhead
        if link_gain is None:
            return per_device
        reached = link_gain > 0
        return torch.where(reached, per_device / torch.where(reached, link_gain, 1), 0)


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


def _complex_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """CN(0, 1) like a complex tensor, independent for every entry."""
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)
