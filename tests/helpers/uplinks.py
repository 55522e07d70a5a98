"""Options of the uplink, messages to send over it, and the explicit channel: x formed, faded, added up, noise, rescaled."""

from __future__ import annotations

import torch
from torch import Tensor

from helpers.statistical import seeded
from laser_wireless.channels import (
    AlignedInversion,
    AnalogUplink,
    FullPower,
    LeastNoiseAllocation,
    MseOptimal,
    NoFading,
    NormAllocation,
    OpenLoop,
    OracleScale,
    PeakLimited,
    Plan,
    PreviousScale,
    Rayleigh,
    RegularisedInversion,
    Rician,
    TimeVaryingPrecoding,
    Transceiver,
    TruncatedInversion,
    UniformAllocation,
)


def squared_norms(norms, block_sizes, air):
    """A user's allocation."""
    return air.sum(norms.square(), dim=-2)


def deep_fades(num_devices, num_rx_antennas, grid, *, round, generator):
    """A user's fading: every third gain is exactly zero."""
    shape = (num_devices, num_rx_antennas, grid.num_slots, grid.num_frequency_blocks)
    h = torch.randn(shape, dtype=torch.complex64, device=generator.device, generator=generator)
    kept = torch.rand(shape, device=generator.device, generator=generator) > 1 / 3
    return h * kept * 1.5**0.5


def unit_gains(num_devices, num_rx_antennas, grid, *, round, generator):
    """A user's fading that does nothing."""
    shape = (num_devices, num_rx_antennas, grid.num_slots, grid.num_frequency_blocks)
    return torch.ones(shape, dtype=torch.complex128, device=generator.device)


def matched_filter(h, norms, energy, noise_variance, *, agreement):
    """A user's power control: one block energy for all symbols of a block, phases undone, no amplitude inverted."""
    needed = agreement.segments.sum_in_blocks(norms.square())
    own = (energy / needed.masked_fill(needed == 0, 1)).sqrt().masked_fill(needed == 0, 0)
    own = agreement.segments.from_blocks(own)
    h = h.to(torch.complex128)
    b = own * h.conj() / h.abs().masked_fill(h == 0, 1)
    arriving = agreement.air.sum((h * b).real, dim=-2)
    scale = arriving.masked_fill(arriving == 0, torch.inf).reciprocal()
    return Transceiver(b, scale, torch.ones_like(own), own > 0)


def rising(round):
    """A user's schedule."""
    return 2.0 + round


FADINGS = [NoFading(), Rayleigh(), Rician(k_factor=4.0), deep_fades]
POWER_CONTROLS = [
    AlignedInversion(),
    TruncatedInversion(threshold=0.1),
    FullPower(),
    FullPower(phase=False),
    OpenLoop(p0=0.5),
    MseOptimal(),
    RegularisedInversion(),
    TimeVaryingPrecoding(),
    PeakLimited(peak_power=1e-3),
    matched_filter,
]
ALLOCATIONS = [
    NormAllocation(),
    LeastNoiseAllocation(),
    UniformAllocation(),
    UniformAllocation(per_symbol=True),
    squared_norms,
]
SCALES = [OracleScale(), PreviousScale(), PreviousScale(backoff=0.5)]
COHERENCES = ["round", "block", "symbol", 6]
BASEBANDS = ["complex", "real"]


def name_of(option: object) -> str:
    """Readable test ids."""
    return getattr(option, "__name__", None) or str(option)


def random_message(num_devices: int, layout: tuple[int, ...], *, dtype=torch.float32, seed: int = 0, device="cpu") -> Tensor:
    """Messages [K, S] whose blocks and devices differ in scale."""
    generator = seeded(seed)
    u = torch.randn(num_devices, sum(layout), dtype=dtype, generator=generator)
    devices = torch.linspace(0.5, 1.5, num_devices, dtype=dtype).unsqueeze(1)
    blocks = torch.cat([torch.full((size,), 2.0 * 3.0**-b, dtype=dtype) for b, size in enumerate(layout)])
    return (u * devices * blocks).to(device)


def energies_on_air(uplink: AnalogUplink, symbols: Tensor, plan: Plan) -> Tensor:
    """Energy [..., K] of the transmitted symbols, added up in float64."""
    return uplink.transmit(symbols.double(), plan).abs().square().sum(-1)


def explicit_estimate(uplink: AnalogUplink, symbols: Tensor, plan: Plan, noise: Tensor) -> Tensor:
    """The estimate [..., S], channel use by channel use, on a complex baseband.

    noise: real [..., S] of variance noise_variance, two real symbols to a channel use.
    """
    x = uplink.transmit(symbols, plan)  # [..., K, S / 2]
    h = plan.gains[..., 0, :]  # of the only antenna
    gains = h.expand(*h.shape[:-2], *plan.message.norms.shape[-2:])
    h = plan.message.segments.expand(gains)[..., 0::2]
    n = torch.complex(noise[..., 0::2], noise[..., 1::2])
    y = (h * x).sum(-2) + n
    received = torch.view_as_real(y.to(torch.complex128)).flatten(-2)  # I, Q, I, Q, ...
    return received * plan.message.segments.expand(plan.design.transceiver.scale).squeeze(-2)
