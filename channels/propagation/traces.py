"""Replay of measured or simulated channels: gains h, or paths (a, tau), read once from a file and kept in host memory.

`Trace` is a `Fading`, `PathTrace` a model of paths for `Multipath`. Both are addressed by the number of the round and draw
nothing, so that a resumed run continues where it stopped. The first sample of the file is the start of round 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from laser_wireless.channels.parameters import checked
from laser_wireless.channels.propagation.multipath import hertz_per_block, seconds_per_slot
from laser_wireless.channels.propagation.trace_files import arrange, read_array, read_complex, split_axes
from laser_wireless.channels.segments import Grid

_GAIN_AXES = ("round", "time", "device", "antenna", "frequency")
_PATH_AXES = ("round", "device", "antenna", "path")
_SLACK = 1e-6  # of a sample: rounding of times must not run past the last one


@dataclass(frozen=True, kw_only=True)
@checked
class Trace:
    """Gains replayed from a file.

    A "round" axis holds one entry for each round. A "time" axis holds samples within the round or, without a "round" axis,
    through the whole run: with sample_rate_hz they are interpolated at the start of each slot, without it they are the
    slots themselves, one after the other. A "frequency" axis holds samples centred on the carrier: with frequency_step_hz
    they are interpolated at the centre of each block, without it they are the blocks. Along an axis that is not named the
    gains are constant, but all devices and antennas must be in the file. Interpolation loses power where the samples
    lie too far apart for Doppler or delay spread.

    Args:
        file: .npy, .npz, .csv, .mat (axes in MATLAB's order) or HDF5 (.h5, .hdf5, .hdf); see `trace_files`.
        axes: of the array, in order: "round", "time", "device", "antenna", "frequency", "real_imag" (length 2) and "_"
            (length 1, left out), in one string or as a list.
        key: name of the array, or two names, of its real and its imaginary part; None for the only array of the file.
        sample_rate_hz: samples per second of the time axis.
        round_interval_s: from the start of a round to the start of the next, for sampled time without a "round" axis.
        frequency_step_hz: hertz between samples of the frequency axis.
        at_end: past the last round or sample: "error", "repeat" from the first, or "reflect", back and forth.
        interpolation: "linear" in the complex gains, or "nearest" sample.
        normalize: scales to mean |h|^2 = 1 over the "file" (one factor) or for each "device" (their differences in path loss
            are lost); "none" leaves the gains alone, and the budget's SNR is no longer the mean received one.
        devices: which of the file's devices are used, in this order, counted from 0 (of a longer list, the first); None for
            all, and then the uplink must have as many.
        shuffle_seed: puts these devices into a random order, the same in all rounds, of which the uplink's are the first;
            None leaves it.

    Raises:
        ValueError: the file, its axes or its values do not fit; it is read at construction.
    """

    file: str
    axes: str | list[str]
    key: str | list[str] | None = None
    sample_rate_hz: float | None = None
    round_interval_s: float | None = None
    frequency_step_hz: float | None = None
    at_end: Literal["error", "repeat", "reflect"] = "error"
    interpolation: Literal["linear", "nearest"] = "linear"
    normalize: Literal["file", "device", "none"] = "file"
    devices: list[int] | None = None
    shuffle_seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("sample_rate_hz", "round_interval_s", "frequency_step_hz"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be finite and > 0, got {value}")
        self._check_axes()
        _check_devices(self.file, self.devices, self._gains.shape[2])  # the first use of the gains reads the file

    def _check_axes(self) -> None:
        names = self._names
        for name, axis in (("sample_rate_hz", "time"), ("frequency_step_hz", "frequency")):
            if getattr(self, name) is not None and axis not in names:
                raise ValueError(f"{name} belongs to an axis named {axis}, got axes {names}")
        if self._spans_rounds and self.round_interval_s is None:
            raise ValueError(
                "round_interval_s must be given with sample_rate_hz where no axis is named round: seconds from the start of "
                "one round to the start of the next"
            )
        if self.round_interval_s is not None and not self._spans_rounds:
            raise ValueError(
                "round_interval_s belongs to a time axis with sample_rate_hz where no axis is named round, "
                f"got axes {names} and sample_rate_hz {self.sample_rate_hz}"
            )

    @cached_property
    def _names(self) -> list[str]:
        return split_axes(self.axes, (*_GAIN_AXES, "real_imag"))

    @property
    def _spans_rounds(self) -> bool:
        return self.sample_rate_hz is not None and "round" not in self._names

    @cached_property
    def _gains(self) -> np.ndarray:
        """Complex [round, time, device, antenna, frequency], normalised."""
        array, names = read_complex(self.file, self.key, self._names)
        h = arrange(self.file, array, names, _GAIN_AXES)
        return _normalized(self.file, h, np.square(np.abs(h)), self.normalize, device_axis=2)

    def __getstate__(self) -> dict[str, Any]:
        return _without_data(self)

    def __call__(
        self, num_devices: int, num_rx_antennas: int, grid: Grid, *, round: int, generator: torch.Generator
    ) -> Tensor:
        """Return the gains of a round; see `Fading`. Nothing is drawn.

        Returns:
            h: complex [num_devices, num_rx_antennas, T or 1, F or 1], as precise as the file.

        Raises:
            ValueError: too few devices, antennas, rounds or frequencies in the file.
        """
        devices = _choose_devices(self, num_devices, self._gains.shape[2])
        antennas = _choose_antennas(self.file, num_rx_antennas, self._gains.shape[3])
        snapshot = self._gains[_entry(self, round, self._gains.shape[0]) if "round" in self._names else 0]
        earlier, later, weight = self._times(grid, round)
        lower, upper, share = self._frequencies(grid)

        def samples(times: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
            return snapshot[np.ix_(times, devices, antennas, frequencies)]  # [T, K, N_r, F]

        h = samples(earlier, lower)
        if share.any():
            h = (1 - share) * h + share * samples(earlier, upper)
        if weight.any():
            following = samples(later, lower)
            if share.any():
                following = (1 - share) * following + share * samples(later, upper)
            column = weight[:, None, None, None]
            h = (1 - column) * h + column * following
        h = np.ascontiguousarray(h.transpose(1, 2, 0, 3), dtype=self._gains.dtype)
        return torch.as_tensor(h, device=generator.device)

    def _times(self, grid: Grid, round: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples before and after each slot and the weight of the later one."""
        num_samples = self._gains.shape[1]
        if "time" not in self._names:
            return _neighbours(self, np.zeros(1), 1)
        slots = np.arange(grid.num_slots)
        if self.sample_rate_hz is None:
            position = slots + (0.0 if "round" in self._names else float(round * grid.num_slots))
        else:
            start = 0.0 if self.round_interval_s is None else round * self.round_interval_s
            position = (start + slots * seconds_per_slot(grid)) * self.sample_rate_hz
        if self.at_end == "error" and position[-1] > num_samples - 1 + _SLACK:
            raise ValueError(
                f"{self.file} ends: round {round} needs time samples up to {position[-1]:.6g}, it holds 0 to "
                f"{num_samples - 1}, enough for {self._num_rounds(grid, position[-1], round)} rounds; "
                'set at_end="repeat" or "reflect"'
            )
        return _neighbours(self, position, num_samples)

    def _num_rounds(self, grid: Grid, last: float, round: int) -> int:
        """Whole rounds that the time axis can serve, when the last slot of `round` needs sample `last`."""
        if "round" in self._names:
            return 0
        per_round = grid.num_slots if self.sample_rate_hz is None else self.sample_rate_hz * (self.round_interval_s or 0.0)
        return max(0, math.floor((self._gains.shape[1] - 1 + _SLACK - (last - round * per_round)) / per_round) + 1)

    def _frequencies(self, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples below and above each block's centre and the weight of the upper one."""
        num_samples, num_blocks = self._gains.shape[4], grid.num_frequency_blocks
        if "frequency" not in self._names:
            return _neighbours(self, np.zeros(1), 1)
        if self.frequency_step_hz is None:
            if num_samples != num_blocks:
                raise ValueError(
                    f"{self.file} holds {num_samples} frequencies, the grid has {num_blocks} blocks; give frequency_step_hz "
                    "to interpolate"
                )
            return _neighbours(self, np.arange(float(num_blocks)), num_samples)
        centred = (np.arange(num_blocks) - (num_blocks - 1) / 2) * hertz_per_block(grid)
        position = centred / self.frequency_step_hz + (num_samples - 1) / 2
        if position[0] < -0.5 - _SLACK:
            raise ValueError(
                f"{self.file} spans {num_samples * self.frequency_step_hz:.6g} Hz, the centres of the grid's blocks "
                f"{2 * centred[-1]:.6g} Hz; use a narrower grid or a wider trace"
            )
        return _neighbours(self, position.clip(0, num_samples - 1), num_samples)


@dataclass(frozen=True, kw_only=True)
@checked
class PathTrace:
    """Paths replayed from a file, one snapshot for each round, for instance from a ray tracer; a model of `Paths`.

    Within a round a path keeps its delay, and its amplitude turns with its Doppler shift: a(t) = a e^{j 2 pi nu t}. Slots
    that hold no path have a = 0 and any finite delay.

    Args:
        file: .npz, .mat (axes in MATLAB's order) or HDF5 (.h5, .hdf5, .hdf).
        a_axes: of the amplitudes: "round", "device", "antenna", "path", "real_imag" and "_"; without "round" there is one
            snapshot for the whole run.
        tau_axes: of the delays and Doppler shifts: "round", "device", "antenna", "path" and "_".
        a_key: name of the complex amplitudes, or two names, of real and imaginary part.
        tau_key: name of the delays, seconds.
        doppler_key: name of the Doppler shifts, hertz; None if nothing moves.
        at_end: past the last round: "error", "repeat" from the first, or "reflect", back and forth.
        normalize: scales to mean sum_p |a_p|^2 = 1 over the "file", for each "device", or not at all ("none").
        devices: which of the file's devices are used, in this order, counted from 0 (of a longer list, the first); None for
            all, and then the uplink must have as many.
        shuffle_seed: puts these devices into a random order, the same in all rounds, of which the uplink's are the first;
            None leaves it.

    Raises:
        ValueError: the file, its axes or its values do not fit; it is read at construction.
    """

    file: str
    a_axes: str | list[str] = "round device antenna path"
    tau_axes: str | list[str] = "round device path"
    a_key: str | list[str] = "a"
    tau_key: str = "tau"
    doppler_key: str | None = None
    at_end: Literal["error", "repeat", "reflect"] = "error"
    normalize: Literal["file", "device", "none"] = "file"
    devices: list[int] | None = None
    shuffle_seed: int | None = None

    def __post_init__(self) -> None:
        a, tau, doppler = self._paths
        for name, array in (("tau", tau), ("doppler", doppler)):
            if any(size not in (1, wanted) for size, wanted in zip(array.shape, a.shape, strict=True)):
                raise ValueError(
                    f"{self.file}: {name} must fit the amplitudes over {', '.join(_PATH_AXES)} {a.shape}, got {array.shape}"
                )
        _check_devices(self.file, self.devices, a.shape[1])

    @cached_property
    def _names(self) -> list[str]:
        return split_axes(self.a_axes, (*_PATH_AXES, "real_imag"))

    @cached_property
    def _paths(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Amplitudes, delays and Doppler shifts, each [round, device, antenna, path]."""
        array, names = read_complex(self.file, self.a_key, self._names)
        a = arrange(self.file, array, names, _PATH_AXES)
        power = np.square(np.abs(a)).sum(-1, keepdims=True)
        a = _normalized(self.file, a, power, self.normalize, device_axis=1)
        return a, self._real(self.tau_key), self._real(self.doppler_key)

    def _real(self, key: str | None) -> np.ndarray:
        if key is None:
            return np.zeros((1, 1, 1, 1))
        array = read_array(self.file, key)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{self.file}: {key} must hold real numbers, got {array.dtype}")
        names = split_axes(self.tau_axes, _PATH_AXES)
        return arrange(self.file, array.astype(np.float64), names, _PATH_AXES)

    def __getstate__(self) -> dict[str, Any]:
        return _without_data(self)

    def __call__(
        self, num_devices: int, num_rx_antennas: int, times: Tensor, *, round: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the paths of a round; see `Paths`. Nothing is drawn.

        Returns:
            a: complex [num_devices, num_rx_antennas, P, T], as precise as the file.
            tau: float64 [num_devices, P] or [num_devices, num_rx_antennas, P], seconds.

        Raises:
            ValueError: too few devices, antennas or rounds in the file.
        """
        amplitudes = self._paths[0]
        devices = _choose_devices(self, num_devices, amplitudes.shape[1])
        antennas = _choose_antennas(self.file, num_rx_antennas, amplitudes.shape[2])
        entry = _entry(self, round, amplitudes.shape[0]) if "round" in self._names else 0

        def of_round(array: np.ndarray) -> Tensor:
            snapshot = np.broadcast_to(array[entry if array.shape[0] > 1 else 0], amplitudes.shape[1:])
            return torch.as_tensor(snapshot[np.ix_(devices, antennas)], device=generator.device)

        a, tau, doppler = (of_round(array) for array in self._paths)
        if self._paths[1].shape[2] == 1:
            tau = tau[:, 0]
        a = a.unsqueeze(-1)
        if self.doppler_key is None:
            return a.expand(*a.shape[:-1], len(times)), tau
        turns = doppler.unsqueeze(-1) * times.double()
        angles = (2 * math.pi * (turns - turns.round())).to(a.real.dtype)
        return a * torch.polar(torch.ones_like(angles), angles), tau


def _without_data(trace: Trace | PathTrace) -> dict[str, Any]:
    """What is pickled: the parameters; the file is read again where it is needed."""
    return {field.name: getattr(trace, field.name) for field in fields(trace)}


def _check_devices(file: str, devices: list[int] | None, available: int) -> None:
    if devices is None:
        return
    if not devices or len(set(devices)) < len(devices) or not all(0 <= index < available for index in devices):
        raise ValueError(f"devices must be distinct numbers from 0 to {available - 1}, which {file} holds, got {devices}")


def _choose_devices(trace: Trace | PathTrace, num_devices: int, available: int) -> np.ndarray:
    """Indices [num_devices] into the file; which of several is said by `devices` or left to a seeded chance."""
    order = np.arange(available) if trace.devices is None else np.asarray(trace.devices)
    if len(order) < num_devices:
        raise ValueError(
            f"{trace.file} serves {len(order)} devices, {num_devices} were asked for; ask for fewer, or use a trace of more"
        )
    if trace.shuffle_seed is not None:
        order = np.random.default_rng(trace.shuffle_seed).permutation(order)
    elif trace.devices is None and available > num_devices:
        raise ValueError(
            f"{trace.file} holds {available} devices, {num_devices} were asked for: say in `devices` which {num_devices} of "
            f"0 to {available - 1}, or let shuffle_seed choose them at random"
        )
    return order[:num_devices]


def _choose_antennas(file: str, num_rx_antennas: int, available: int) -> np.ndarray:
    if available < num_rx_antennas:
        raise ValueError(
            f"{file} holds {available} receive antennas, {num_rx_antennas} were asked for; name an axis antenna, "
            "or ask for fewer"
        )
    return np.arange(num_rx_antennas)


def _normalized(file: str, values: np.ndarray, power: np.ndarray, normalize: str, *, device_axis: int) -> np.ndarray:
    """Divide by the root of the mean power, of the file or of each device."""
    if normalize == "none":
        return values
    kept = () if normalize == "file" else (device_axis,)
    others = tuple(axis for axis in range(power.ndim) if axis not in kept)
    mean = power.mean(axis=others, keepdims=True, dtype=np.float64)
    if not (mean > 0).all():
        silent = np.flatnonzero(mean == 0).tolist()
        which = "the file" if normalize == "file" else f"devices {silent}"
        raise ValueError(f'{file}: {which} has no power and cannot be normalised; cut it out, or set normalize="none"')
    return (values / np.sqrt(mean)).astype(values.dtype)


def _entry(trace: Trace | PathTrace, round: int, num_rounds: int) -> int:
    """Index of the round in a file of `num_rounds`."""
    if round >= num_rounds and trace.at_end == "error":
        raise ValueError(
            f"{trace.file} ends: it holds {num_rounds} rounds, round {round} (counted from 0) was asked for; "
            'set at_end="repeat" or "reflect"'
        )
    return int(_wrap(np.array([float(round)]), num_rounds, trace.at_end)[0])


def _wrap(position: np.ndarray, size: int, at_end: str) -> np.ndarray:
    """Bring positions >= 0 into the file: [0, size) when repeated, [0, size - 1] otherwise."""
    if at_end == "repeat":
        return position % size
    if at_end == "reflect":
        period = max(2 * (size - 1), 1)
        position = position % period
        return np.minimum(position, period - position) if size > 1 else np.zeros_like(position)
    return position.clip(0, size - 1)


def _neighbours(trace: Trace, position: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples before and after each position and the weight of the later one, 0 for the nearest sample."""
    position = _wrap(position, size, trace.at_end)
    if trace.interpolation == "nearest":
        nearest = np.floor(position + 0.5).astype(int) % size
        return nearest, nearest, np.zeros(len(position))
    before = np.floor(position + _SLACK).astype(int)
    return before % size, (before + 1) % size, (position - before).clip(0, 1)
