"""One device's channel over time and frequency, and what it says of delays and Doppler shifts.

    H(tau) = sum_f w_f h(f) e^{j 2 pi f tau},    E|H(tau)|^2 = sum_p p_p |W(tau - tau_p)|^2

with a Hann window w over the frequency blocks, sum w = 1, and W its transform: a path of power p_p appears as a pulse of
height p_p at its delay. The same over slots gives the Doppler shifts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from laser_wireless.benchmarks.channel_views.draws import Links
from laser_wireless.benchmarks.channel_views.labels import label_of
from laser_wireless.benchmarks.channel_views.laws import delay_profile, mean_powers
from laser_wireless.benchmarks.records import Row
from laser_wireless.channels.fading.contract import FadingModel

Array = NDArray[np.float64]
_FINER = 4  # delays between two that the bandwidth can tell apart


@dataclass(frozen=True)
class Spectrogram:
    """What is drawn.

    times_s, frequencies_hz: of slots and blocks; power_db [T, F], |h|^2 of the first device at its first antenna.
    delays_s, dopplers_hz: axes of spreading_db [delays, Dopplers], of the same link, over its largest value; delays and
        Doppler shifts up to where next to nothing arrives.
    profile: rows of delay_s, power (mean over all links and slots) with standard_error over the devices, theory, and
        how many devices there are.
    """

    times_s: NDArray[np.floating]
    frequencies_hz: NDArray[np.floating]
    power_db: Array
    delays_s: Array
    dopplers_hz: Array
    spreading_db: Array
    profile: list[Row]


@dataclass(frozen=True)
class SpectrogramView:
    """One law over the times and frequencies of the links' grid."""

    fading: FadingModel
    links: Links


def study_spectrogram(view: SpectrogramView, device: torch.device) -> tuple[Spectrogram, list[Row]]:
    """Draw one round, as long as the grid.

    Returns:
        the pictures' numbers, and a summary of one row.

    Raises:
        ValueError: the grid has one frequency block, or no OFDM.
    """
    grid = view.links.grid
    num_blocks = grid.num_frequency_blocks
    if num_blocks < 2 or grid.slot_s is None or grid.block_hz is None:
        raise ValueError(
            f'view "spectrogram" needs an OFDM grid of several frequency blocks, got {num_blocks}; '
            "give --ofdm Ofdm and a smaller --ofdm.subcarriers_per_block"
        )
    links = _links(view, device)
    power_db = 20 * np.log10(np.maximum(np.abs(links[0]), 1e-10))
    in_delay = np.fft.ifft(links * _window(num_blocks), _FINER * num_blocks, axis=-1) * _FINER * num_blocks
    delays = np.arange(_FINER * num_blocks) / (_FINER * num_blocks * grid.block_hz)
    spreading = np.fft.fftshift(np.fft.fft(in_delay[0] * _window(grid.num_slots)[:, None], axis=0), axes=0).T
    profile = _profile(view, in_delay, delays, num_blocks, grid.block_hz)
    shown = _num_shown(np.array([row["power"] for row in profile]))
    dopplers = np.fft.fftshift(np.fft.fftfreq(grid.num_slots, grid.slot_s))
    size = np.abs(spreading[:shown])
    seen = _around(dopplers, (size > size.max() / 100).any(0))
    picture = Spectrogram(
        times_s=np.arange(grid.num_slots) * grid.slot_s,
        frequencies_hz=(np.arange(num_blocks) - (num_blocks - 1) / 2) * grid.block_hz,
        power_db=power_db,
        delays_s=delays[:shown],
        dopplers_hz=dopplers[seen],
        spreading_db=20 * np.log10(np.maximum(size[:, seen] / size.max(), 1e-10)),
        profile=profile[:shown],
    )
    known = delay_profile(view.fading)
    summary = {
        "fading": label_of(view.fading),
        "slots": grid.num_slots,
        "blocks": num_blocks,
        "duration_s": grid.num_slots * grid.slot_s,
        "bandwidth_hz": num_blocks * grid.block_hz,
        "mean_power_db": float(10 * np.log10(np.mean(10 ** (power_db / 10)))),
        "deepest_fade_db": float(power_db.min()),
        "rms_delay_spread_s": math.nan if known is None else known.spread,
    }
    return picture, [summary]


def _links(view: SpectrogramView, device: torch.device) -> NDArray[np.complex128]:
    """Gains of all devices and antennas over one round: [K N_r, T, F]."""
    grid = view.links.grid
    h = view.links.draw(view.fading, runs=range(1), num_rounds=1, device=device)[0, 0]
    h = h.expand(*h.shape[:-1], grid.num_cells).unflatten(-1, (grid.num_slots, grid.num_frequency_blocks))
    return h.to(torch.complex128).cpu().flatten(0, 1).numpy()


def _profile(
    view: SpectrogramView, in_delay: NDArray[np.complex128], delays: Array, num_blocks: int, block_hz: float
) -> list[Row]:
    """Power delay profile, mean over slots and antennas of each device, then over the devices."""
    power = np.square(np.abs(in_delay)).mean(1).reshape(view.links.num_devices, -1, len(delays)).mean(1)
    mean, error = (
        power.mean(0),
        power.std(0, ddof=1) / math.sqrt(len(power)) if len(power) > 1 else np.full(len(delays), math.nan),
    )
    known = delay_profile(view.fading)
    theory = np.full(len(delays), math.nan)
    if known is not None:
        powers, paths = mean_powers(known)
        offsets = (np.arange(num_blocks) - (num_blocks - 1) / 2) * block_hz
        pulse = np.exp(2j * math.pi * (delays[:, None] - paths)[..., None] * offsets) @ _window(num_blocks)
        theory = np.square(np.abs(pulse)) @ powers
    return [
        {"delay_s": float(d), "power": float(m), "standard_error": float(e), "theory": float(t), "devices": len(power)}
        for d, m, e, t in zip(delays, mean, error, theory, strict=True)
    ]


def _num_shown(power: Array) -> int:
    """How many delays it takes until the profile has fallen for good by 35 dB; at most those of the first half."""
    half = len(power) // 2
    above = np.flatnonzero(power[:half] > power.max() * 10**-3.5)
    return min(int(1.15 * above[-1]) + _FINER + 1, half)


def _around(dopplers: Array, loud: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The Doppler shifts up to half as far again as anything arrives, on both sides."""
    step = float(dopplers[1] - dopplers[0])
    return np.abs(dopplers) <= 1.5 * np.abs(dopplers[loud]).max() + 2 * step


def _window(size: int) -> Array:
    """Hann window without zeros at its ends, of sum 1."""
    window = np.sin(math.pi * (np.arange(size) + 0.5) / size) ** 2
    return window / window.sum()
