"""Ray-traced paths: a base station and devices at fixed places of a scene, traced once, kept in a small file.

Tracing needs the extra `rt` and runs in a process of its own (`ray_tracer`), so that no fault of a compiler can end the
run that asks for it; whoever has the file needs torch alone. Path p of device k has the amplitude a_p at each antenna, the
delay tau_p and the Doppler shift f_c/c v . u_p, with v the device's velocity and u_p the direction the ray comes from.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

import laser_wireless.channels.child_process as child_process
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.propagation import ray_tracer
from laser_wireless.channels.propagation.sionna_conventions import check_positive

_SPEED_OF_LIGHT = 299_792_458.0
_BASE_STATIONS = {"munich": [8.5, 21.0, 27.0], "simple_street_canyon": [-33.0, 0.0, 32.0], "etoile": [0.0, 0.0, 30.0]}


@dataclass(frozen=True, kw_only=True)
@checked
class Scene:
    """What is traced.

    Args:
        name: a built-in scene of Sionna RT such as "simple_street_canyon" or "munich", the path of a Mitsuba .xml file, or
            "empty" for free space.
        carrier_hz: carrier frequency.
        base_station: x, y, z in metres; None for a place known to be good, in munich, simple_street_canyon and etoile.
        positions: x, y, z of each device in metres; None to sample them where the base station is heard.
        bs_pattern: of the base station's vertical antennas, half a wavelength apart: "iso", "dipole" or "tr38901".
        bs_yaw_deg: where the row of antennas faces; 0 is along x.
        max_depth: largest number of reflections; diffraction and transmission through walls are left out.
        num_rays: launched by the base station.
        min_gain_db: of sampled positions, smallest path gain.
        min_distance_m: of sampled positions from the base station.
        max_distance_m: of sampled positions from the base station.
        device_height_m: of sampled positions.
        seed: of sampled positions and rays.
    """

    name: str = "simple_street_canyon"
    carrier_hz: float = 3.5e9
    base_station: list[float] | None = None
    positions: list[list[float]] | None = None
    bs_pattern: Literal["iso", "dipole", "tr38901"] = "iso"
    bs_yaw_deg: float = 0.0
    max_depth: int = 3
    num_rays: int = 100_000
    min_gain_db: float = -110.0
    min_distance_m: float = 10.0
    max_distance_m: float = 200.0
    device_height_m: float = 1.5
    seed: int = 1

    def __post_init__(self) -> None:
        check_positive(carrier_hz=self.carrier_hz)
        if self.base_station is None and self.name not in _BASE_STATIONS:
            raise ValueError(f"base_station must be given for scene {self.name!r}: [x, y, z] in metres")
        for name, places in (("base_station", [self.base_station or [0, 0, 0]]), ("positions", self.positions or [])):
            if not all(len(place) == 3 and all(math.isfinite(x) for x in place) for place in places):
                raise ValueError(f"{name} must be finite x, y, z in metres, got {getattr(self, name)}")
        for name in ("bs_yaw_deg", "device_height_m"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        if not self.min_gain_db < math.inf:
            raise ValueError(f"min_gain_db must be finite, or -inf for no limit, got {self.min_gain_db}")
        if self.name == "empty" and self.positions is None:
            raise ValueError("positions must be given in an empty scene, which has no ground to sample them on")
        if not self.max_depth >= 0:
            raise ValueError(f"max_depth must be >= 0, got {self.max_depth}")
        if not self.num_rays >= 1:
            raise ValueError(f"num_rays must be >= 1, got {self.num_rays}")
        if not 0 <= self.min_distance_m < self.max_distance_m:
            raise ValueError(
                "distances must satisfy 0 <= min_distance_m < max_distance_m, "
                f"got {self.min_distance_m} and {self.max_distance_m}"
            )

    def request(self, num_devices: int, num_rx_antennas: int) -> dict[str, Any]:
        """What the tracer is asked, and what a file says about itself."""
        base_station = _BASE_STATIONS[self.name] if self.base_station is None else self.base_station
        if self.positions is not None and len(self.positions) != num_devices:
            raise ValueError(f"positions must hold {num_devices} devices, got {len(self.positions)}")
        own = {**asdict(self), "base_station": base_station}
        return {**own, "num_devices": num_devices, "num_rx_antennas": num_rx_antennas}


def trace_scene(scene: Scene, *, num_devices: int, num_rx_antennas: int, file: str, timeout_s: float = 600.0) -> None:
    """Trace a scene into a file; seconds of work, tens of kilobytes.

    Args:
        scene: what to trace.
        num_devices: K.
        num_rx_antennas: N_r.
        file: the .npz file to write; it appears only when complete.
        timeout_s: seconds after which the tracer is ended.

    Raises:
        ImportError: Sionna RT is missing or cannot work on this machine; the message names what to install.
        ValueError: the scene is unknown, or a device has no path.
        RuntimeError: the tracer came to an untimely end.
    """
    request = scene.request(num_devices, num_rx_antennas)
    target = Path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as traced:  # nameless: gone if this process is killed
        asked.write(json.dumps(request).encode())
        asked.seek(0)
        numbers = (asked.fileno(), traced.fileno())
        command = child_process.command(ray_tracer.__file__, *(f"/dev/fd/{number}" for number in numbers))
        try:
            done = subprocess.run(command, pass_fds=numbers, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"tracing {scene.name} took longer than timeout_s = {timeout_s} s; use fewer num_rays"
            ) from error
        _check_end(done.returncode, done.stderr)
        traced.seek(0)
        beside = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            beside.write_bytes(traced.read())
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)


def _check_end(code: int, stderr: str) -> None:
    if code == 0:
        return
    lines = stderr.strip().splitlines() or ["no message"]
    if code == ray_tracer.REFUSED:
        kind, message = json.loads(lines[-1])
        raise {"ImportError": ImportError, "ValueError": ValueError, "OSError": OSError}[kind](message)
    hint = "; LLVM 15 and 16 abort so: apt-get install libllvm19" if code < 0 else ""
    reason = next((line for line in lines if "ERROR" in line), lines[-1])
    raise RuntimeError(f"the ray tracer ended with code {code}: {reason}{hint}")


class TracedPaths(NamedTuple):
    """Contents of a file.

    a: complex64 [K, N_r, P]. tau: float64 [K, P], seconds. direction: float32 [K, P, 3], unit vectors from the device.
    positions: float64 [K, 3], metres. request: what was asked.
    """

    a: Tensor
    tau: Tensor
    direction: Tensor
    positions: Tensor
    request: dict[str, Any]


def load_traced(file: str) -> TracedPaths:
    """Read what `trace_scene` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, or was not written by `trace_scene`.
    """
    return _load(file, Path(file).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load(file: str, modified: int) -> TracedPaths:
    try:
        with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as contents:
            arrays = [torch.from_numpy(contents[name]) for name in TracedPaths._fields[:-1]]
            request = json.loads(str(contents["request"]))
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
        raise ValueError(f"{file} is not a complete file of traced paths ({error}); delete it and trace again") from error
    traced = TracedPaths(arrays[0], arrays[1], arrays[2], arrays[3], request)
    k, n, p = traced.a.shape if traced.a.ndim == 3 else (0, 0, 0)
    if (traced.tau.shape, traced.direction.shape, traced.positions.shape) != ((k, p), (k, p, 3), (k, 3)) or not n:
        shapes = [list(array.shape) for array in arrays]
        raise ValueError(f"{file} holds arrays that do not fit each other, {shapes}; delete it and trace again")
    return traced


@dataclass(frozen=True, kw_only=True)
@checked
class RayTraced:
    """Paths of a traced scene; positions and, unless phases are redrawn, everything else are the same in each round.

    Args:
        file: of traced paths; traced in the first round if it does not exist and a scene is given.
        scene: what to trace, and what an existing file must have been traced from; None to take the file as it is.
        normalise: "device": sum_p |a_p|^2 = 1 on the mean over the antennas, for each device, link gains apart in
            `link_gain`. "mean": link gains are in a, divided by their mean over the devices, so that near devices are
            louder. "none": absolute, as traced.
        phase: small-scale randomness from round to round, where a scene has none of its own. "path": each path turns by
            an independent uniform phase in each round, as if devices had moved by some wavelengths, so that E|h_k|^2 is
            the sum of the paths' powers and angles stay; "device": all paths of a device turn together, as oscillators
            do; "fixed": no turn.
        delays: "excess" counts from each device's first path, as under a timing advance; "absolute" from transmission.
        speed_m_s: of each device, in a random horizontal direction that is drawn once in a run.
    """

    file: str
    scene: Scene | None = None
    normalise: Literal["device", "mean", "none"] = "device"
    phase: Literal["path", "device", "fixed"] = "path"
    delays: Literal["excess", "absolute"] = "excess"
    speed_m_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.speed_m_s < math.inf:
            raise ValueError(f"speed_m_s must be finite and >= 0, got {self.speed_m_s}")

    def traced(self, num_devices: int, num_rx_antennas: int) -> TracedPaths:
        """Load the file, after tracing it where it is missing.

        Raises:
            FileNotFoundError: there is neither file nor scene.
            ValueError: the file is of another scene, or of other numbers of devices or antennas.
        """
        if not Path(self.file).exists():
            if self.scene is None:
                raise FileNotFoundError(f"{self.file} does not exist; give a scene to trace, or write it by trace_scene")
            trace_scene(self.scene, num_devices=num_devices, num_rx_antennas=num_rx_antennas, file=self.file)
        traced = load_traced(self.file)
        found = tuple(traced.a.shape[:2])
        if found != (num_devices, num_rx_antennas):
            raise ValueError(
                f"{self.file} was traced for {found[0]} devices and {found[1]} antennas, "
                f"not {num_devices} and {num_rx_antennas}; trace another file"
            )
        if self.scene is not None:
            wanted = self.scene.request(num_devices, num_rx_antennas)
            differing = [name for name, value in wanted.items() if traced.request.get(name) != value]
            if differing:
                raise ValueError(
                    f"{self.file} was traced from another scene ({', '.join(differing)}); name another file or delete it"
                )
        return traced

    def link_gain(self, num_devices: int, num_rx_antennas: int) -> Tensor:
        """Power gain of each device's link, absolute and linear, mean over the antennas: float32 [K]."""
        return _link_gain(self.traced(num_devices, num_rx_antennas).a)

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
        """Return a: complex64 [K, N_r, P, T], tau: float64 [K, P] and the velocities [K, 3]; see `PathsProcess`."""
        traced = self.traced(num_devices, num_rx_antennas)
        device = generator.device
        if state is None:
            course = torch.rand(num_devices, device=device, generator=generator) * (2 * math.pi)
            level = torch.stack([course.cos(), course.sin(), torch.zeros_like(course)], dim=-1)
            state = {"velocities": self.speed_m_s * level}
        a, tau = traced.a.to(device), traced.tau.to(device)
        gain = _link_gain(a)
        if self.normalise != "none":
            gain = gain if self.normalise == "device" else gain.mean()
            a = a / gain.sqrt().reshape(-1, 1, 1)
        if self.delays == "excess":
            present = (a != 0).any(1)
            first = torch.where(present, tau, torch.inf).amin(-1, keepdim=True)
            tau = torch.where(present, tau - first, 0)
        doppler = (traced.direction.to(device) @ state["velocities"].unsqueeze(-1)).squeeze(-1).double()
        turns = (doppler * (traced.request["carrier_hz"] / _SPEED_OF_LIGHT)).unsqueeze(-1) * times  # [K, P, T]
        if self.phase != "fixed":
            shape = (num_devices, a.shape[-1] if self.phase == "path" else 1, 1)
            turns = turns + torch.rand(shape, device=device, generator=generator)
        angle = 2 * math.pi * (turns - turns.round()).float()
        return a.unsqueeze(-1) * torch.polar(torch.ones_like(angle), angle).unsqueeze(1), tau, state


def _link_gain(a: Tensor) -> Tensor:
    """Sum over paths of |a|^2, mean over antennas: complex [K, N_r, P] -> real [K]."""
    return a.abs().square().sum(-1).mean(-1)
