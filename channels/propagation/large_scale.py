"""Large-scale gain: what distance, buildings and hills make of each device's power, constant over a run.

A model is any function (num_devices, *, generator) -> float64 [num_devices], linear power gains g_k; device k's channel is
sqrt(g_k) h_k with the small-scale h_k of `channels.fading`, E|h_k|^2 = 1. The generator comes freshly seeded for the
run, so that each call draws the same devices. Distances in metres, losses in dB.

Two ways to fix the level: normalise = "mean" divides by the mean over the devices, so that the SNR of the energy budget
stays the mean received SNR; "absolute" keeps the losses, and `cell_energy_budget` says what energy budget goes with a
transmit power in dBm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.propagation.path_loss import LogDistance, PathLoss

_BOLTZMANN = 1.380649e-23  # joules per kelvin


class Placement(Protocol):
    """Says where the devices are; the base station is the origin."""

    def positions(self, num_devices: int, *, generator: torch.Generator) -> Tensor:
        """Return float64 [num_devices, 2], metres."""
        ...


@dataclass(frozen=True, kw_only=True)
@checked
class Annulus:
    """Devices dropped uniformly over the area of a ring, or of a sector of it that looks along the x axis.

    Args:
        min_distance_m: inner radius, >= 0.
        max_distance_m: outer radius, >= min_distance_m and > 0.
        sector_deg: opening in (0, 360]; 120 is one of a site's three cells.
    """

    min_distance_m: float = 10.0
    max_distance_m: float = 200.0
    sector_deg: float = 360.0

    def __post_init__(self) -> None:
        if not (0 <= self.min_distance_m <= self.max_distance_m < math.inf and self.max_distance_m > 0):
            raise ValueError(
                "min_distance_m and max_distance_m must be finite with 0 <= min_distance_m <= max_distance_m > 0, "
                f"got {self.min_distance_m} and {self.max_distance_m}"
            )
        if not 0 < self.sector_deg <= 360:
            raise ValueError(f"sector_deg must lie in (0, 360], got {self.sector_deg}")

    def positions(self, num_devices: int, *, generator: torch.Generator) -> Tensor:
        """Return float64 [num_devices, 2], metres."""
        u = torch.rand(2, num_devices, dtype=torch.float64, device=generator.device, generator=generator)
        inner, outer = self.min_distance_m**2, self.max_distance_m**2
        return _from_polar((inner + (outer - inner) * u[0]).sqrt(), (u[1] - 0.5) * math.radians(self.sector_deg))


@dataclass(frozen=True, kw_only=True)
@checked
class Distances:
    """Devices at given distances, in directions spread evenly around the base station.

    Args:
        distances_m: one for each device, >= 0.
    """

    distances_m: list[float]

    def __post_init__(self) -> None:
        if not self.distances_m or not all(0 <= distance < math.inf for distance in self.distances_m):
            raise ValueError(f"distances_m must hold finite numbers >= 0, one for each device, got {self.distances_m}")

    def positions(self, num_devices: int, *, generator: torch.Generator) -> Tensor:
        """Return float64 [num_devices, 2], metres; nothing is drawn."""
        _check_length("distances_m", len(self.distances_m), num_devices)
        distance = torch.tensor(self.distances_m, dtype=torch.float64, device=generator.device)
        step = 2 * math.pi / num_devices
        return _from_polar(distance, torch.arange(num_devices, dtype=torch.float64, device=generator.device) * step)


@dataclass(frozen=True, kw_only=True)
@checked
class Positions:
    """Devices at given places.

    Args:
        positions_m: [x, y] of each device, metres from the base station.
    """

    positions_m: list[list[float]]

    def __post_init__(self) -> None:
        if not self.positions_m or not all(len(xy) == 2 and all(map(math.isfinite, xy)) for xy in self.positions_m):
            raise ValueError(f"positions_m must hold finite [x, y], one for each device, got {self.positions_m}")

    def positions(self, num_devices: int, *, generator: torch.Generator) -> Tensor:
        """Return float64 [num_devices, 2], metres; nothing is drawn."""
        _check_length("positions_m", len(self.positions_m), num_devices)
        return torch.tensor(self.positions_m, dtype=torch.float64, device=generator.device)


@dataclass(frozen=True, kw_only=True)
@checked
class LogNormalShadowing:
    """g_k = 10^(X_k / 10) with independent X_k ~ N(0, sigma_db^2) dB: shadowing without a geometry.

    Args:
        sigma_db: >= 0.
        normalise: "mean" over the devices is 1, or "absolute": the median is 1.
    """

    sigma_db: float = 8.0
    normalise: Literal["mean", "absolute"] = "mean"

    def __post_init__(self) -> None:
        _check_spread("sigma_db", self.sigma_db)

    def __call__(self, num_devices: int, *, generator: torch.Generator) -> Tensor:
        """Return float64 [num_devices], linear power gains."""
        x = torch.randn(num_devices, dtype=torch.float64, device=generator.device, generator=generator)
        return _level(self.sigma_db * x, self.normalise)


class Links(NamedTuple):
    """A drop of K devices.

    positions_m: float64 [K, 2]. loss_db, shadowing_db: float64 [K], the power gain is -loss_db + shadowing_db plus the
    antennas'. line_of_sight: bool [K]. gain: float64 [K], linear, at the level asked for.
    """

    positions_m: Tensor
    loss_db: Tensor
    shadowing_db: Tensor
    line_of_sight: Tensor
    gain: Tensor


@dataclass(frozen=True, kw_only=True)
@checked
class CellGain:
    """Power gains of devices in a cell: placement, path loss, log-normal shadowing.

    Args:
        path_loss: `LogDistance`, `UMiPathLoss`, `UMaPathLoss`, `RMaPathLoss`, `InHPathLoss` or a function.
        placement: `Annulus`, `Distances`, `Positions`, or an object with their method.
        shadowing_db: standard deviation, >= 0; None takes what the path-loss model says.
        decorrelation_m: devices d metres apart have shadowing correlated by exp(-d / decorrelation_m) (Gudmundson 1991);
            0 is independent.
        antenna_gain_db: of both ends together.
        normalise: "mean" over the devices is 1, or "absolute".
    """

    path_loss: PathLoss = field(default_factory=LogDistance)
    placement: Placement = field(default_factory=Annulus)
    shadowing_db: float | None = None
    decorrelation_m: float = 0.0
    antenna_gain_db: float = 0.0
    normalise: Literal["mean", "absolute"] = "mean"

    def __post_init__(self) -> None:
        if self.shadowing_db is not None:
            _check_spread("shadowing_db", self.shadowing_db)
        _check_spread("decorrelation_m", self.decorrelation_m)
        if not math.isfinite(self.antenna_gain_db):
            raise ValueError(f"antenna_gain_db must be finite, got {self.antenna_gain_db}")

    def __call__(self, num_devices: int, *, generator: torch.Generator) -> Tensor:
        """Return float64 [num_devices], linear power gains."""
        return self.links(num_devices, generator=generator).gain

    def positions(self, num_devices: int, *, generator: torch.Generator) -> Tensor:
        """Return float64 [num_devices, 2]: where the devices of a call with an equally seeded generator are."""
        return self.placement.positions(num_devices, generator=generator)

    def links(self, num_devices: int, *, generator: torch.Generator) -> Links:
        """Drop the devices, and say all that is known of them."""
        positions = self.positions(num_devices, generator=generator)
        attenuation = self.path_loss(positions.norm(dim=-1), generator=generator)
        z = torch.randn(num_devices, dtype=torch.float64, device=generator.device, generator=generator)
        if self.decorrelation_m > 0:
            z = _correlated(z, positions, self.decorrelation_m)
        shadowing = (attenuation.shadowing_db if self.shadowing_db is None else self.shadowing_db) * z
        gain = _level(self.antenna_gain_db - attenuation.loss_db + shadowing, self.normalise)
        return Links(positions, attenuation.loss_db, shadowing, attenuation.line_of_sight, gain)


def noise_power_dbm(bandwidth_hz: float, *, noise_figure_db: float = 5.0, temperature_k: float = 290.0) -> float:
    """Thermal noise k T B F at the receiver: -174 dBm/Hz at 290 K, plus 10 log10 of the bandwidth, plus the noise figure."""
    for name, value in (("bandwidth_hz", bandwidth_hz), ("temperature_k", temperature_k)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and > 0, got {value}")
    if not 0 <= noise_figure_db < math.inf:
        raise ValueError(f"noise_figure_db must be finite and >= 0, got {noise_figure_db}")
    return 10 * math.log10(_BOLTZMANN * temperature_k * bandwidth_hz * 1000) + noise_figure_db


def cell_energy_budget(
    *,
    transmit_power_dbm: float,
    num_symbols: int,
    bandwidth_hz: float,
    noise_figure_db: float = 5.0,
    temperature_k: float = 290.0,
    baseband: Literal["complex", "real"] = "complex",
) -> float:
    """Energy budget of a device that sends with the given mean power throughout a round, in units of sigma^2.

    Goes with noise_variance = 1 and gains normalised "absolute". sigma^2 is the noise energy per real symbol, N0/2 =
    k T F / 2 joules, and the round lasts S/2 channel uses of 1/W seconds (complex baseband; S on a real one), so that
    P = p_tx duration / (N0/2) = S p_tx / (N0 W): the SNR per real symbol P / S is the transmit power over `noise_power_dbm`
    in the bandwidth, before the path loss. On a real baseband it is twice that, for the noise fills half as many
    dimensions.

    Args:
        transmit_power_dbm: mean over the round.
        num_symbols: S, real symbols of a round.
        bandwidth_hz: W, channel uses per second.
        noise_figure_db: of the receiver.
        temperature_k: of its antenna.
        baseband: that of the uplink.
    """
    if not math.isfinite(transmit_power_dbm):
        raise ValueError(f"transmit_power_dbm must be finite, got {transmit_power_dbm}")
    if not num_symbols >= 1:
        raise ValueError(f"num_symbols must be >= 1, got {num_symbols}")
    if baseband not in ("complex", "real"):
        raise ValueError(f'baseband must be "complex" or "real", got {baseband!r}')
    noise_dbm = noise_power_dbm(bandwidth_hz, noise_figure_db=noise_figure_db, temperature_k=temperature_k)
    uses = num_symbols if baseband == "real" else -(-num_symbols // 2)
    return float(2 * uses * 10 ** ((transmit_power_dbm - noise_dbm) / 10))


def _from_polar(distance: Tensor, angle: Tensor) -> Tensor:
    return torch.stack([distance * angle.cos(), distance * angle.sin()], dim=-1)


def _correlated(z: Tensor, positions: Tensor, decorrelation_m: float) -> Tensor:
    """Independent standard normals [K] -> standard normals correlated by distance; devices at one place share theirs."""
    covariance = torch.exp(-torch.cdist(positions, positions) / decorrelation_m)
    values, vectors = torch.linalg.eigh(covariance)  # semidefinite where places coincide, which Cholesky refuses
    return (vectors * values.clamp(min=0).sqrt()) @ (vectors.T @ z)  # the symmetric root: no choice of signs in it


def _level(gain_db: Tensor, normalise: str) -> Tensor:
    """From dB to linear; relative to the largest first, so that the mean of very weak gains is not lost."""
    if normalise == "absolute":
        return 10 ** (gain_db / 10)
    gain = 10 ** ((gain_db - gain_db.amax()) / 10)
    return gain / gain.mean()


def _check_length(name: str, found: int, num_devices: int) -> None:
    if found != num_devices:
        raise ValueError(f"{name} must hold one entry for each of the {num_devices} devices, got {found}")


def _check_spread(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and >= 0, got {value}")
