"""The plan of a round: all that is decided before transmission.

    message -> energies -> knowledge of the gains -> precoders b and combiner w

With a combiner w the N_r antennas are one receiver of gain w^H h_k for device k and of noise power ||w||^2 sigma^2, so that
their signals need not be formed. Everything here has one number for each piece of the message, none for each symbol.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.carrier import Carrier
from laser_wireless.channels.constants import taken
from laser_wireless.channels.csi.observation import Known
from laser_wireless.channels.energy.allocation import Energies
from laser_wireless.channels.power_control.contract import Agreement, PowerControl, Transceiver
from laser_wireless.channels.receivers.contract import Receiver, delivered_by
from laser_wireless.channels.round import LOCAL, Air
from laser_wireless.channels.segments import Segments
from laser_wireless.channels.signals import measure, root
from laser_wireless.channels.uplinks.straddling import cross_energy, shared_symbols


class MeasuredMessage(NamedTuple):
    """What counts of a message [..., K, S] before it is sent.

    segments: its G pieces. norms: float64 [..., K, G]. peaks: real [..., K, G], largest absolute value.
    shared: real [..., K, 2 n], symbols of channel uses that two segments share; None without any.
    """

    segments: Segments
    norms: Tensor
    peaks: Tensor
    shared: Tensor | None

    def block_norms(self, share_as: tuple[int, ...] | None) -> Tensor:
        """Norms of the blocks, float64 [..., K, B], or of those that stand for them in the allocation."""
        norms = self.norms
        if not self.segments.are_blocks:
            norms = root(self.segments.sum_in_blocks(norms.square()))
        return norms if share_as is None else taken(norms, share_as)


class Design(NamedTuple):
    """Settings of transmitters and receiver.

    transceiver: precoders b [..., K, G], and what they deliver.
    combiner: w, real or complex [..., N_r, G], estimate = w^H y; of one antenna that only rescales, the scale g.
    """

    transceiver: Transceiver
    combiner: Tensor

    def energy(self, norms: Tensor) -> Tensor:
        """Sum over symbols of |b u|^2: float64 [..., K], for norms [..., K, G]."""
        return (self.transceiver.precoder.abs() * norms).square().sum(-1)

    def is_finite(self, energy: Tensor, air: Air) -> Tensor:
        """Whether precoders, which spend energy [..., K], and combiner are numbers: bool [..., 1]."""
        broken = air.max((~energy.isfinite()).double(), dim=-1) > 0
        return ~(broken | self.combiner.isnan().flatten(-2).any(-1, keepdim=True))


class MadeDesign(NamedTuple):
    """A design for the energy of a round.

    design: within every device's limit. energy: float64 [..., K], that it spends. num_agreed: see `Plan`.
    settled: bool [..., 1], whether all of it are numbers.
    scale: "scale", for the next round; empty if nothing is kept.
    """

    design: Design
    energy: Tensor
    settled: Tensor
    num_agreed: int
    scale: dict[str, dict[str, Tensor]]


class Designer(Protocol):
    """Finds precoders and combiner; chosen once, when an uplink is made.

    num_agreed: real numbers that devices and receiver must share where two blocks share channel uses, beside amplitude and
        energy of each block.
    """

    @property
    def num_agreed(self) -> int:
        """Numbers to share."""
        ...

    def __call__(self, known: Known, norms: Tensor, energy: Tensor, noise_variance: Tensor, agreement: Agreement) -> Design:
        """Return the design for norms [..., K, G], energy [..., K | 1, B] and noise_variance [...]."""
        ...

    def through(self, combiner: Tensor, gains: Tensor) -> Tensor:
        """Return w^H h: [..., K, G], for gains [..., K, N_r, G]."""
        ...

    def noise_amplitude(self, combiner: Tensor) -> Tensor:
        """Return ||w||: float64 [..., G], noise of the estimate over noise of the receiver."""
        ...


class Plan(NamedTuple):
    """Everything of a round that is decided before transmission.

    message: what was measured of it.
    gains: real or complex, broadcastable to [..., K, N_r, G]; true, with large-scale gain.
    taps: complex [..., K, N_r, T, L] of a waveform in time, None otherwise.
    energies: budgets, and who is there. known: of the gains, and what that cost. design: precoders and combiner.
    noise_amplitude: float64 [..., G], ||w||, noise of the estimate over noise of the receiver.
    arriving: real or complex, broadcastable to [..., K, G], w^H h_k b_k, what the estimate holds of each device.
    noise_variance: float64 [...], sigma^2 per real symbol of an antenna.
    num_agreed: real numbers that devices and receiver must share beside amplitude and energy of each block.
    energy: float64 [..., K], of what the precoders give, sum of |x|^2 over channel uses; without prefix and pilots.
    valid: bool [..., 1]. nonfinite: bool [..., K]. unsettled: bool [..., 1], no finite precoders or combiner were found.
    state: for the next round by stage, if this one turns out valid; empty if nothing is kept.
    """

    message: MeasuredMessage
    gains: Tensor
    taps: Tensor | None
    energies: Energies
    known: Known
    design: Design
    noise_amplitude: Tensor
    arriving: Tensor
    noise_variance: Tensor
    num_agreed: int
    energy: Tensor
    valid: Tensor
    nonfinite: Tensor
    unsettled: Tensor
    state: dict[str, Any]

    @property
    def estimate_noise(self) -> Tensor:
        """Variance of the noise on the estimate per real symbol, mean over each block: float64 [..., B]."""
        return self.message.segments.mean_in_blocks(self.noise_amplitude.square() * self.noise_variance.unsqueeze(-1))


@dataclass(frozen=True)
class Rescaling:
    """One antenna: the power control sets precoders and scale, and the receiver follows it."""

    power_control: PowerControl

    def __call__(self, known: Known, norms: Tensor, energy: Tensor, noise_variance: Tensor, agreement: Agreement) -> Design:
        """Return the design for gains as the transmitters know them."""
        h = known.by_transmitters.squeeze(-2)
        transceiver = self.power_control(h, norms, energy, noise_variance, agreement=agreement)
        return Design(transceiver, transceiver.scale)

    @property
    def num_agreed(self) -> int:
        """0: the precoders of two blocks have the same phase."""
        return 0

    def through(self, combiner: Tensor, gains: Tensor) -> Tensor:
        """Return g h."""
        return (combiner.unsqueeze(-3) * gains).squeeze(-2)

    def noise_amplitude(self, combiner: Tensor) -> Tensor:
        """Return g >= 0."""
        return combiner.squeeze(-2)


@dataclass(frozen=True)
class Combining:
    """Several antennas: the receiver chooses a beam, the devices amplitudes for it, the receiver its combiner."""

    power_control: PowerControl
    receiver: Receiver
    num_rx_antennas: int

    def __call__(self, known: Known, norms: Tensor, energy: Tensor, noise_variance: Tensor, agreement: Agreement) -> Design:
        """Return the design after the receiver's alternations."""
        receiver, air = self.receiver, agreement.air
        shape = (norms.shape[-2], self.num_rx_antennas, norms.shape[-1])
        norms, energy = (values.nan_to_num(0, 0, 0) for values in (norms, energy))  # an invalid round; solvers raise on NaN
        gains = (_finite(h) for h in (known.by_transmitters, known.by_receiver))
        sent, received = (h.to(torch.complex128).expand(*h.shape[:-3], *shape) for h in gains)
        power = norms.square() / agreement.segments.lengths_like(norms)

        def turn(w: Tensor) -> tuple[Tensor, Tensor, Transceiver]:
            length = root(w.abs().square().sum(-2, keepdim=True))
            beam = w / torch.where(length > 0, length, 1)
            effective = (beam.conj().unsqueeze(-3) * sent).sum(-2)
            transceiver = self.power_control(effective, norms, energy, noise_variance, agreement=agreement)
            arriving = received * transceiver.precoder.unsqueeze(-2)
            return receiver.combine(arriving, beam, transceiver, power, noise_variance, air), arriving, transceiver

        w, arriving, transceiver = turn(receiver.beam(received, air))
        for _ in range(receiver.alternations):
            w, arriving, transceiver = turn(w)
        delivered = delivered_by(receiver, w, arriving, transceiver, air=air)
        return Design(transceiver._replace(delivered=delivered), w)

    @property
    def num_agreed(self) -> int:
        """1: how far all devices are lowered together; see `lowered`."""
        return 1

    def through(self, combiner: Tensor, gains: Tensor) -> Tensor:
        """Return w^H h."""
        return (combiner.conj().unsqueeze(-3) * gains).sum(-2)

    def noise_amplitude(self, combiner: Tensor) -> Tensor:
        """Return the root of the antennas' sum of |w|^2."""
        return root(combiner.abs().square().sum(-2)).double()


def measured(symbols: Tensor, layout: tuple[int, ...], carrier: Carrier, air: Air) -> MeasuredMessage:
    """Check and measure the messages of all devices, of which this process has [..., K, S]; see `check_message`."""
    check_message(symbols, layout)
    segments = _segments(layout, carrier)
    norms, peaks = (air.gather(values, -2) for values in measure(symbols, segments))
    shares = carrier.baseband == "complex" and segments.straddles
    return MeasuredMessage(segments, norms, peaks, air.gather(shared_symbols(symbols, segments), -2) if shares else None)


def measured_in_parts(
    parts: Iterable[Tensor], num_devices: int, layout: tuple[int, ...], carrier: Carrier
) -> tuple[MeasuredMessage, Tensor]:
    """The same of all devices from messages [k, S] of some at a time; and a row that shows what the messages are like.

    Raises:
        ValueError: they are not those of num_devices.
    """
    place, message, like = 0, None, torch.empty(0)
    for symbols in parts:
        some = measured(symbols, layout, carrier, LOCAL)
        if message is None:  # room for all at once: small pieces kept between large ones would scatter the heap
            message, like = _room(some, num_devices), symbols[:1].clone()
        devices = slice(place, place + len(symbols))
        message.norms[devices], message.peaks[devices] = some.norms, some.peaks
        if message.shared is not None and some.shared is not None:
            message.shared[devices] = some.shared
        place += len(symbols)
    if message is None or place != num_devices:
        raise ValueError(f"parts must give the messages of {num_devices} devices, got {place}")
    return message, like


def _room(like: MeasuredMessage, num_devices: int) -> MeasuredMessage:
    """Room for what is measured of so many devices."""
    shared = None if like.shared is None else like.shared.new_empty(num_devices, like.shared.shape[-1])
    norms, peaks = (values.new_empty(num_devices, values.shape[-1]) for values in (like.norms, like.peaks))
    return MeasuredMessage(like.segments, norms, peaks, shared)


@lru_cache(maxsize=64)
def _segments(layout: tuple[int, ...], carrier: Carrier) -> Segments:
    """The segments of a layout; kept, since a run meets the same few layouts in every round."""
    return Segments(layout, carrier.cells(layout))


def lowered(design: Design, energy: Tensor, shared: Tensor, limit: Tensor, agreement: Agreement) -> tuple[Design, Tensor]:
    """Lower all devices together where channel uses that two blocks share would break a device's limit.

    The receiver makes up for it: what it counts of each device stays, its noise grows.

    Args:
        design: precoders that keep every limit symbol by symbol.
        energy: float64 [..., K], of the symbols one by one.
        shared: real [..., K, 2 n], symbols of the channel uses that two segments share.
        limit: float64, broadcastable to [..., K].
        agreement: on the factor.

    Returns:
        the design, and the energy [..., K] that is then sent.
    """
    transceiver = design.transceiver
    total = energy + cross_energy(agreement.segments, transceiver.precoder, shared)
    limit = torch.maximum(limit, energy)  # a policy that breaks the limit by itself is found out by the ledger
    silent = limit == 0
    excess = (total / limit.masked_fill(silent, 1)).masked_fill(silent, 0)
    factor = root(agreement.air.max(excess, dim=-1).clamp(min=1)).unsqueeze(-1)  # [..., 1, 1]
    lower = transceiver._replace(precoder=transceiver.precoder / factor, scale=transceiver.scale * factor)
    return Design(lower, design.combiner * factor), total / factor.squeeze(-1).square()


def nonfinite(norms: Tensor, budget: Tensor, *gains: Tensor, air: Air) -> tuple[Tensor, Tensor]:
    """Devices whose message, gains or budget are not finite, or too large for the energy to be a number.

    Returns:
        bool [..., K], by device; and bool [..., 1], whether all are well.
    """
    total = norms.square().sum(-1)  # of terms >= 0
    for h in {id(h): h for h in gains}.values():
        total = total + h.abs().sum((-1, -2))
    broken = ~((total + budget < torch.inf) & (budget >= 0))
    return broken, air.max(broken.double(), dim=-1) == 0


def check_message(symbols: Tensor, layout: tuple[int, ...]) -> int:
    """Return K of symbols [..., K, S].

    Raises:
        TypeError: symbols that are not float32 or float64.
        ValueError: shapes that do not fit.
    """
    return _check_form(symbols.dtype, symbols.shape, layout)


@lru_cache(maxsize=64)  # a run meets the same few forms in every round
def _check_form(dtype: torch.dtype, shape: torch.Size, layout: tuple[int, ...]) -> int:
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"symbols must be float32 or float64, got {dtype}; convert them with .float()")
    if len(shape) < 2 or shape[-2] < 1:
        raise ValueError(f"symbols must be [..., num_devices, num_symbols], got shape {list(shape)}")
    if not layout or min(layout) < 1 or sum(layout) != shape[-1]:
        raise ValueError(
            f"layout must hold block sizes >= 1 that sum to num_symbols = {shape[-1]}, got "
            f"{len(layout)} blocks with sum {sum(layout)}"
        )
    return shape[-2]


def _finite(h: Tensor) -> Tensor:
    """Gains with 0 for those that are not finite."""
    return torch.where(h.isfinite(), h, torch.zeros_like(h))
