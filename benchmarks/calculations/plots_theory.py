"""Pictures of closed forms, which have no intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from laser_wireless.benchmarks.picture import (
    GREY,
    can_be_logarithmic,
    headline,
    readable,
    save,
    sentence,
    style_of,
)
from laser_wireless.benchmarks.records import Row

_FLOOR = 1e-6
"""Of the vertical axis: the error of a vote falls faster than exponentially."""


def plot_influence(rows: Sequence[Row], path: Path, title: str) -> Figure:
    """Draw influence factors against SNR, the channel's part and the whole, as PNG and PDF.

    Args:
        rows: of `influence_study.influence_curves`.
        path: of the files, without ending.
        title: of the figure.
    """
    figure = Figure(figsize=(11.5, 4.8), layout="constrained")
    headline(figure, title)
    channel, whole = figure.subplots(1, 2, sharex=True, sharey=True)
    shown = [*_curves(channel, rows, "channel"), *_curves(whole, rows, "influence")]
    bounds = {row["snr_db"]: row["paper_bound"] for row in rows if row["paper_bound"] != "" and row["paper_bound"] > 0}
    if bounds:
        channel.plot(list(bounds), list(bounds.values()), ":", color="k", lw=1.5, label="LASER, bound of the paper")
    channel.set_title("closed forms: channel alone", fontsize="medium")
    whole.set_title("closed forms: channel and compression", fontsize="medium")
    channel.set_ylabel("squared error / squared norm of the gradient")
    for axes in (channel, whole):
        if shown:
            axes.axhline(1, color=GREY, lw=1.0, ls="--")  # as wrong as no gradient at all
        axes.set_xlabel("SNR of one device, per gradient entry [dB]")
        axes.grid(alpha=0.25)
    if can_be_logarithmic(shown):
        channel.set_yscale("log")
        channel.set_ylim(bottom=max(channel.get_ylim()[0], min(_FLOOR, max(shown) / 10)))
    for axes in (channel, whole):
        readable(axes)
        if not axes.lines[: -1 if shown else None]:
            sentence(axes, "no scheme here has a closed form")
    handles, labels = channel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize="small")
    return save(figure, path)


def _curves(axes: Axes, rows: Sequence[Row], column: str) -> list[float]:
    """Draw a column of every scheme, where it is finite and > 0, and return what was drawn."""
    shown: list[float] = []
    for number, scheme in enumerate(dict.fromkeys(row["scheme"] for row in rows)):
        points = [(row["snr_db"], row[column]) for row in rows if row["scheme"] == scheme and 0 < row[column] < math.inf]
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, label=scheme, ms=4, lw=1.3, **style_of(number))
            shown += y
    return shown
