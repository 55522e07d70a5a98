"""Pictures of a channel without a model, from the rows alone; bars and bands are 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from laser_wireless.benchmarks.channel_views.error import AVERAGED, CONDITIONAL, SIMULATED
from laser_wireless.benchmarks.channel_views.labels import unit_of
from laser_wireless.benchmarks.channel_views.spectrogram import Spectrogram
from laser_wireless.benchmarks.intervals import disk_of, reach_of
from laser_wireless.benchmarks.picture import (
    GREY,
    Series,
    can_be_logarithmic,
    draw_series,
    headline,
    legend_below,
    readable,
    save,
    sentence,
    style_of,
    ticks_at,
)
from laser_wireless.benchmarks.records import Row

_DASHES = {AVERAGED: "--", CONDITIONAL: ":"}
_BELOW = 10.0  # how far the axis of probabilities goes on below the least that is seen or bounded
_INTERVAL = "mean and 95 % interval"


def plot_error(rows: Sequence[Row], path: Path, title: str) -> Figure:
    """Draw error, silence and energy against SNR, closed forms dashed; as PNG and PDF."""
    labels = _labels(rows, "case")
    quiet = [label for label in labels if any(_may_be_silent(row) for row in rows if row["case"] == label)]
    lines = (len(labels) + 4) // 2  # of the longest legend
    figure = Figure(figsize=(12.6 if quiet else 8.6, 4.2 + 0.2 * lines), layout="constrained")
    headline(figure, title)
    error, *more, energy = figure.subplots(1, 2 + bool(quiet), width_ratios=(1.35, *[1] * (1 + bool(quiet))))
    _draw_error(error, rows, labels)
    for axes in more:
        _draw_silence(axes, [row for row in rows if row["case"] in quiet], labels)
    _draw_energy(energy, rows, labels)
    for axes in (error, *more, energy):
        axes.set_xlabel("SNR of one device,\nper real symbol [dB]")
        axes.grid(alpha=0.25)
        readable(axes)
        legend_below(axes, columns=2 if axes is error else 1, lines=2)
    return save(figure, path)


def _draw_error(axes: Axes, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """Error of each case with its closed form, and the key of marks and lines in grey, whatever the colour."""
    series, forms = [], set()
    for number, label in enumerate(labels):
        mine = [row for row in rows if row["case"] == label]
        kind = mine[0]["closed_form"]
        shown = f"{label} (simulated only)" if kind == SIMULATED else label
        if len(labels) == 1:  # the title names it
            shown = "no closed form: simulated only" if kind == SIMULATED else "_"
        line = {"ls": "-", "lw": 0.8} if kind == SIMULATED else {"ls": ""}
        series.append(_of_rows(mine, "snr_db", "mse", "mse_se", line | {"label": shown} | style_of(number)))
        form = "mse_theory" if kind == AVERAGED else "mse_given_gains"
        if any(math.isinf(row[form]) for row in mine):
            form, kind = "mse_given_gains", CONDITIONAL
        forms.add(kind)
        x, y = [row["snr_db"] for row in mine], [row[form] for row in mine]
        axes.plot(x, y, _DASHES.get(kind, ""), lw=1.5, color=style_of(number)["color"])
    draw_series(axes, series, logarithmic=can_be_logarithmic([row["mse"] for row in rows]))
    diverges = any(math.isinf(row["mse_theory"]) for row in rows)
    axes.plot([], [], "o", ms=5, color=GREY, label="simulated")
    if AVERAGED in forms:
        axes.plot([], [], "--", color=GREY, label="closed form, mean over fading")
    if CONDITIONAL in forms:
        what = "closed form, given the gains" + (" (the mean is infinite)" if diverges else "")
        axes.plot([], [], ":", color=GREY, label=what)
    axes.set_ylabel("mean-square error per symbol")
    axes.set_title(_INTERVAL, fontsize="medium")


def _draw_energy(axes: Axes, rows: Sequence[Row], labels: Sequence[str]) -> None:
    series = []
    for number, label in enumerate(labels):
        mine = [row for row in rows if row["case"] == label]
        series.append(_of_rows(mine, "snr_db", "energy_spent", "energy_spent_se", {"lw": 1} | style_of(number)))
        largest = [row["energy_spent_largest"] for row in mine]
        axes.plot([row["snr_db"] for row in mine], largest, ":", lw=1, ms=5, mfc="none", **style_of(number))
    draw_series(axes, series)
    axes.plot([], [], "o-", lw=1, ms=5, color=GREY, label="mean over devices and rounds")
    axes.plot([], [], "o:", lw=1, ms=5, mfc="none", color=GREY, label="largest seen")
    axes.axhline(1, color="k", ls="--", lw=1.2, label="budget")
    top = max([1.0, *(row["energy_spent_largest"] for row in rows if math.isfinite(row["energy_spent_largest"]))])
    axes.set(ylabel="energy spent / energy budget", ylim=(0, 1.08 * top))
    axes.set_title(_INTERVAL, fontsize="medium")


def _may_be_silent(row: Row) -> bool:
    """Whether a device was silent, or would be by a closed form; where there is none, it may be."""
    return row["silent"] > 0 or row["silent_theory"] != 0


def _draw_silence(axes: Axes, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """Probabilities on a log axis: what was seen with its interval, an upper bound where nothing was, closed forms."""
    seen, bounds = [], []
    for number, label in enumerate(labels):
        for column, fill in (("silent", style_of(number)["color"]), ("outage", "none")):
            mine = [row for row in rows if row["case"] == label]
            there, never = ([row for row in mine if (row[column] > 0) == whether] for whether in (True, False))
            look = {"ls": "", "mfc": fill} | style_of(number)
            mean, low, high = ([row[name] for row in there] for name in (column, f"{column}_low", f"{column}_high"))
            seen.append(Series([row["snr_db"] for row in there], mean, low, high, look=look))
            bounds.append((number, fill, [(row["snr_db"], row[f"{column}_high"]) for row in never]))
            axes.plot(
                [row["snr_db"] for row in mine],
                [row[f"{column}_theory"] or math.nan for row in mine],
                "--",
                lw=1.2,
                color=style_of(number)["color"],
            )
    draw_series(axes, [one for one in seen if one.x], logarithmic=True)
    for number, fill, points in bounds:
        x, y = [x for x, _ in points], [y for _, y in points]
        axes.plot(x, y, "v", ms=6, mfc=fill if fill == "none" else f"{fill}40", color=style_of(number)["color"])
    floor = min([*(v for one in seen for v in one.mean), *(y for *_, points in bounds for _, y in points)]) / _BELOW
    axes.set(ylabel="probability", ylim=(floor, 2))
    axes.set_title("fraction and 95 % interval", fontsize="medium")
    _key_of_silence(axes, rows, len(labels), floor, any(points for *_, points in bounds))


def _key_of_silence(axes: Axes, rows: Sequence[Row], num_cases: int, floor: float, bounded: bool) -> None:
    axes.plot([], [], "o", ms=5, color=GREY, label="a device is silent")
    axes.plot([], [], "o", ms=5, mfc="none", color=GREY, label="all are silent (outage)")
    if bounded:
        axes.plot([], [], "v", ms=6, mfc="none", color=GREY, label="none seen: 95 % upper bound")
    known = [row[name] for row in rows for name in ("silent_theory", "outage_theory") if row[name] > 0]
    if known:
        beyond = min(known)
        rest = f" (outage {beyond:.0e}: below the axis)" if beyond < floor else ""
        axes.plot([], [], "--", color=GREY, label=f"closed form{rest}")
    if len(_labels(rows, "case")) < num_cases:
        axes.plot([], [], " ", label="(the others are never silent)")


def _of_rows(rows: Sequence[Row], x: str, mean: str, error: str, look: dict[str, Any]) -> Series:
    """A curve with Student's 95 % intervals over the independent samples that the rows count."""
    means = np.array([row[mean] for row in rows], dtype=float)
    half = np.array([reach_of(row["independent"]) * row[error] for row in rows], dtype=float)
    return Series([row[x] for row in rows], means.tolist(), (means - half).tolist(), (means + half).tolist(), look)


def plot_gains(rows: Sequence[Row], path: Path, title: str, fade_db: float) -> Figure:
    """Draw density of the envelope, both tails of the power, and density of the phase."""
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    headline(figure, f"{title}\nsimulated points: {_INTERVAL}")
    (density, below), (phase, above) = figure.subplots(2, 2)
    panels = {"envelope": density, "power_below": below, "power_above": above, "phase": phase}
    for quantity, axes in panels.items():
        _draw_distribution(axes, [row for row in rows if row["quantity"] == quantity], quantity.startswith("power"))
    density.plot([], [], "--", color=GREY, label="closed form")
    density.plot([], [], "o", ms=3.5, color=GREY, label="simulated")
    density.set(xlabel="envelope |h|", ylabel="probability density", ylim=(0, None), xlim=(0, None))
    lowest = min((row["simulated"] for row in rows if row["simulated"] > 0), default=1e-4)
    floor = 10 ** math.floor(math.log10(min(max(lowest, 1e-6), 0.1)))
    below.axvline(fade_db, color=GREY, ls=":", lw=1)
    below.text(fade_db, floor * 1.4, f" fade: {fade_db:g} dB", fontsize="small", color=GREY)
    below.set(ylim=(floor, 1.5), xlabel="power x [dB]", ylabel="P(|h|² < x)")
    above.set(ylim=(floor, 1.5), xlabel="power x [dB]", ylabel="P(|h|² ≥ x)", xlim=(-20, 12))
    top = max(row["simulated"] + 3 * row["standard_error"] for row in rows if row["quantity"] == "phase")
    phase.set(
        xlabel="phase of h [rad]", ylabel="probability density", ylim=(0, max(0.24, 1.05 * top)), xlim=(-math.pi, math.pi)
    )
    turns = [-math.pi, -math.pi / 2, 0, math.pi / 2, math.pi]
    ticks_at(phase.xaxis, turns, [r"$-\pi$", r"$-\pi/2$", "0", r"$\pi/2$", r"$\pi$"])
    for axes in panels.values():
        axes.grid(alpha=0.25)
        readable(axes)
    figure.legend(*density.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return save(figure, path)


def _draw_distribution(axes: Axes, rows: Sequence[Row], logarithmic: bool) -> None:
    """Simulated points with intervals, and closed forms; of a tail only what is known to a quarter of itself."""
    series = []
    for number, label in enumerate(_labels(rows, "fading")):
        mine = [row for row in rows if row["fading"] == label]
        seen = [row for row in mine if not logarithmic or row["simulated"] > 4 * row["standard_error"] > 0]
        seen = seen or [row for row in mine if row["simulated"] > 0]  # a gain that is always the same
        if logarithmic:
            seen = seen[:: max(1, len(seen) // 24)]
        look = {"ls": "", "ms": 3.5, "capsize": 2, "lw": 1, "label": label} | style_of(number)
        series.append(_of_rows(seen, "x", "simulated", "standard_error", look))
        theory = [row["theory"] for row in mine]
        axes.plot([row["x"] for row in mine], theory, "--", lw=1.3, color=style_of(number)["color"], zorder=3)
    draw_series(axes, series, logarithmic=logarithmic)
    if not any(one.x for one in series):
        sentence(axes, "too rare to be seen in these rounds")


def plot_correlation(rows: Sequence[Row], path: Path, title: str) -> Figure:
    """Draw Re R over time and |R| over frequency with closed forms and 95 % bands."""
    axes_of_rows = _labels(rows, "axis")
    figure = Figure(figsize=(5.2 * len(axes_of_rows) + (1.6 if len(axes_of_rows) == 1 else 0), 4.6), layout="constrained")
    headline(figure, title)
    panels = np.atleast_1d(figure.subplots(1, len(axes_of_rows)))
    for axis, axes in zip(axes_of_rows, panels, strict=True):
        largest = max(row["offset"] for row in rows if row["axis"] == axis)
        unit = next(row["unit"] for row in rows if row["axis"] == axis)
        factor, name = _unit_of(largest, unit)
        for number, label in enumerate(_labels(rows, "fading")):
            mine = [row for row in rows if row["fading"] == label and row["axis"] == axis]
            _plot_one_correlation(axes, mine, factor, number, label if len(_labels(rows, "fading")) > 1 else "simulated")
        axes.axhline(0, color=GREY, lw=0.8)
        axes.grid(alpha=0.25)
        axes.set_xlabel(f"{'frequency' if axis == 'frequency' else 'time'} lag [{name}]")
        axes.set_ylabel("|R|, frequency correlation" if axis == "frequency" else "Re R, time correlation")
        axes.set_xlim(0, largest * factor or 1)
        readable(axes)
    panels[0].plot([], [], "--", color=GREY, label="closed form")
    panels[0].fill_between([], [], [], color=GREY, alpha=0.25, lw=0, label="95 % interval of the estimate, at each lag")
    legend_below(panels[0], columns=3 if len(panels) == 1 else 2)
    return save(figure, path)


def _plot_one_correlation(axes: Axes, rows: list[Row], factor: float, number: int, label: str) -> None:
    """Estimate, closed form, and a band around it: of the real part, or the disk that holds a complex mean in 95 %."""
    if not rows:
        return
    style = style_of(number)
    offsets = [row["offset"] * factor for row in rows]
    links = rows[0]["links"]
    if rows[0]["axis"] == "frequency":
        found = np.hypot([row["real"] for row in rows], [row["imag"] for row in rows])
        theory = np.hypot([row["theory_real"] for row in rows], [row["theory_imag"] for row in rows])
        reach = disk_of(links) * np.maximum([row["real_se"] for row in rows], [row["imag_se"] for row in rows])
        lowest = 0.0
    else:
        found = np.array([row["real"] for row in rows])
        theory = np.array([row["theory_real"] for row in rows])
        reach = reach_of(links) * np.array([row["real_se"] for row in rows])
        lowest = -math.inf
    centre = np.where(np.isnan(theory), found, theory)
    axes.fill_between(offsets, np.maximum(centre - reach, lowest), centre + reach, alpha=0.22, lw=0, color=style["color"])
    axes.plot(offsets, theory, "--", lw=1.4, color=style["color"])
    axes.plot(offsets, found, ls="", ms=4, label=label, **style)


def plot_spectrogram(picture: Spectrogram, path: Path, title: str) -> Figure:
    """Draw |h(t, f)|, the delay-Doppler plane and the power delay profile."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    headline(figure, title)
    image, plane, profile = figure.subplots(1, 3, width_ratios=(1.5, 1.1, 1))
    time_factor, time_unit = _unit_of(float(picture.times_s[-1]), "s")
    frequency_factor, frequency_unit = _unit_of(float(picture.frequencies_hz[-1]), "Hz")
    shown = image.pcolormesh(
        picture.times_s * time_factor,
        picture.frequencies_hz * frequency_factor,
        picture.power_db.T,
        cmap="viridis",
        vmin=max(float(picture.power_db.min()), -25.0),
        rasterized=True,
    )
    figure.colorbar(shown, ax=image, label="|h(t, f)|² [dB]", extend="min", pad=0.02)
    image.set(xlabel=f"time [{time_unit}]", ylabel=f"frequency from the carrier [{frequency_unit}]")
    last = float(picture.delays_s[-1])
    delay_factor, delay_unit = _unit_of(last, "s")
    shown = plane.pcolormesh(
        picture.delays_s * delay_factor,
        picture.dopplers_hz,
        picture.spreading_db.T,
        cmap="magma",
        vmin=-40.0,
        vmax=0.0,
        rasterized=True,
    )
    figure.colorbar(shown, ax=plane, label="power over its peak [dB]", extend="min", pad=0.02)
    plane.set(xlabel=f"delay [{delay_unit}]", ylabel="Doppler shift [Hz]", xlim=(0, last * delay_factor))
    _draw_profile(profile, picture, delay_factor)
    profile.set(xlabel=f"delay [{delay_unit}]", ylabel="power delay profile [dB]", xlim=(0, last * delay_factor))
    for axes, text in (
        (image, "one device"),
        (plane, "the same, in delay and Doppler shift"),
        (profile, "power over delay"),
    ):
        axes.set_title(text, fontsize="small")
        readable(axes)
    return save(figure, path, image=True)


def _draw_profile(axes: Axes, picture: Spectrogram, delay_factor: float) -> None:
    """Mean over the links in dB with its interval; where that reaches down to zero, to the rim."""
    delays = picture.delays_s * delay_factor
    power, error, theory = (
        np.array([row[name] for row in picture.profile]) for name in ("power", "standard_error", "theory")
    )
    top = 10 * math.log10(power.max())
    half = reach_of(picture.profile[0]["devices"]) * error
    low, high = 10 * np.log10(np.maximum(power - half, 10 ** ((top - 60) / 10))), 10 * np.log10(power + half)
    colour = style_of(0)["color"]
    if np.isfinite(error).all():
        axes.fill_between(delays, low, high, color=colour, alpha=0.25, lw=0, label="95 % interval over the devices")
    axes.plot(delays, 10 * np.log10(power), "-", color=colour, lw=3, alpha=0.55, label="mean over all links")
    if not np.isnan(theory).any():
        axes.plot(delays, 10 * np.log10(theory), "--", color="k", lw=1.1, label="closed form")
    axes.set_ylim(top - 38, top + 4)
    axes.grid(alpha=0.25)
    legend_below(axes, columns=1)


def _labels(rows: Sequence[Row], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def _unit_of(largest: float, unit: str) -> tuple[float, str]:
    return unit_of(largest, unit) if unit in ("s", "Hz") else (1.0, f"{unit}s")
