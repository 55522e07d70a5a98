"""What `laser channel` does once its options are read: measure, write files, draw them, print tables.

Pictures are drawn from the CSV files alone, so that `laser redraw` draws the same ones again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from laser_wireless.benchmarks.assembly import Spec, assemble
from laser_wireless.benchmarks.channel_views.correlation import study_correlation
from laser_wireless.benchmarks.channel_views.error import study_error
from laser_wireless.benchmarks.channel_views.gains import study_gains
from laser_wireless.benchmarks.channel_views.labels import label_of, labels_of
from laser_wireless.benchmarks.channel_views.spectrogram import Spectrogram, study_spectrogram
from laser_wireless.benchmarks.channel_views.study import ChannelStudy, several
from laser_wireless.benchmarks.records import Row, aligned, read_csv, write_csv
from laser_wireless.channels.csi.models import PerfectCsi
from laser_wireless.channels.receivers.single_antenna import SingleAntenna

Progress = Callable[[list[Any]], Iterable[Any]]


def show_channel(settings: ChannelStudy, folder: Path, device: torch.device, progress: Progress) -> None:
    """Draw the views asked for into a folder and print their tables."""
    views = {"error": _error, "gains": _gains, "correlation": _correlation, "spectrogram": _spectrogram}
    chosen = list(views) if settings.view == "all" else [settings.view]
    if settings.view == "all" and (settings.ofdm is None or len(settings.fadings) > 1):
        chosen.remove("spectrogram")
        print("spectrogram: left out, it needs one model of fading and an OFDM grid (--ofdm Ofdm)\n")
    for view in chosen:
        views[view](settings, folder, device, progress)


def drawn_views(folder: Path) -> list[str]:
    """The views whose CSV files lie in a folder."""
    return [view for view, (_, names) in _PICTURES.items() if all((folder / name).exists() for name in names)]


def redraw_channel(spec: Spec, folder: Path) -> list[str]:
    """Draw the pictures of a folder from its CSV files, under the titles that its configuration gives.

    Returns:
        their names, without ending.

    Raises:
        ValueError: CSV files of an earlier version, which lack what is drawn.
    """
    settings: ChannelStudy = assemble(ChannelStudy, spec, "")
    return [_draw(view, settings, folder) for view in drawn_views(folder)]


def _draw(view: str, settings: ChannelStudy, folder: Path) -> str:
    from laser_wireless.benchmarks.channel_views import plots

    draw, names = _PICTURES[view]
    try:
        return draw(plots, settings, folder)
    except KeyError as error:
        raise ValueError(
            f"{folder}: {', '.join(names)} lack a column {error}, which the picture needs; run laser channel again"
        ) from error


def _error(settings: ChannelStudy, folder: Path, device: torch.device, progress: Progress) -> None:
    rows = study_error(settings.error_view(), device, progress)
    write_csv(folder / "channel.csv", rows)
    _draw("error", settings, folder)
    print(aligned(rows))
    print(
        "\nmse: per symbol of the mean message, messages having unit variance; energy_spent: over the budget;\n"
        "_se: standard error; _low, _high: 95 % interval, one-sided where none or all are silent; closed_form: as drawn"
    )
    _written(folder, "channel.csv", "channel.png", "channel.pdf")


def _gains(settings: ChannelStudy, folder: Path, device: torch.device, progress: Progress) -> None:
    rows, summary = study_gains(settings.gains_view(), device, progress)
    write_csv(folder / "gains.csv", rows)
    _draw("gains", settings, folder)
    print(aligned(summary))
    print(
        f"\nin_fade: share of |h|^2 below {settings.fade_db:g} dB; k_factor_by_moments: of the Rician law of "
        "the same mean and variance of |h|^2"
    )
    _written(folder, "gains.csv", "gains.png", "gains.pdf")


def _correlation(settings: ChannelStudy, folder: Path, device: torch.device, progress: Progress) -> None:
    rows, summary = study_correlation(settings.correlation_view(), device, progress)
    write_csv(folder / "correlation.csv", rows)
    _draw("correlation", settings, folder)
    for row in summary:  # laws may differ in their units
        print(aligned([row]) + "\n")
    print("coherence: where |R| falls to 1/2; 0 within the first lag, inf beyond the last one")
    _written(folder, "correlation.csv", "correlation.png", "correlation.pdf")


def _spectrogram(settings: ChannelStudy, folder: Path, device: torch.device, progress: Progress) -> None:
    picture, summary = study_spectrogram(settings.spectrogram_view(), device)
    write_csv(folder / "spectrogram.csv", _matrix("time_s", picture.times_s, "hz", picture.frequencies_hz, picture.power_db))
    write_csv(
        folder / "delay_doppler.csv",
        _matrix("delay_s", picture.delays_s, "hz", picture.dopplers_hz, picture.spreading_db),
    )
    write_csv(folder / "delay_profile.csv", picture.profile)
    _draw("spectrogram", settings, folder)
    print(aligned(summary))
    _written(folder, "spectrogram.csv", "delay_doppler.csv", "delay_profile.csv", "spectrogram.png", "spectrogram.pdf")


def _draw_error(plots: Any, settings: ChannelStudy, folder: Path) -> str:
    plots.plot_error(read_csv(folder / "channel.csv"), folder / "channel", _title(settings, _error_words(settings)))
    return "channel"


def _draw_gains(plots: Any, settings: ChannelStudy, folder: Path) -> str:
    rows = read_csv(folder / "gains.csv")
    samples = min(row["independent"] for row in rows)
    title = f"{_names(settings)}: at least {samples} independent samples each, E|h|² = 1"
    plots.plot_gains(rows, folder / "gains", title, settings.fade_db)
    return "gains"


def _draw_correlation(plots: Any, settings: ChannelStudy, folder: Path) -> str:
    rows = read_csv(folder / "correlation.csv")
    plots.plot_correlation(rows, folder / "correlation", f"{_names(settings)}: {rows[0]['links']} independent links")
    return "correlation"


def _draw_spectrogram(plots: Any, settings: ChannelStudy, folder: Path) -> str:
    times, frequencies, power_db = _read_matrix(folder / "spectrogram.csv")
    delays, dopplers, spreading_db = _read_matrix(folder / "delay_doppler.csv")
    picture = Spectrogram(
        times_s=times,
        frequencies_hz=frequencies,
        power_db=power_db,
        delays_s=delays,
        dopplers_hz=dopplers,
        spreading_db=spreading_db,
        profile=read_csv(folder / "delay_profile.csv"),
    )
    plots.plot_spectrogram(picture, folder / "spectrogram", label_of(settings.fadings[0]))
    return "spectrogram"


_PICTURES: dict[str, tuple[Callable[[Any, ChannelStudy, Path], str], tuple[str, ...]]] = {
    "error": (_draw_error, ("channel.csv",)),
    "gains": (_draw_gains, ("gains.csv",)),
    "correlation": (_draw_correlation, ("correlation.csv",)),
    "spectrogram": (_draw_spectrogram, ("spectrogram.csv", "delay_doppler.csv", "delay_profile.csv")),
}
"""View -> how it is drawn, and the files that it is drawn from."""


def _matrix(first: str, rows: np.ndarray, unit: str, columns: np.ndarray, values: np.ndarray) -> list[Row]:
    """One row for each entry of the first axis; decibels to two digits."""
    names = [f"{value:.6g}_{unit}" for value in columns]
    return [
        {first: float(f"{at:.6g}"), **dict(zip(names, np.round(line, 2).tolist(), strict=True))}
        for at, line in zip(rows, values, strict=True)
    ]


def _read_matrix(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `_matrix` made: the entries of the first axis, those of the second, values [first, second]."""
    rows = read_csv(path)
    first, *names = rows[0]
    columns = [float(name.rsplit("_", 1)[0]) for name in names]
    values = np.array([[row[name] for name in names] for row in rows], dtype=float)
    return np.array([row[first] for row in rows], dtype=float), np.array(columns), values


def _names(settings: ChannelStudy) -> str:
    return ", ".join(labels_of(settings.fadings))


def _error_words(settings: ChannelStudy) -> list[str]:
    """What all curves share: entries that are no list of several."""
    controls, receivers, antennas = (
        several(getattr(settings, name)) for name in ("power_control", "receiver", "num_rx_antennas")
    )
    shared = [label_of(part[0]) for part in (settings.fadings, controls) if len(part) == 1]
    if len(antennas) == 1 and antennas != [1]:
        shared.append(f"N_r = {antennas[0]}")
    if len(receivers) == 1 and not isinstance(receivers[0], SingleAntenna):
        shared.append(label_of(receivers[0]))
    known = [stage for stage in several(settings.csi) if not isinstance(stage, PerfectCsi)]
    return shared + [label_of(stage) for stage in (*known, *settings.impairments)]


def _title(settings: ChannelStudy, shared: list[str]) -> str:
    uplink = settings.cases()[0].uplink
    grid = uplink.grid((settings.num_symbols,))
    gains = f"{grid.num_slots} x {grid.num_frequency_blocks} gains" if grid.num_cells > 1 else "one gain"
    return f"{' + '.join(shared)}{', ' if shared else ''}K = {settings.num_devices}, {gains} per device and round"


def _written(folder: Path, *names: str) -> None:
    print(f"written to {folder}: {', '.join(names)}\n")
