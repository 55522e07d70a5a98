"""Pictures of a channel without a model, from the rows alone; matplotlib is imported here."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from laser_wireless.benchmarks.channel_study import AVERAGED, CONDITIONAL, SIMULATED
from laser_wireless.benchmarks.channel_views.labels import unit_of
from laser_wireless.benchmarks.channel_views.spectrogram import Spectrogram
from laser_wireless.benchmarks.plots import style_of
from laser_wireless.benchmarks.records import Row
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_GREY = "0.35"
_DASHES = {AVERAGED: "--", CONDITIONAL: ":"}
_ROOM = 4  # curves; more of them have their legend beside the picture


def plot_error(rows: Sequence[Row], path: Path, title: str) -> None:
    """Draw error, silence and energy against SNR, closed forms dashed; as PNG and PDF."""
    labels = _labels(rows, "case")
    crowded = len(labels) > _ROOM
    silent = any(row["silent"] > 0 for row in rows)
    figure = Figure(figsize=((7.8, 11.4)[silent], 4.1 + 0.7 * crowded), layout="constrained")
    error, *more, energy = figure.subplots(1, 2 + silent, width_ratios=(1.35, *[1] * (1 + silent)))
    for number, label in enumerate(labels):
        mine = [row for row in rows if row["case"] == label]
        style = style_of(number)
        snr = [row["snr_db"] for row in mine]
        kind = mine[0]["closed_form"]
        shown = f"{label} (simulated only)" if kind == SIMULATED else label
        if len(labels) == 1:  # the title names it
            shown = "no closed form: simulated only" if kind == SIMULATED else "_"
        bars = [3 * row["mse_se"] for row in mine]
        error.errorbar(snr, [row["mse"] for row in mine], bars, ls="", capsize=3, ms=5, label=shown, **style)
        if kind == SIMULATED:
            error.plot(snr, [row["mse"] for row in mine], "-", lw=0.8, alpha=0.5, color=style["color"])
        form = "mse_theory" if kind == AVERAGED else "mse_given_gains"
        infinite = any(math.isinf(row[form]) for row in mine)
        form, kind = ("mse_given_gains", CONDITIONAL) if infinite else (form, kind)
        error.plot(snr, [row[form] for row in mine], _DASHES.get(kind, ""), lw=1.5, color=style["color"])
        for axes in more if any(row["silent"] > 0 for row in mine) else []:
            for column, fill in (("silent", style["color"]), ("outage", "none")):
                axes.plot(snr, [row[column] for row in mine], ls="", ms=5, mfc=fill, **style)
                axes.plot(snr, [row[f"{column}_theory"] for row in mine], "--", lw=1.2, color=style["color"])
        energy.plot(snr, [row["energy_spent"] for row in mine], "-", lw=1, ms=5, **style)
        energy.plot(snr, [row["energy_spent_largest"] for row in mine], ":", lw=1, ms=5, mfc="none", **style)
    _key_of_error(rows, error, energy)
    for axes in more:
        _key_of_silence(rows, axes)
    error.set(yscale="log", ylabel="mean-square error per symbol")
    energy.set(ylabel="energy spent / energy budget", ylim=(0, 1.35))
    for axes in (error, *more, energy):
        axes.set_xlabel("SNR of one device, per real symbol [dB]")
        axes.grid(alpha=0.25)
    if crowded:
        figure.legend(*_marks_last(error), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    else:
        error.legend(*_marks_last(error), frameon=False, fontsize=8)
    _finish(figure, path, title)


def _key_of_error(rows: Sequence[Row], error: Axes, energy: Axes) -> None:
    """Say in grey what marks and lines mean, whatever the colour."""
    kinds = {row["closed_form"] for row in rows}
    diverges = any(math.isinf(row["mse_theory"]) for row in rows)
    error.plot([], [], "o", ms=5, color=_GREY, label="simulated, 3 standard errors")
    if AVERAGED in kinds and any(math.isfinite(row["mse_theory"]) for row in rows):
        error.plot([], [], "--", color=_GREY, label="closed form, mean over fading")
    if CONDITIONAL in kinds or diverges:
        what = "closed form, given the gains" + (" (the mean is infinite)" if diverges else "")
        error.plot([], [], ":", color=_GREY, label=what)
    energy.plot([], [], "o-", lw=1, ms=5, color=_GREY, label="mean over devices")
    energy.plot([], [], "o:", lw=1, ms=5, mfc="none", color=_GREY, label="largest seen")
    energy.axhline(1, color="k", ls="--", lw=1.2, label="budget")
    energy.legend(frameon=False, fontsize=8, loc="upper left", ncols=2, columnspacing=1, handlelength=1.8)


def _key_of_silence(rows: Sequence[Row], silence: Axes) -> None:
    silent = [row for row in rows if row["silent"] > 0]
    silence.plot([], [], "o", ms=5, color=_GREY, label="a device is silent")
    silence.plot([], [], "o", ms=5, mfc="none", color=_GREY, label="all are silent (outage)")
    if any(math.isfinite(row["silent_theory"]) for row in silent):
        silence.plot([], [], "--", color=_GREY, label="closed form")
    if len(_labels(silent, "case")) < len(_labels(rows, "case")):
        silence.plot([], [], " ", label="(the others: never)")
    silence.set(ylabel="probability", ylim=(-0.03, 1.03))
    silence.legend(frameon=False, fontsize=8)


def plot_gains(rows: Sequence[Row], path: Path, title: str, fade_db: float) -> None:
    """Draw density of the envelope, both tails of the power, and density of the phase."""
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    (density, below), (phase, above) = figure.subplots(2, 2)
    panels = {"envelope": density, "power_below": below, "power_above": above, "phase": phase}
    for number, label in enumerate(_labels(rows, "fading")):
        style = style_of(number)
        for quantity, axes in panels.items():
            mine = [row for row in rows if row["fading"] == label and row["quantity"] == quantity]
            logarithmic = quantity.startswith("power")
            seen = [row for row in mine if not logarithmic or row["simulated"] > 4 * row["standard_error"] > 0]
            if logarithmic:
                seen = seen[:: max(1, len(seen) // 24)]
            bars = [1.96 * row["standard_error"] for row in seen]
            x, y = [row["x"] for row in seen], [row["simulated"] for row in seen]
            axes.errorbar(x, y, bars, ls="", ms=3.5, capsize=2, lw=1, label=label, **style)
            theory = [row["theory"] for row in mine]
            axes.plot([row["x"] for row in mine], theory, "--", lw=1.3, color=style["color"], zorder=3)
    density.plot([], [], "--", color=_GREY, label="closed form")
    density.errorbar([], [], [], fmt="o", ms=3.5, capsize=2, color=_GREY, label="simulated, 95 %")
    density.set(xlabel="envelope |h|", ylabel="probability density", ylim=(0, None), xlim=(0, None))
    density.legend(*_marks_last(density), frameon=False, fontsize=8)
    lowest = min((row["simulated"] for row in rows if row["simulated"] > 0), default=1e-4)
    floor = 10 ** math.floor(math.log10(max(lowest, 1e-6)))
    below.axvline(fade_db, color=_GREY, ls=":", lw=1)
    below.text(fade_db, floor * 1.4, f" fade: {fade_db:g} dB", fontsize=8, color=_GREY)
    below.set(yscale="log", ylim=(floor, 1.5), xlabel="power x [dB]", ylabel="P(|h|² < x)")
    above.set(yscale="log", ylim=(floor, 1.5), xlabel="power x [dB]", ylabel="P(|h|² ≥ x)", xlim=(-20, 12))
    top = max(row["simulated"] + 3 * row["standard_error"] for row in rows if row["quantity"] == "phase")
    phase.set(
        xlabel="phase of h [rad]", ylabel="probability density", ylim=(0, max(0.24, 1.05 * top)), xlim=(-math.pi, math.pi)
    )
    phase.set_xticks([-math.pi, -math.pi / 2, 0, math.pi / 2, math.pi], [r"$-\pi$", r"$-\pi/2$", "0", r"$\pi/2$", r"$\pi$"])
    for axes in panels.values():
        axes.grid(alpha=0.25)
    _finish(figure, path, title)


def plot_correlation(rows: Sequence[Row], path: Path, title: str) -> None:
    """Draw Re R over time and |R| over frequency with closed forms and 95 % bands."""
    axes_of_rows = _labels(rows, "axis")
    figure = Figure(figsize=(5.2 * len(axes_of_rows) + (1.6 if len(axes_of_rows) == 1 else 0), 3.9), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(axes_of_rows)))
    for axis, axes in zip(axes_of_rows, panels, strict=True):
        for number, label in enumerate(_labels(rows, "fading")):
            mine = [row for row in rows if row["fading"] == label and row["axis"] == axis]
            _plot_one_correlation(axes, mine, number, label if len(_labels(rows, "fading")) > 1 else "simulated")
        largest = max(row["offset"] for row in rows if row["axis"] == axis)
        unit = next(row["unit"] for row in rows if row["axis"] == axis)
        factor, name = _unit_of(largest, unit)
        axes.xaxis.set_major_formatter(lambda value, _, factor=factor: f"{value * factor:g}")
        axes.xaxis.set_major_locator(_Locator(factor))
        axes.axhline(0, color=_GREY, lw=0.8)
        axes.grid(alpha=0.25)
        axes.set_xlabel(f"{'frequency' if axis == 'frequency' else 'time'} lag [{name}]")
        axes.set_ylabel("|R|, frequency correlation" if axis == "frequency" else "Re R, time correlation")
        axes.set_xlim(0, largest)
    panels[0].plot([], [], "--", color=_GREY, label="closed form")
    panels[0].fill_between([], [], [], color=_GREY, alpha=0.25, lw=0, label="95 % band of the estimate")
    panels[0].legend(frameon=False, fontsize=8)
    _finish(figure, path, title)


class _Locator(MaxNLocator):
    """Round numbers in the unit that is written."""

    def __init__(self, factor: float) -> None:
        super().__init__(nbins=7, steps=[1, 2, 2.5, 5, 10])
        self._factor = factor

    def tick_values(self, vmin: float, vmax: float) -> Any:
        return np.asarray(super().tick_values(vmin * self._factor, vmax * self._factor)) / self._factor


def _plot_one_correlation(axes: Axes, rows: list[Row], number: int, label: str) -> None:
    """Estimate, closed form, and a band around it: of the real part, or the disk that holds a complex mean in 95 %."""
    if not rows:
        return
    style = style_of(number)
    offsets = [row["offset"] for row in rows]
    if rows[0]["axis"] == "frequency":
        found = np.hypot([row["real"] for row in rows], [row["imag"] for row in rows])
        theory = np.hypot([row["theory_real"] for row in rows], [row["theory_imag"] for row in rows])
        reach = 2.45 * np.maximum([row["real_se"] for row in rows], [row["imag_se"] for row in rows])
        lowest = 0.0
    else:
        found = np.array([row["real"] for row in rows])
        theory = np.array([row["theory_real"] for row in rows])
        reach = 1.96 * np.array([row["real_se"] for row in rows])
        lowest = -math.inf
    centre = np.where(np.isnan(theory), found, theory)
    axes.fill_between(offsets, np.maximum(centre - reach, lowest), centre + reach, alpha=0.22, lw=0, color=style["color"])
    axes.plot(offsets, theory, "--", lw=1.4, color=style["color"])
    axes.plot(offsets, found, ls="", ms=4, label=label, **style)


def plot_spectrogram(picture: Spectrogram, path: Path, title: str) -> None:
    """Draw |h(t, f)|, the delay-Doppler plane and the power delay profile."""
    figure = Figure(figsize=(12, 4), layout="constrained")
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
    delays = picture.delays_s * delay_factor
    power, error, theory = (
        np.array([row[name] for row in picture.profile]) for name in ("power", "standard_error", "theory")
    )
    low, high = 10 * np.log10(np.maximum(power - 1.96 * error, power / 10)), 10 * np.log10(power + 1.96 * error)
    colour = style_of(0)["color"]
    profile.fill_between(delays, low, high, color=colour, alpha=0.25, lw=0, label="95 % over the links")
    profile.plot(delays, 10 * np.log10(power), "-", color=colour, lw=3, alpha=0.55, label="mean over all links")
    if not np.isnan(theory).any():
        profile.plot(delays, 10 * np.log10(theory), "--", color="k", lw=1.1, label="closed form")
    top = 10 * math.log10(power.max())
    profile.set(xlabel=f"delay [{delay_unit}]", ylabel="power delay profile [dB]", ylim=(top - 38, top + 4))
    profile.set_xlim(0, last * delay_factor)
    profile.grid(alpha=0.25)
    profile.legend(frameon=False, fontsize=8)
    for axes, text in (
        (image, "one device"),
        (plane, "the same, in delay and Doppler shift"),
        (profile, "power over delay"),
    ):
        axes.set_title(text, fontsize=9)
    _finish(figure, path, title, image=True)


def _marks_last(axes: Axes) -> tuple[list[Any], list[str]]:
    """Handles and labels, curves before the grey key of marks and lines."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i].startswith(("simulated,", "closed form", "95 %")))
    return [handles[i] for i in order], [labels[i] for i in order]


def _labels(rows: Sequence[Row], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def _unit_of(largest: float, unit: str) -> tuple[float, str]:
    return unit_of(largest, unit) if unit in ("s", "Hz") else (1.0, f"{unit}s")


def _finish(figure: Figure, path: Path, title: str, *, image: bool = False) -> None:
    """Write as PDF and PNG; the PNG small: one without an image has 256 colours, one with an image fewer dots."""
    from PIL import Image

    figure.suptitle(textwrap.fill(title, int(12 * figure.get_figwidth())), fontsize=10)
    figure.savefig(path.with_suffix(".pdf"), dpi=150)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=96 if image else 150)
    picture = Image.open(drawn).convert("RGB")
    if not image:
        picture = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    picture.save(path.with_suffix(".png"), optimize=True)
