"""Between Sionna's conventions and ours: time steps, axes, fillers, arrays of antennas.

Sionna takes uniform time steps from 0, gives amplitudes [batch, num_rx, num_rx_ant, num_tx, num_tx_ant, P, T] and fills
slots that hold no path with delays of seconds. Times are read on the host, once per round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from laser_wireless.channels.propagation.sionna_runtime import load_sionna

_CHUNK = 1024  # times interpolated in one go
Draw = Callable[[int, float], tuple[Tensor, Tensor]]  # (number of steps, steps per second) -> (a [..., T], tau)


def draw_at(draw: Draw, times: Tensor, time_step_s: float | None) -> tuple[Tensor, Tensor]:
    """Draw paths at given times from a model that knows uniform time steps only.

    Args:
        draw: the model.
        times: float64 [T], seconds; uniform and increasing unless time_step_s is given.
        time_step_s: None to draw at `times`. Else the model is called at this spacing, whatever the times are, and
            amplitudes between are interpolated linearly, which saves memory and time where slots are many and devices
            slow. With Clarke's spectrum of maximum Doppler frequency f the mean squared error is
            (2 pi f time_step_s)^4 / 320 of the power, while that is small.

    Raises:
        ValueError: times that are not uniform.
    """
    if time_step_s is not None:
        position = (times - times.min()) / time_step_s
        before = position.floor().long()
        a, tau = draw(int(before.max()) + 2, 1 / time_step_s)
        between = a.new_empty(*a.shape[:-1], len(times))
        for start in range(0, len(times), _CHUNK):  # few copies of what is long
            chunk = slice(start, start + _CHUNK)
            at, share = before[chunk], (position - before)[chunk].to(a.dtype)
            between[..., chunk] = a[..., at].lerp(a[..., at + 1], share)
        return between, tau
    if len(times) == 1:
        return draw(1, 1.0)
    instants = times.detach().cpu()
    step = float(instants[-1] - instants[0]) / (len(instants) - 1)
    if not (step > 0 and bool(((instants.diff() - step).abs() <= 1e-6 * step).all())):
        raise ValueError(
            f"times must be uniform and increasing for Sionna's models, got {instants[:4].tolist()} ... "
            f"of mean step {step}; use equally spaced slots, or set time_step_s to interpolate"
        )
    return draw(len(instants), 1 / step)


def silence_padding(a: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """Set the delay of slots without a path to 0; Sionna fills them with seconds, or with -1.

    Args:
        a: complex [K, N_r, P, T].
        tau: real [K, P] or [K, N_r, P].
    """
    present = (a != 0).any(-1)
    present = present if tau.ndim == 3 else present.any(1)
    return a, torch.where(present, tau, 0)


def links_of(a: Tensor, tau: Tensor, devices: str, num_devices: int, num_rx_antennas: int) -> tuple[Tensor, Tensor]:
    """Bring Sionna's tensors into the project's order.

    Args:
        a: complex [batch, num_rx, num_rx_ant, num_tx, num_tx_ant, P, T].
        tau: real [batch, num_rx, num_tx, P], or with the axes of antennas.
        devices: "batch" or "transmitters", the axis that holds the devices.
        num_devices: K.
        num_rx_antennas: N_r, over all receivers of the model.

    Returns:
        a: complex [K, N_r, P, T].
        tau: real [K, P], or [K, N_r, P] where receivers or antennas have delays of their own.

    Raises:
        ValueError: the model has other numbers of devices or antennas.
    """
    batch, num_rx, num_rx_ant, num_tx, num_tx_ant = a.shape[:5]
    on_batch = devices == "batch"
    found = (batch if on_batch else num_tx, num_rx * num_rx_ant, (num_tx if on_batch else batch) * num_tx_ant)
    if found != (num_devices, num_rx_antennas, 1):
        raise ValueError(
            f"the Sionna model must have {num_devices} single-antenna devices as "
            f"{'its batch' if on_batch else 'transmitters'} and {num_rx_antennas} receive antennas, got a of shape "
            f"[batch, num_rx, num_rx_ant, num_tx, num_tx_ant, P, T] = {list(a.shape)}; "
            'choose devices="batch" or "transmitters", or build the model by a function of both numbers'
        )
    if tau.ndim == 4:
        tau = tau[:, :, None, :, None].expand(-1, -1, num_rx_ant if num_rx > 1 else 1, -1, -1, -1)
    order = (0, 3, 1, 2, 4) if on_batch else (3, 0, 1, 2, 4)  # devices, an axis of 1, receivers, antennas, an axis of 1
    a = a.permute(*order, 5, 6).flatten(0, 1).flatten(1, 3)
    tau = tau.permute(*order, 5).flatten(0, 1).flatten(1, 3)
    return silence_padding(a, tau[:, 0] if tau.shape[1] == 1 else tau)


def check_positive(**values: float) -> None:
    """Refuse parameters that are not finite and positive."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and > 0, got {value}")


def check_model(parameters: object) -> None:
    """Refuse what the models of TR 38.901 share: time_step_s, speeds."""
    time_step_s, slowest, fastest = (getattr(parameters, name) for name in ("time_step_s", "min_speed_m_s", "max_speed_m_s"))
    if time_step_s is not None:
        check_positive(time_step_s=time_step_s)
    check_speeds(slowest, fastest)


def check_speeds(min_speed: float, max_speed: float | None) -> None:
    """Refuse a range of speeds in m/s that is none."""
    largest = min_speed if max_speed is None else max_speed
    if not 0 <= min_speed <= largest < math.inf:
        raise ValueError(f"speeds must satisfy 0 <= min_speed_m_s <= max_speed_m_s, got {min_speed} and {max_speed}")


def vertical_array(num_antennas: int, carrier_hz: float, pattern: str, **places: str) -> Any:
    """A row of vertical antennas half a wavelength apart, pattern "omni" or "38.901"."""
    panel = load_sionna().channel.tr38901.PanelArray
    return panel(1, num_antennas, "single", "V", pattern, carrier_hz, **places)
