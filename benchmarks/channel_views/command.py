"""What `laser channel` does once its options are read: measure, write files, print tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from laser_wireless.benchmarks.channel_study import ChannelStudy, cases, several, study
from laser_wireless.benchmarks.channel_views.correlation import study_correlation
from laser_wireless.benchmarks.channel_views.gains import study_gains
from laser_wireless.benchmarks.channel_views.labels import label_of, labels_of
from laser_wireless.benchmarks.channel_views.spectrogram import study_spectrogram
from laser_wireless.benchmarks.records import Row, aligned, write_csv
from laser_wireless.channels.csi import PerfectCsi
from laser_wireless.channels.receivers import SingleAntenna

Progress = Callable[[list[Any]], Iterable[Any]]


def show_channel(settings: ChannelStudy, folder: Path, device: torch.device, progress: Progress) -> None:
    """Draw the views asked for into a folder and print their tables."""
    views = {"error": _error, "gains": _gains, "correlation": _correlation, "spectrogram": _spectrogram}
    chosen = list(views) if settings.view == "all" else [settings.view]
    if settings.view == "all" and (settings.ofdm is None or len(several(settings.fading)) > 1):
        chosen.remove("spectrogram")
        print("spectrogram: left out, it needs one model of fading and an OFDM grid (--ofdm Ofdm)\n")
    for view in chosen:
        views[view](settings, folder, device, progress)


def _error(settings: ChannelStudy, folder: Path, device: torch.device, progress: Progress) -> None:
    from laser_wireless.benchmarks.channel_plots import plot_error

    rows = study(settings, device, progress)
    write_csv(folder / "channel.csv", rows)
    plot_error(rows, folder / "channel", _title(settings, _error_words(settings)))
    print(aligned(rows))
    print(
        "\nmse: per symbol of the mean message, messages having unit variance; energy_spent: over the budget;\n"
        "closed_form: the one that is drawn"
    )
    _written(folder, "channel.csv", "channel.png", "channel.pdf")


def _gains(settings: ChannelStudy, folder: Path, device: torch.device, progress: Progress) -> None:
    from laser_wireless.benchmarks.channel_plots import plot_gains

    rows, summary = study_gains(settings, device, progress)
    write_csv(folder / "gains.csv", rows)
    title = f"{_names(settings)}: {summary[0]['gains']} gains each, E|h|² = 1"
    plot_gains(rows, folder / "gains", title, settings.fade_db)
    print(aligned(summary))
    print(
        f"\nin_fade: share of |h|^2 below {settings.fade_db:g} dB; k_factor_by_moments: of the Rician law of "
        "the same mean and variance of |h|^2"
    )
    _written(folder, "gains.csv", "gains.png", "gains.pdf")


def _correlation(settings: ChannelStudy, folder: Path, device: torch.device, progress: Progress) -> None:
    from laser_wireless.benchmarks.channel_plots import plot_correlation

    rows, summary = study_correlation(settings, device, progress)
    write_csv(folder / "correlation.csv", rows)
    plot_correlation(rows, folder / "correlation", f"{_names(settings)}: {summary[0]['links']} independent links")
    for row in summary:  # laws may differ in their units
        print(aligned([row]) + "\n")
    print("coherence: where |R| falls to 1/2; 0 within the first lag, inf beyond the last one")
    _written(folder, "correlation.csv", "correlation.png", "correlation.pdf")


def _spectrogram(settings: ChannelStudy, folder: Path, device: torch.device, progress: Progress) -> None:
    from laser_wireless.benchmarks.channel_plots import plot_spectrogram

    picture, summary = study_spectrogram(settings, device)
    write_csv(folder / "spectrogram.csv", _matrix("time_s", picture.times_s, "hz", picture.frequencies_hz, picture.power_db))
    write_csv(
        folder / "delay_doppler.csv",
        _matrix("delay_s", picture.delays_s, "hz", picture.dopplers_hz, picture.spreading_db),
    )
    write_csv(folder / "delay_profile.csv", picture.profile)
    plot_spectrogram(picture, folder / "spectrogram", label_of(several(settings.fading)[0]))
    print(aligned(summary))
    _written(folder, "spectrogram.csv", "delay_doppler.csv", "delay_profile.csv", "spectrogram.png", "spectrogram.pdf")


def _matrix(first: str, rows: np.ndarray, unit: str, columns: np.ndarray, values: np.ndarray) -> list[Row]:
    """One row for each entry of the first axis; decibels to two digits."""
    names = [f"{value:.6g}_{unit}" for value in columns]
    return [
        {first: float(f"{at:.6g}"), **dict(zip(names, np.round(line, 2).tolist(), strict=True))}
        for at, line in zip(rows, values, strict=True)
    ]


def _names(settings: ChannelStudy) -> str:
    return ", ".join(labels_of(several(settings.fading)))


def _error_words(settings: ChannelStudy) -> list[str]:
    """What all curves share: entries that are no list of several."""
    controls, receivers, antennas = (
        several(getattr(settings, name)) for name in ("power_control", "receiver", "num_rx_antennas")
    )
    shared = [label_of(part[0]) for part in (several(settings.fading), controls) if len(part) == 1]
    if len(antennas) == 1 and antennas != [1]:
        shared.append(f"N_r = {antennas[0]}")
    if len(receivers) == 1 and not isinstance(receivers[0], SingleAntenna):
        shared.append(label_of(receivers[0]))
    known = [stage for stage in several(settings.csi) if not isinstance(stage, PerfectCsi)]
    return shared + [label_of(stage) for stage in (*known, *settings.impairments)]


def _title(settings: ChannelStudy, shared: list[str]) -> str:
    uplink = cases(settings)[0].uplink
    grid = uplink.grid((settings.num_symbols,))
    gains = f"{grid.num_slots} x {grid.num_frequency_blocks} gains" if grid.num_cells > 1 else "one gain"
    return f"{' + '.join(shared)}{', ' if shared else ''}K = {settings.num_devices}, {gains} per device and round"


def _written(folder: Path, *names: str) -> None:
    print(f"written to {folder}: {', '.join(names)}\n")
