"""A cell of 3GPP TR 38.901: devices dropped around a base station, with path loss, shadowing and spatial small-scale fading.

Where the devices are, how they move, who has a line of sight and the large-scale parameters are drawn once and kept in
the run's state; clusters, angles and phases are redrawn in each round (block fading), Doppler acts within a round.
The link gain of a device is its path gain times its shadowing, linear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

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
from laser_wireless.channels.propagation.sionna_runtime import SPEC_VERSION, load_sionna, sionna_draws_from

_LARGE_SCALE = ("ds", "asd", "asa", "sf", "k_factor", "zsa", "zsd", "pathloss")  # of Sionna's LSP, in this order


class Layout(NamedTuple):
    """Defaults of a scenario, lengths in metres: TR 38.901 tables 7.2-1 to 7.2-4, radius = inter-site distance / sqrt(3)."""

    sionna_class: str
    min_distance: float
    radius: float
    bs_height: float
    device_height: float
    indoor_probability: float


LAYOUTS = {
    "umi": Layout("UMi", 10.0, 115.0, 10.0, 1.5, 0.8),
    "uma": Layout("UMa", 35.0, 289.0, 25.0, 1.5, 0.8),
    "rma": Layout("RMa", 35.0, 1000.0, 35.0, 1.5, 0.5),
    "inh": Layout("InH", 1.0, 25.0, 3.0, 1.0, 1.0),
    "inf": Layout("InF", 1.0, 60.0, 8.0, 1.5, 1.0),
}


@dataclass(frozen=True, kw_only=True)
@checked
class SionnaCell:
    """One cell with a base station of N_r antennas and K single-antenna devices.

    Args:
        scenario: "umi" street canyon, "uma", "rma" macro cells, "inh" open office, "inf" factory (sparse clutter, high
            base station).
        carrier_hz: carrier frequency, 0.5 to 100 GHz.
        normalise: what the amplitudes a mean.
            "device": E|h_k|^2 = 1 for each device, as if slow power control had removed the link gains, which stay
            available by `link_gain`. "mean": the link gains are in a, divided by their mean over the devices, so that near
            devices are louder than far ones and the SNR of the budget is the mean received SNR. "none": absolute link
            gains, for an energy budget in joules against a noise variance in joules.
        pathloss: path loss and penetration loss are part of the link gain.
        shadowing: shadow fading is part of the link gain.
        o2i: penetration loss into buildings, "low" or "high"; umi and uma only.
        line_of_sight: "random" by distance as in the specification, or "always" or "never" for outdoor links.
        indoor_probability: share of devices in buildings (in rma the others sit in cars); None for the scenario's.
        min_speed_m_s: each device's speed is uniform between the two, its horizontal direction random.
        max_speed_m_s: min_speed_m_s if None.
        min_distance_m: horizontal distance of the closest device; None for the scenario's.
        radius_m: horizontal distance of the farthest; devices are uniform over the area. None for the scenario's.
        sector_deg: width of the sector in front of the array, more than 0, at most 360 degrees.
        bs_height_m: None for the scenario's.
        device_height_m: None for the scenario's.
        bs_pattern: "omni" or "38.901"; the latter adds its directivity to a, on top of `normalise`.
        precision: "single" for complex64, "double" for complex128.
        spec_version: release of the tables, "19.2" or "16.1".
        time_step_s: see `sionna_conventions.draw_at`.
        topology_seed: None to draw a topology for each run; else runs share the one of this seed, whose link gains are
            known beforehand: `cell.link_gain(cell.place(num_devices, generator=generator))`.

    All antennas are vertical, those of the base station half a wavelength apart in a row that faces the sector.
    """

    scenario: Literal["umi", "uma", "rma", "inh", "inf"] = "umi"
    carrier_hz: float = 3.5e9
    normalise: Literal["device", "mean", "none"] = "device"
    pathloss: bool = True
    shadowing: bool = True
    o2i: Literal["low", "high"] = "low"
    line_of_sight: Literal["random", "always", "never"] = "random"
    indoor_probability: float | None = None
    min_speed_m_s: float = 1.0
    max_speed_m_s: float | None = None
    min_distance_m: float | None = None
    radius_m: float | None = None
    sector_deg: float = 120.0
    bs_height_m: float | None = None
    device_height_m: float | None = None
    bs_pattern: Literal["omni", "38.901"] = "omni"
    precision: Literal["single", "double"] = "single"
    spec_version: Literal["16.1", "19.2"] = SPEC_VERSION
    time_step_s: float | None = None
    topology_seed: int | None = None

    def __post_init__(self) -> None:
        check_model(self)
        if not 0.5e9 <= self.carrier_hz <= 100e9:
            raise ValueError(f"carrier_hz must be between 0.5e9 and 100e9, got {self.carrier_hz}")
        layout = self.layout()
        if not 0 <= layout.min_distance < layout.radius < math.inf:
            raise ValueError(
                f"distances must satisfy 0 <= min_distance_m < radius_m, got {layout.min_distance} and {layout.radius}"
            )
        check_positive(bs_height_m=layout.bs_height, device_height_m=layout.device_height)
        if not 0 < self.sector_deg <= 360:
            raise ValueError(f"sector_deg must be > 0 and <= 360, got {self.sector_deg}")
        if self.topology_seed is not None and not self.topology_seed >= 0:
            raise ValueError(f"topology_seed must be an integer >= 0, got {self.topology_seed}")
        if not 0 <= layout.indoor_probability <= 1:
            raise ValueError(f"indoor_probability must be between 0 and 1, got {self.indoor_probability}")
        if self.scenario in ("inh", "inf") and layout.indoor_probability != 1:
            raise ValueError(f"indoor_probability must be 1 in {self.scenario}, got {self.indoor_probability}; leave it out")
        if self.o2i != "low" and self.scenario not in ("umi", "uma"):
            raise ValueError(f'o2i="{self.o2i}" is of umi and uma only, got scenario {self.scenario!r}; leave it out')

    def layout(self) -> Layout:
        """The scenario's numbers, with those that were given in their place."""
        defaults = LAYOUTS[self.scenario]
        given = (self.min_distance_m, self.radius_m, self.bs_height_m, self.device_height_m, self.indoor_probability)
        chosen = (default if value is None else value for value, default in zip(given, defaults[1:], strict=True))
        return Layout(defaults.sionna_class, *chosen)

    def place(self, num_devices: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Drop devices and draw what stays as it is during a run.

        Args:
            num_devices: K.
            generator: of the draws; with topology_seed it only says where the tensors are to be.

        Returns:
            state: for `advance`, each tensor with a first axis of K. positions [K, 3] in metres, the base station above
            the origin, its array facing +x; velocities [K, 3] in m/s; orientations [K, 3] in radians; indoor and
            line_of_sight (of the link outdoors) bool [K]; large_scale [K, 8]: delay spread (s), azimuth spreads of
            departure and arrival (degrees), shadowing (linear), K-factor (linear), zenith spreads of arrival and departure
            (degrees), path loss (dB).
        """
        if self.topology_seed is not None:
            generator = torch.Generator(generator.device).manual_seed(self.topology_seed)
        with sionna_draws_from(generator) as device:
            state = self._drop(num_devices, generator=load_sionna().config.torch_rng(device))
            channel = self._build(1, device, with_loss=True)
            wish: dict[str, bool | str] = {"random": "random", "always": True, "never": False}
            self._set_topology(channel, state, wish[self.line_of_sight])
            large_scale = torch.stack([getattr(channel._lsp, name)[0, 0] for name in _LARGE_SCALE], dim=-1)
            return {**state, "line_of_sight": channel._scenario.outdoor_los[0, 0].clone(), "large_scale": large_scale}

    def link_gain(self, state: dict[str, Tensor]) -> Tensor:
        """Large-scale power gain of each device's link, absolute and linear: real [K], from the state of `advance`.

        Path loss and shadowing count as far as `pathloss` and `shadowing` say. It does not depend on `normalise`.
        """
        shadowing, loss_db = (state["large_scale"][:, _LARGE_SCALE.index(name)] for name in ("sf", "pathloss"))
        gain = torch.ones_like(loss_db)
        if self.pathloss:
            gain = gain * 10 ** (-loss_db / 10)
        return gain * shadowing if self.shadowing else gain

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
        """Return a: complex [K, N_r, P, T], tau: [K, P] and the topology; see `PathsProcess`.

        Raises:
            ValueError: the state is one of another number of devices, or the times are not uniform.
        """
        if state is None:
            state = self.place(num_devices, generator=generator)
        found = state["positions"].shape[0]
        if found != num_devices:
            raise ValueError(f"state must hold {num_devices} devices, got {found}; a run keeps its number of devices")
        channel = self._channel(state, num_rx_antennas, generator.device)

        def draw(num_steps: int, frequency: float) -> tuple[Tensor, Tensor]:
            a, tau = channel(num_steps, frequency)
            return links_of(a, tau, "transmitters", num_devices, num_rx_antennas)

        with sionna_draws_from(generator):
            a, tau = draw_at(draw, times, self.time_step_s)
        return a * self._amplitude(state).to(a.dtype)[:, None, None, None], tau, state

    def _amplitude(self, state: dict[str, Tensor]) -> Tensor:
        gain = self.link_gain(state)
        if self.normalise == "device":
            return torch.ones_like(gain)
        return (gain / gain.mean() if self.normalise == "mean" else gain).sqrt()

    def _drop(self, num_devices: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Positions uniform over the area of the sector, bearings and directions uniform, all antennas upright."""
        layout = self.layout()
        dtype = torch.float32 if self.precision == "single" else torch.float64
        area, angle, speed, course, bearing, indoor = torch.rand(
            6, num_devices, dtype=dtype, device=generator.device, generator=generator
        )
        distance = (layout.min_distance**2 + area * (layout.radius**2 - layout.min_distance**2)).sqrt()
        angle = (angle - 0.5) * math.radians(self.sector_deg)
        max_speed = self.min_speed_m_s if self.max_speed_m_s is None else self.max_speed_m_s
        speed = self.min_speed_m_s + speed * (max_speed - self.min_speed_m_s)
        course, bearing = 2 * math.pi * course, 2 * math.pi * bearing
        zero = torch.zeros_like(angle)
        height = torch.full_like(angle, layout.device_height)
        return {
            "positions": torch.stack([distance * angle.cos(), distance * angle.sin(), height], dim=-1),
            "velocities": torch.stack([speed * course.cos(), speed * course.sin(), zero], dim=-1),
            "orientations": torch.stack([bearing, zero, zero], dim=-1),
            "indoor": indoor < layout.indoor_probability,
        }

    def _channel(self, state: dict[str, Tensor], num_rx_antennas: int, device: torch.device) -> Any:
        """Build Sionna's object for a topology that is already drawn; its amplitudes have unit link gain."""
        with sionna_draws_from(torch.Generator(device)) as name:  # of the draws of set_topology nothing is kept
            channel = self._build(num_rx_antennas, name, with_loss=False)
            self._set_topology(channel, state, state["line_of_sight"][None, None])
            parameters = state["large_scale"][None, None].unbind(-1)
            channel._lsp = type(channel._lsp)(**dict(zip(_LARGE_SCALE, parameters, strict=True)))
            return channel

    def _build(self, num_rx_antennas: int, device: str, *, with_loss: bool) -> Any:
        places = {"precision": self.precision, "device": device}
        options: dict[str, Any] = {"o2i_model": self.o2i} if self.scenario in ("umi", "uma") else {}
        return getattr(load_sionna().channel.tr38901, LAYOUTS[self.scenario].sionna_class)(
            carrier_frequency=self.carrier_hz,
            ut_array=vertical_array(1, self.carrier_hz, "omni", **places),
            bs_array=vertical_array(num_rx_antennas, self.carrier_hz, self.bs_pattern, **places),
            direction="uplink",
            enable_pathloss=with_loss,
            enable_shadow_fading=with_loss,
            spec_version=self.spec_version,
            **options,
            **places,
        )

    def _set_topology(self, channel: Any, state: dict[str, Tensor], line_of_sight: bool | str | Tensor) -> None:
        positions = state["positions"][None]
        base_station = torch.zeros_like(positions[:, :1])
        channel.set_topology(
            ut_loc=positions,
            bs_loc=base_station + base_station.new_tensor([0.0, 0.0, self.layout().bs_height]),
            ut_orientations=state["orientations"][None],
            bs_orientations=base_station,
            ut_velocities=state["velocities"][None],
            in_state=state["indoor"][None],
            los=line_of_sight,
        )
