"""The program that traces rays, run in a process of its own: request.json -> paths.npz.

It needs sionna.rt and nothing of this package. On a CPU Dr.Jit compiles through LLVM, and LLVM 15 or 16 would end the
process by an abort, so the version is checked before anything is traced. Rays start at the base station, once for all
devices; channels are reciprocal, so the same paths serve the uplink.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

REFUSED = 3  # exit code with the reason as the last line of stderr
_REMEDY = "apt-get install libllvm19, or let the environment variable DRJIT_LIBLLVM_PATH name a libLLVM.so of 17 or newer"


def load_tracer() -> Any:
    """Import sionna.rt where it can work.

    Raises:
        ImportError: it is missing, or finds neither a GPU nor LLVM 17 or newer.
    """
    try:
        import drjit
    except ImportError as error:
        raise ImportError("ray tracing needs Sionna RT: pip install 'laser-wireless[rt]'") from error
    if not drjit.has_backend(drjit.JitBackend.CUDA):
        version = tuple(drjit.detail.llvm_version())
        if version < (17,):
            found = ".".join(map(str, version)) if version > (0,) else "none"
            raise ImportError(f"ray tracing on a CPU needs LLVM >= 17, found {found}: {_REMEDY}")
    try:
        import sionna.rt
    except ImportError as error:
        raise ImportError(f"Sionna RT did not load ({error}): pip install 'laser-wireless[rt]'; {_REMEDY}") from error
    return sionna.rt


def trace(request: dict[str, Any]) -> dict[str, Any]:
    """Trace a scene.

    Args:
        request: the fields of `ray_tracing.Scene`, and num_devices and num_rx_antennas.

    Returns:
        NumPy arrays: a complex64 [K, N_r, P], tau float64 [K, P] in seconds from transmission, direction float32 [K, P, 3]
        (unit vectors from the device towards the arriving rays), positions float64 [K, 3].
    """
    rt = load_tracer()
    scene = _load_scene(rt, request["name"])
    scene.frequency = request["carrier_hz"]
    scene.tx_array = _row(rt, request["num_rx_antennas"], request["bs_pattern"])
    scene.rx_array = _row(rt, 1, "iso")
    yaw = math.radians(request["bs_yaw_deg"])
    scene.add(rt.Transmitter("base station", position=request["base_station"], orientation=[yaw, 0.0, 0.0]))
    wanted, positions = request["num_devices"], request["positions"]
    sampled = positions is None
    if positions is None:
        positions = _covered_positions(rt, scene, request, 2 * wanted)  # twice, as the map's cells are averages
    for k, position in enumerate(positions):
        scene.add(rt.Receiver(f"device {k}", position=position))
    found = _solve(rt, scene, request)
    heard: Any = (abs(found["a"]) > 0).any((1, 2))
    if sampled:
        keep = heard.nonzero()[0][:wanted]
        if len(keep) < wanted:
            raise ValueError(f"only {len(keep)} of {wanted} sampled positions have a path; lower min_gain_db or change seed")
    elif not heard.all():
        silent = (~heard).nonzero()[0].tolist()
        raise ValueError(f"devices {silent} have no path to the base station; move them or raise max_depth")
    else:
        keep = slice(None)
    return {name: values[keep] for name, values in {**found, "positions": _array(positions)}.items()}


def _solve(rt: Any, scene: Any, request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    paths = rt.PathSolver()(
        scene, max_depth=request["max_depth"], refraction=False, samples_per_src=request["num_rays"], seed=request["seed"]
    )
    a, tau = paths.cir(normalize_delays=False, reverse_direction=True, out_type="numpy")
    a = np.ascontiguousarray(a[0, :, :, 0, :, 0].transpose(1, 0, 2))  # [1, N_r, K, 1, P, 1] -> [K, N_r, P]
    zenith, azimuth = (np.array(angle)[:, 0].astype(np.float64) for angle in (paths.theta_r, paths.phi_r))
    cosines = (np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith))
    present: Any = (abs(a) > 0).any(1)  # other slots are fillers with tau = -1
    direction = np.where(present[..., None], np.stack(cosines, axis=-1), 0).astype(np.float32)
    tau = np.where(present, tau[0].astype(np.float64), 0)
    order = np.lexsort((abs(a).sum(1), tau, ~present))  # the solver's own order varies from run to run
    return {
        "a": np.take_along_axis(a, order[:, None], axis=2),
        "tau": np.take_along_axis(tau, order, axis=1),
        "direction": np.take_along_axis(direction, order[..., None], axis=1),
    }


def _load_scene(rt: Any, name: str) -> Any:
    """Load a built-in scene by its name, "empty" space, or a Mitsuba file."""
    if name == "empty":
        return rt.load_scene()
    if name.endswith(".xml"):
        return rt.load_scene(name)
    built_in = sorted(scene for scene, value in vars(rt.scene).items() if str(value).endswith(".xml"))
    if name not in built_in:
        raise ValueError(f'name must be "empty", the path of a Mitsuba .xml file or one of {built_in}, got {name!r}')
    return rt.load_scene(getattr(rt.scene, name))


def _row(rt: Any, num_antennas: int, pattern: str) -> Any:
    """Vertical antennas half a wavelength apart; with yaw 0 the row lies along y."""
    return rt.PlanarArray(num_rows=1, num_cols=num_antennas, pattern=pattern, polarization="V")


def _covered_positions(rt: Any, scene: Any, request: dict[str, Any], count: int) -> list[list[float]]:
    """Sample positions where a map of the path gain says that the base station is heard."""
    import numpy as np

    radio_map = rt.RadioMapSolver()(
        scene, max_depth=request["max_depth"], refraction=False, cell_size=(2, 2), samples_per_tx=request["num_rays"]
    )
    sampled = radio_map.sample_positions(
        num_pos=count,
        metric="path_gain",
        min_val_db=request["min_gain_db"],
        min_dist=request["min_distance_m"],
        max_dist=request["max_distance_m"],
        seed=request["seed"],
    )
    positions = np.array(sampled[0], dtype=np.float64).reshape(-1, 3)
    positions[:, 2] = request["device_height_m"]
    if not np.isfinite(positions).all():
        raise ValueError("no position hears the base station by min_gain_db within max_distance_m; loosen them")
    return positions.tolist()


def _array(positions: list[list[float]]) -> Any:
    import numpy as np

    return np.array(positions, dtype=np.float64)


def main(request_file: str, result_file: str) -> int:
    """Trace the request of one file into the other; return the exit code."""
    with open(request_file, encoding="utf-8") as file:
        request = json.load(file)
    try:
        result = trace(request)
    except (ImportError, ValueError, OSError) as error:
        kind = next(kind for kind in (ImportError, ValueError, OSError) if isinstance(error, kind))
        print(json.dumps([kind.__name__, str(error)]), file=sys.stderr)
        return REFUSED
    import numpy as np

    with open(result_file, "wb") as out:
        np.savez(out, request=json.dumps(request, sort_keys=True), **result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
