"""Sionna's channel models as propagation paths: amplitudes a_p(t) and delays tau_p of each device's link.

Each call of a model is an independent realisation that starts at time 0, so a run fades independently from round to round
and follows the Doppler spectrum within a round. Sionna cuts its graph: gradients flow through the message and through
gains, not to the parameters of a model. `time_step_s` of a model: see `sionna_conventions.draw_at`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.propagation.sionna_conventions import (
    check_model,
    check_positive,
    draw_at,
    links_of,
    vertical_array,
)
from laser_wireless.channels.propagation.sionna_runtime import SPEC_VERSION, device_name, load_sionna, sionna_draws_from

_SCALED = ("A", "B", "C", "D", "E")
_LINK_STEPS = 1 << 15  # links times time steps of a call: some hundred megabytes of sinusoids


@dataclass(frozen=True, kw_only=True)
@checked
class SionnaPaths:
    """Any Sionna channel model as paths.

    Args:
        model: a ready `sionna.phy.channel.ChannelModel`, or a function
            `build(num_devices, num_rx_antennas, *, device)` that returns one (or a function of (batch_size,
            num_time_steps, sampling_frequency)) for Sionna's device name `device`; it is called in each round.
        devices: where the model has the devices: "batch" for single-link models such as TDL and CDL, "transmitters" for
            models of several transmitters such as RayleighBlockFading and, with direction="uplink", UMi.
        time_step_s: see `sionna_conventions.draw_at`.

    Whether sum_p E|a_p|^2 = 1 holds is up to the model (path loss must be off) and measured where a run begins.
    """

    model: Callable[..., Any]
    devices: Literal["batch", "transmitters"] = "batch"
    time_step_s: float | None = None

    def __post_init__(self) -> None:
        if self.time_step_s is not None:
            check_positive(time_step_s=self.time_step_s)

    def __call__(
        self, num_devices: int, num_rx_antennas: int, times: Tensor, *, round: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return a: complex [K, N_r, P, T] and tau; see `Paths`."""
        with sionna_draws_from(generator) as device:
            model = self._ready(num_devices, num_rx_antennas, device)
            batch_size = num_devices if self.devices == "batch" else 1

            def draw(num_steps: int, frequency: float) -> tuple[Tensor, Tensor]:
                a, tau = model(batch_size, num_steps, frequency)
                return links_of(a, tau, self.devices, num_devices, num_rx_antennas)

            return draw_at(draw, times, self.time_step_s)

    def _ready(self, num_devices: int, num_rx_antennas: int, device: str) -> Any:
        if not isinstance(self.model, load_sionna().channel.ChannelModel):
            return self.model(num_devices, num_rx_antennas, device=device)
        on = device_name(torch.device(self.model.device))
        if on != device:
            raise ValueError(f'the Sionna model computes on {on}, the uplink on {device}; build it with device="{device}"')
        return self.model


@dataclass(frozen=True, kw_only=True)
class SionnaRayleigh:
    """Sionna's RayleighBlockFading: one path, a ~ CN(0, 1), constant over the round; in law the same as `Rayleigh`."""

    def __call__(
        self, num_devices: int, num_rx_antennas: int, times: Tensor, *, round: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return a: complex64 [K, N_r, 1, T] and tau = 0 [K, 1]; see `Paths`."""
        with sionna_draws_from(generator) as device:
            build = load_sionna().channel.RayleighBlockFading
            model = build(1, num_rx_antennas, num_devices, 1, precision="single", device=device)
            a, tau = model(1, len(times), 1.0)
        return links_of(a, tau, "transmitters", num_devices, num_rx_antennas)


@dataclass(frozen=True, kw_only=True)
@checked
class SionnaTdl:
    """Tapped delay line of 3GPP TR 38.901 section 7.7.2, independent over devices and antennas.

    Args:
        profile: "A", "B", "C" (no line of sight), "D", "E" (line of sight), or one of the fixed profiles of
            TS 38.101-4: "A10", "A30", "B100", "C60", "C300", "D10", "D30", whose number is the delay spread in ns.
        delay_spread_s: rms delay spread in seconds; the profiles A to E are scaled to it, the fixed ones ignore it.
        carrier_hz: carrier frequency.
        min_speed_m_s: each device's speed is uniform between the two and drawn in each round.
        max_speed_m_s: min_speed_m_s if None.
        precision: "single" for complex64, "double" for complex128.
        spec_version: release of the tables, "19.2" or "16.1".
        time_step_s: see `sionna_conventions.draw_at`.
    """

    profile: Literal["A", "B", "C", "D", "E", "A10", "A30", "B100", "C60", "C300", "D10", "D30"] = "C"
    delay_spread_s: float = 100e-9
    carrier_hz: float = 3.5e9
    min_speed_m_s: float = 1.0
    max_speed_m_s: float | None = None
    precision: Literal["single", "double"] = "single"
    spec_version: Literal["16.1", "19.2"] = SPEC_VERSION
    time_step_s: float | None = None

    def __post_init__(self) -> None:
        check_positive(delay_spread_s=self.delay_spread_s, carrier_hz=self.carrier_hz)
        check_model(self)

    def __call__(
        self, num_devices: int, num_rx_antennas: int, times: Tensor, *, round: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return a: complex [K, N_r, P, T] and tau: [K, P]; see `Paths`."""

        def draw(num_steps: int, frequency: float) -> tuple[Tensor, Tensor]:
            at_once = max(1, _LINK_STEPS // (num_rx_antennas * num_steps))  # the devices are independent
            sizes = [min(at_once, num_devices - start) for start in range(0, num_devices, at_once)]
            raw = ((n, *model(n, num_steps, frequency)) for n in sizes)
            drawn = [links_of(a, tau, "batch", n, num_rx_antennas) for n, a, tau in raw]
            return torch.cat([a for a, _ in drawn]), torch.cat([tau for _, tau in drawn])

        with sionna_draws_from(generator) as device:
            model = self.build(num_devices, num_rx_antennas, device=device)
            return draw_at(draw, times, self.time_step_s)

    def build(self, num_devices: int, num_rx_antennas: int, *, device: str) -> Any:
        """Build Sionna's object on `device`; its batch is the devices."""
        return load_sionna().channel.tr38901.TDL(
            self.profile,
            self.delay_spread_s if self.profile in _SCALED else None,
            self.carrier_hz,
            min_speed=self.min_speed_m_s,
            max_speed=self.max_speed_m_s,
            num_rx_ant=num_rx_antennas,
            precision=self.precision,
            device=device,
            spec_version=self.spec_version,
        )


@dataclass(frozen=True, kw_only=True)
@checked
class SionnaCdl:
    """Clustered delay line of 3GPP TR 38.901 section 7.7.1: fixed angles, so antennas are correlated.

    A CDL profile is one link, and all devices would arrive from the same angles. Here each device sees the array of the
    base station under a bearing of its own, uniform over the sector and drawn once in a run. All antennas are vertical and
    omnidirectional, the base station has N_r of them half a wavelength apart, so sum_p E|a_p|^2 = 1 for each device.

    Args:
        profile: "A", "B", "C" (no line of sight), "D", "E" (line of sight).
        delay_spread_s: rms delay spread in seconds to which the profile is scaled.
        carrier_hz: carrier frequency.
        min_speed_m_s: each device's speed is uniform between the two, its direction random, drawn in each round.
        max_speed_m_s: min_speed_m_s if None.
        sector_deg: width of the sector in degrees, 0 to 360; 0 puts all devices at the same angles.
        precision: "single" for complex64, "double" for complex128.
        spec_version: release of the tables, "19.2" or "16.1".
        time_step_s: see `sionna_conventions.draw_at`.
    """

    profile: Literal["A", "B", "C", "D", "E"] = "C"
    delay_spread_s: float = 100e-9
    carrier_hz: float = 3.5e9
    min_speed_m_s: float = 1.0
    max_speed_m_s: float | None = None
    sector_deg: float = 120.0
    precision: Literal["single", "double"] = "single"
    spec_version: Literal["16.1", "19.2"] = SPEC_VERSION
    time_step_s: float | None = None

    def __post_init__(self) -> None:
        check_positive(delay_spread_s=self.delay_spread_s, carrier_hz=self.carrier_hz)
        check_model(self)
        if not 0 <= self.sector_deg <= 360:
            raise ValueError(f"sector_deg must be between 0 and 360, got {self.sector_deg}")

    def advance(
        self,
        num_devices: int,
        num_rx_antennas: int,
        times: Tensor,
        *,
        round: int,
        generator: torch.Generator,
        state: dict[str, Tensor] | None,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return a: complex [K, N_r, P, T], tau: [K, P] and the bearings; see `PathsProcess`."""
        if state is None:
            uniform = torch.rand(num_devices, dtype=torch.float64, device=generator.device, generator=generator)
            state = {"bearing": (uniform - 0.5) * math.radians(self.sector_deg)}

        def build(num_devices: int, num_rx_antennas: int, *, device: str) -> Any:
            return self.build(num_rx_antennas, state["bearing"], device=device)

        a, tau = SionnaPaths(model=build, time_step_s=self.time_step_s)(
            num_devices, num_rx_antennas, times, round=round, generator=generator
        )
        return a, tau, state

    def build(self, num_rx_antennas: int, bearing: Tensor, *, device: str) -> Any:
        """Build Sionna's object on `device`; its batch is the devices.

        Args:
            num_rx_antennas: N_r.
            bearing: real [K], radians from the broadside of the base station's array.
            device: Sionna's name of the device.
        """
        places = {"precision": self.precision, "device": device}
        antenna = vertical_array(1, self.carrier_hz, "omni", **places)
        orientation = torch.nn.functional.pad(bearing.unsqueeze(-1), (0, 2))  # the array turns by the bearing
        return load_sionna().channel.tr38901.CDL(
            self.profile,
            self.delay_spread_s,
            self.carrier_hz,
            antenna,
            vertical_array(num_rx_antennas, self.carrier_hz, "omni", **places),
            "uplink",
            bs_orientation=-orientation,
            min_speed=self.min_speed_m_s,
            max_speed=self.min_speed_m_s if self.max_speed_m_s is None else self.max_speed_m_s,
            spec_version=self.spec_version,
            **places,
        )
