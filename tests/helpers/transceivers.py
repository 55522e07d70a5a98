"""Power controls and receivers apart from the uplink: random instances, the explicit channel, devices in two processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from helpers.statistical import seeded
from laser_wireless.channels.power_control.contract import Agreement, Transceiver
from laser_wireless.channels.power_control.estimation_error import mean_square_error
from laser_wireless.channels.power_control.full_power import FullPower, OpenLoop
from laser_wireless.channels.power_control.inversion import AlignedInversion, TimeVaryingPrecoding, TruncatedInversion
from laser_wireless.channels.power_control.optimal import MseOptimal, RegularisedInversion
from laser_wireless.channels.power_control.peak_limit import PeakLimited
from laser_wireless.channels.receivers.contract import coefficients_of
from laser_wireless.channels.round import LocalAir
from laser_wireless.channels.segments import Grid, Segments

RULES = [
    AlignedInversion(),
    TruncatedInversion(threshold=0.3),
    TimeVaryingPrecoding(threshold=0.3),
    FullPower(),
    FullPower(scale="unit_sum"),
    FullPower(phase=False),
    OpenLoop(p0=0.5, alpha=0.7, max_power=2.0),
    MseOptimal(),
    RegularisedInversion(regulariser=0.2),
    PeakLimited(power_control=MseOptimal(), peak_power=0.3),
]
LOCAL = LocalAir()


class Instance(NamedTuple):
    """h [R, K, G], norms [R, K, G], energy [R, K, B], noise_variance [R], segments."""

    h: Tensor
    norms: Tensor
    energy: Tensor
    noise_variance: Tensor
    segments: Segments


def one_segment(num_symbols: int) -> Segments:
    """A message of one block and one gain."""
    return Segments((num_symbols,), Grid(num_slots=1, symbols_per_cell=num_symbols))


def agreement(segments: Segments, air=LOCAL, *, peaks=None, link_gain=None) -> Agreement:
    """What devices share, with this round's common amplitude."""
    return Agreement(segments, air, lambda limits: air.min(limits, dim=-2), peaks, link_gain)


def random_instance(num_instances: int, num_devices: int, *, decades: float = 0.5, seed: int = 0) -> Instance:
    """Rayleigh gains times path gains, norms, energies and noise spread over decades, one segment of 6 symbols."""
    generator = seeded(seed)
    shape = (num_instances, num_devices, 1)

    def spread(*size: int) -> Tensor:
        return 10 ** (decades * torch.randn(size, dtype=torch.float64, generator=generator))

    h = torch.randn(shape, dtype=torch.complex128, generator=generator) * spread(*shape)
    return Instance(h, spread(*shape), spread(*shape), spread(num_instances) ** 2, one_segment(6))


def extreme_instance(num_instances: int, num_devices: int, *, seed: int = 0) -> Instance:
    """Gains, norms, energies and noise variances picked from 0, 1e-30, 1, 1e30."""
    generator = seeded(seed)
    values = torch.tensor([0.0, 1e-30, 1.0, 1e30], dtype=torch.float64)

    def pick(*size: int) -> Tensor:
        return values[torch.randint(4, size, generator=generator)]

    shape = (num_instances, num_devices, 2)
    phases = torch.polar(torch.ones(shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64, generator=generator))
    segments = Segments((5, 3), Grid(num_slots=1, symbols_per_cell=8))
    return Instance(pick(*shape) * phases, pick(*shape), pick(*shape), pick(num_instances), segments)


def settle(power_control, instance: Instance, **options) -> Transceiver:
    """Run a rule; peaks, if not given, are as if each message were one pulse."""
    h, norms, energy, noise_variance, segments = instance
    options = {"peaks": norms, **options}
    return power_control(h, norms, energy, noise_variance, agreement=agreement(segments, **options))


def errors_of(power_control, instance: Instance) -> Tensor:
    """Expected squared error [R] of one antenna, summed over the symbols."""
    transceiver = settle(power_control, instance)
    return mean_square_error(
        transceiver.scale * instance.h * transceiver.precoder,
        instance.norms,
        noise_gain=transceiver.scale.squeeze(-2).square(),
        noise_variance=instance.noise_variance,
        num_symbols=torch.tensor(instance.segments.sizes),
    ).sum(-1)


class Link(NamedTuple):
    """A round of several antennas: c [..., K, G], w, what arrives, the transceiver and the error [..., G]."""

    coefficients: Tensor
    combiner: Tensor
    arriving: Tensor
    transceiver: Transceiver
    error: Tensor


def joint_design(receiver, power_control, instance: Instance, *, alternations: int | None = None, air=LOCAL) -> Link:
    """Beam, power control, combiner, in turns; h of the instance is [..., K, N_r, G]."""
    h, norms, energy, noise_variance, segments = instance
    num_symbols = torch.tensor(segments.sizes)
    power = norms.square() / num_symbols
    w = receiver.beam(h, air)
    for _ in range((receiver.alternations if alternations is None else alternations) + 1):
        size = torch.linalg.vector_norm(w, dim=-2, keepdim=True)
        v = w / (size + (size == 0))
        shared = agreement(segments, air, peaks=norms)
        transceiver = power_control(coefficients_of(v, h), norms, energy, noise_variance, agreement=shared)
        arriving = h * transceiver.precoder.unsqueeze(-2)
        w = receiver.combine(arriving, v, transceiver, power, noise_variance, air)
    c = coefficients_of(w, arriving)
    gain = w.abs().square().sum(-2)
    error = mean_square_error(c, norms, noise_gain=gain, noise_variance=noise_variance, num_symbols=num_symbols, air=air)
    return Link(c, w, arriving, transceiver, error)


def explicit_errors(
    h: Tensor, precoder: Tensor, combiner: Tensor, power: Tensor, noise_variance: float, *, num_uses: int, seed: int = 0
) -> Tensor:
    """Errors of real symbols [2 num_uses] of the explicit channel: x = b u, y = sum_k h_k x_k + n, estimate w^H y.

    Each real symbol has a normal law whose variance is the mean-square error.

    Args:
        h: complex [K, N_r].
        precoder: [K].
        combiner: [N_r].
        power: [K], mean square of a real symbol of the Gaussian messages.
        noise_variance: per real symbol.
        num_uses: complex channel uses.
        seed: of messages and noise.
    """
    generator = seeded(seed)

    def complex_normal(rows: int) -> Tensor:
        """Two real symbols of unit variance in each number."""
        return torch.view_as_complex(torch.randn(rows, num_uses, 2, dtype=torch.float64, generator=generator))

    u = power.sqrt().unsqueeze(-1) * complex_normal(len(power))
    x = precoder.to(torch.complex128).unsqueeze(-1) * u
    n = noise_variance**0.5 * complex_normal(h.shape[1])
    y = h.to(torch.complex128).T @ x + n
    estimate = combiner.to(torch.complex128).conj() @ y
    return torch.view_as_real(estimate - u.mean(0)).flatten()


class _Meeting:
    """An air over two threads, each with half of the devices: values are exchanged, as between processes."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=20)
        self.slots: list[Tensor | None] = [None, None]

    def air(self, who: int):
        meeting = self

        class Half:
            def _reduce(self, x: Tensor, dim: int, how: str) -> Tensor:
                assert not x.is_complex(), "processes reduce real numbers"
                meeting.slots[who] = getattr(LOCAL, how)(x, dim)
                meeting.barrier.wait()
                pair = torch.stack([slot.broadcast_to(meeting.slots[who].shape) for slot in meeting.slots])
                meeting.barrier.wait()
                return {"sum": pair.sum(0), "min": pair.amin(0), "max": pair.amax(0)}[how]

            def sum(self, x: Tensor, dim: int) -> Tensor:
                return self._reduce(x, dim, "sum")

            def min(self, x: Tensor, dim: int) -> Tensor:
                return self._reduce(x, dim, "min")

            def max(self, x: Tensor, dim: int) -> Tensor:
                return self._reduce(x, dim, "max")

        return Half()


def in_two_processes(run: Callable[[slice, object], object], num_devices: int) -> list:
    """Call run(devices, air) at once for the first and the second half of the devices."""
    meeting, results = _Meeting(), [None, None]
    halves = [slice(0, num_devices // 2), slice(num_devices // 2, num_devices)]

    def work(who: int) -> None:
        results[who] = run(halves[who], meeting.air(who))

    threads = [threading.Thread(target=work, args=(who,)) for who in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
