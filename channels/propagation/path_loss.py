"""Path loss: how many dB a link loses on average at its distance, and how much shadowing spreads around that.

A model is any function (distance_m, *, generator) -> Attenuation. distance_m [K] lies in the plane; heights are the
model's own. Losses in dB are positive, carriers in hertz, heights in metres. The models of 3GPP are those of
TR 38.901 V16.1, tables 7.4.1-1 and 7.4.2-1, for devices out of doors (InH: indoors); penetration into buildings and cars
is out of scope, and distances beyond the tables' (5 km; InH 150 m) are extrapolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked

_LIGHT_SPEED = 3.0e8  # as TR 38.901 has it, in the breakpoint distance


class Attenuation(NamedTuple):
    """What a path-loss model says of K links: float64 [K] dB, float64 [K] dB, bool [K]."""

    loss_db: Tensor
    shadowing_db: Tensor
    line_of_sight: Tensor


class PathLoss(Protocol):
    """Mean loss and spread of the shadowing at a distance; a plain function will do."""

    def __call__(self, distance_m: Tensor, *, generator: torch.Generator) -> Attenuation:
        """Return the attenuation of links of distance_m, float64 [K]; `generator` draws what is random."""
        ...


def free_space_loss_db(distance_m: float, carrier_hz: float) -> float:
    """Friis: 20 log10(4 pi d / wavelength), between isotropic antennas."""
    return 20 * math.log10(4 * math.pi * distance_m * carrier_hz / _LIGHT_SPEED)


@dataclass(frozen=True, kw_only=True)
@checked
class LogDistance:
    """Loss = L0 + 10 n log10(d / d0); a device nearer than d0 counts as being at d0.

    Args:
        exponent: n >= 0; 2 is free space, 3 to 4 a city.
        reference_loss_db: L0, at d0; 43.3 dB is free space at 1 m and 3.5 GHz (`free_space_loss_db`).
        reference_distance_m: d0 > 0.
        shadowing_db: standard deviation of log-normal shadowing, >= 0.
    """

    exponent: float = 3.5
    reference_loss_db: float = 43.3
    reference_distance_m: float = 1.0
    shadowing_db: float = 0.0

    def __post_init__(self) -> None:
        _check_range("exponent", self.exponent, 0, math.inf)
        _check_range("reference_loss_db", self.reference_loss_db, -math.inf, math.inf)
        _check_range("shadowing_db", self.shadowing_db, 0, math.inf)
        if not 0 < self.reference_distance_m < math.inf:
            raise ValueError(f"reference_distance_m must be finite and > 0, got {self.reference_distance_m}")

    def __call__(self, distance_m: Tensor, *, generator: torch.Generator) -> Attenuation:
        """Return the attenuation; nothing is random here, every link counts as in sight."""
        ratio = (distance_m / self.reference_distance_m).clamp(min=1)
        loss = self.reference_loss_db + 10 * self.exponent * ratio.log10()
        return Attenuation(loss, torch.full_like(loss, self.shadowing_db), torch.ones_like(loss, dtype=torch.bool))


@dataclass(frozen=True, kw_only=True)
@checked
class UMiPathLoss:
    """3GPP UMi street canyon: base station below the roofs. Distances below 10 m count as 10 m.

    Args:
        carrier_hz: 0.5 to 100 GHz.
        base_height_m: above 1 m; the standard has 10 m.
        device_height_m: 1.5 to 22.5 m.
        line_of_sight: "random" with the standard's probability, or for all devices "always" or "never".
    """

    carrier_hz: float = 3.5e9
    base_height_m: float = 10.0
    device_height_m: float = 1.5
    line_of_sight: Literal["random", "always", "never"] = "random"

    def __post_init__(self) -> None:
        _check_carrier(self.carrier_hz)
        _check_range("base_height_m", self.base_height_m, 1.001, 150)
        _check_range("device_height_m", self.device_height_m, 1.5, 22.5)

    def line_of_sight_probability(self, distance_m: Tensor) -> Tensor:
        """P(line of sight) at distances [K]."""
        return _street_probability(distance_m, 36.0)

    def __call__(self, distance_m: Tensor, *, generator: torch.Generator) -> Attenuation:
        """Return the attenuation; the lines of sight are drawn."""
        d, drop = distance_m.clamp(min=10), self.base_height_m - self.device_height_m
        log_d3, log_fc = torch.hypot(d, torch.full_like(d, drop)).log10(), math.log10(self.carrier_hz / 1e9)
        bend = _breakpoint(self.base_height_m, self.device_height_m, self.carrier_hz)
        beyond = 32.4 + 40 * log_d3 + 20 * log_fc - 9.5 * math.log10(bend**2 + drop**2)
        los = torch.where(d <= bend, 32.4 + 21 * log_d3 + 20 * log_fc, beyond)
        nlos = 22.4 + 35.3 * log_d3 + 21.3 * log_fc - 0.3 * (self.device_height_m - 1.5)
        sees = _draw_sight(self.line_of_sight, self.line_of_sight_probability(distance_m), generator)
        return _attenuation(sees, los, nlos, 4.0, 7.82)


@dataclass(frozen=True, kw_only=True)
@checked
class UMaPathLoss:
    """3GPP UMa: base station above the roofs of a city. Distances below 10 m count as 10 m.

    Args:
        carrier_hz: 0.5 to 100 GHz.
        base_height_m: above 1 m; the standard has 25 m.
        device_height_m: 1.5 to 13 m; above, the standard's effective environment height is random, which is not modelled.
        line_of_sight: "random" with the standard's probability, or for all devices "always" or "never".
    """

    carrier_hz: float = 3.5e9
    base_height_m: float = 25.0
    device_height_m: float = 1.5
    line_of_sight: Literal["random", "always", "never"] = "random"

    def __post_init__(self) -> None:
        _check_carrier(self.carrier_hz)
        _check_range("base_height_m", self.base_height_m, 1.001, 150)
        _check_range("device_height_m", self.device_height_m, 1.5, 13)

    def line_of_sight_probability(self, distance_m: Tensor) -> Tensor:
        """P(line of sight) at distances [K]."""
        return _street_probability(distance_m, 63.0)

    def __call__(self, distance_m: Tensor, *, generator: torch.Generator) -> Attenuation:
        """Return the attenuation; the lines of sight are drawn."""
        d, drop = distance_m.clamp(min=10), self.base_height_m - self.device_height_m
        log_d3, log_fc = torch.hypot(d, torch.full_like(d, drop)).log10(), math.log10(self.carrier_hz / 1e9)
        bend = _breakpoint(self.base_height_m, self.device_height_m, self.carrier_hz)
        beyond = 28.0 + 40 * log_d3 + 20 * log_fc - 9 * math.log10(bend**2 + drop**2)
        los = torch.where(d <= bend, 28.0 + 22 * log_d3 + 20 * log_fc, beyond)
        nlos = 13.54 + 39.08 * log_d3 + 20 * log_fc - 0.6 * (self.device_height_m - 1.5)
        sees = _draw_sight(self.line_of_sight, self.line_of_sight_probability(distance_m), generator)
        return _attenuation(sees, los, nlos, 4.0, 6.0)


@dataclass(frozen=True, kw_only=True)
@checked
class RMaPathLoss:
    """3GPP RMa: a tall base station over open country. Distances below 10 m count as 10 m.

    Args:
        carrier_hz: 0.5 to 30 GHz.
        base_height_m: 10 to 150 m.
        device_height_m: 1 to 10 m.
        building_height_m: mean, 5 to 50 m.
        street_width_m: mean, 5 to 50 m.
        line_of_sight: "random" with the standard's probability, or for all devices "always" or "never".
    """

    carrier_hz: float = 3.5e9
    base_height_m: float = 35.0
    device_height_m: float = 1.5
    building_height_m: float = 5.0
    street_width_m: float = 20.0
    line_of_sight: Literal["random", "always", "never"] = "random"

    def __post_init__(self) -> None:
        _check_carrier(self.carrier_hz, highest_hz=30e9)
        _check_range("base_height_m", self.base_height_m, 10, 150)
        _check_range("device_height_m", self.device_height_m, 1, 10)
        _check_range("building_height_m", self.building_height_m, 5, 50)
        _check_range("street_width_m", self.street_width_m, 5, 50)

    def line_of_sight_probability(self, distance_m: Tensor) -> Tensor:
        """P(line of sight) at distances [K]."""
        return torch.exp(-(distance_m - 10) / 1000).clamp(max=1)

    def __call__(self, distance_m: Tensor, *, generator: torch.Generator) -> Attenuation:
        """Return the attenuation; the lines of sight are drawn."""
        d, drop = distance_m.clamp(min=10), self.base_height_m - self.device_height_m
        d3 = torch.hypot(d, torch.full_like(d, drop))
        bend = 2 * math.pi * self.base_height_m * self.device_height_m * self.carrier_hz / _LIGHT_SPEED
        near = d <= bend
        beyond = self._before_breakpoint(torch.full_like(d, bend)) + 40 * (d3 / bend).log10()
        los = torch.where(near, self._before_breakpoint(d3), beyond)
        h, log_base = self.building_height_m, math.log10(self.base_height_m)
        nlos = 161.04 - 7.1 * math.log10(self.street_width_m) + 7.5 * math.log10(h)
        nlos = nlos - (24.37 - 3.7 * (h / self.base_height_m) ** 2) * log_base + 20 * math.log10(self.carrier_hz / 1e9)
        nlos = nlos - 3.2 * math.log10(11.75 * self.device_height_m) ** 2 + 4.97
        sees = _draw_sight(self.line_of_sight, self.line_of_sight_probability(distance_m), generator)
        spread = torch.where(near, 4.0, 6.0).to(d.dtype)
        return _attenuation(sees, los, nlos + (43.42 - 3.1 * log_base) * (d3.log10() - 3), spread, 8.0)

    def _before_breakpoint(self, d3: Tensor) -> Tensor:
        power = self.building_height_m**1.72
        loss = 20 * (40 * math.pi * d3 * self.carrier_hz / 1e9 / 3).log10() + min(0.03 * power, 10) * d3.log10()
        return loss - min(0.044 * power, 14.77) + 0.002 * math.log10(self.building_height_m) * d3


@dataclass(frozen=True, kw_only=True)
@checked
class InHPathLoss:
    """3GPP InH: an office, base station at the ceiling. Distances below 1 m count as 1 m.

    Args:
        carrier_hz: 0.5 to 100 GHz.
        base_height_m: > 0; the standard has 3 m.
        device_height_m: > 0; the standard has 1 m.
        office: "mixed" (rooms and corridors) or "open"; sets the probability of a line of sight.
        line_of_sight: "random" with the standard's probability, or for all devices "always" or "never".
    """

    carrier_hz: float = 3.5e9
    base_height_m: float = 3.0
    device_height_m: float = 1.0
    office: Literal["mixed", "open"] = "mixed"
    line_of_sight: Literal["random", "always", "never"] = "random"

    def __post_init__(self) -> None:
        _check_carrier(self.carrier_hz)
        _check_range("base_height_m", self.base_height_m, 0, 150)
        _check_range("device_height_m", self.device_height_m, 0, 150)

    def line_of_sight_probability(self, distance_m: Tensor) -> Tensor:
        """P(line of sight) at distances [K]."""
        d = distance_m
        if self.office == "open":
            near, far = torch.exp(-(d - 5) / 70.8), 0.54 * torch.exp(-(d - 49) / 211.7)
            return torch.where(d <= 49, near.clamp(max=1), far)
        near, far = torch.exp(-(d - 1.2) / 4.7), 0.32 * torch.exp(-(d - 6.5) / 32.6)
        return torch.where(d < 6.5, near.clamp(max=1), far)

    def __call__(self, distance_m: Tensor, *, generator: torch.Generator) -> Attenuation:
        """Return the attenuation; the lines of sight are drawn."""
        d = distance_m.clamp(min=1)
        log_d3 = torch.hypot(d, torch.full_like(d, self.base_height_m - self.device_height_m)).log10()
        log_fc = math.log10(self.carrier_hz / 1e9)
        sees = _draw_sight(self.line_of_sight, self.line_of_sight_probability(distance_m), generator)
        los, nlos = 32.4 + 17.3 * log_d3 + 20 * log_fc, 17.3 + 38.3 * log_d3 + 24.9 * log_fc
        return _attenuation(sees, los, nlos, 3.0, 8.03)


def _street_probability(distance_m: Tensor, decay_m: float) -> Tensor:
    near = 18 / distance_m.clamp(min=18)
    return near + torch.exp(-distance_m / decay_m) * (1 - near)


def _breakpoint(base_height_m: float, device_height_m: float, carrier_hz: float) -> float:
    """Where the ground wave begins to cancel the direct one, over an environment 1 m high."""
    return 4 * (base_height_m - 1) * (device_height_m - 1) * carrier_hz / _LIGHT_SPEED


def _draw_sight(choice: str, probability: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(probability.shape, dtype=torch.float64, device=probability.device, generator=generator) < probability
    return drawn if choice == "random" else torch.full_like(drawn, choice == "always")


def _attenuation(sees: Tensor, los: Tensor, nlos: Tensor, los_spread: Tensor | float, nlos_spread: float) -> Attenuation:
    """Without line of sight the loss is never below that with it."""
    loss = torch.where(sees, los, torch.maximum(los, nlos))
    return Attenuation(loss, torch.where(sees, los_spread, torch.full_like(loss, nlos_spread)), sees)


def _check_carrier(carrier_hz: float, highest_hz: float = 100e9) -> None:
    if not 0.5e9 <= carrier_hz <= highest_hz:
        raise ValueError(f"carrier_hz must lie in [0.5e9, {highest_hz:g}], as TR 38.901 has it, got {carrier_hz}")


def _check_range(name: str, value: float, lowest: float, highest: float) -> None:
    if not (lowest <= value <= highest and math.isfinite(value)):
        raise ValueError(f"{name} must be finite and in [{lowest}, {highest}], got {value}")
