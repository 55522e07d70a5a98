"""Pictures of closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from laser_wireless.benchmarks.plots import COLOURS, MARKERS
from laser_wireless.benchmarks.records import Row
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_FLOOR = 1e-6
"""Of the vertical axis: the error of a vote falls faster than exponentially."""


def plot_influence(rows: Sequence[Row], path: Path, title: str) -> None:
    """Draw influence factors against SNR, the channel's part and the whole, as PNG and PDF.

    Args:
        rows: of `influence_study.influence_curves`.
        path: of the files, without ending.
        title: of the figure.
    """
    figure = Figure(figsize=(11.5, 4.6), layout="constrained")
    channel, whole = figure.subplots(1, 2, sharex=True, sharey=True)
    _curves(channel, rows, "channel")
    _curves(whole, rows, "influence")
    bounds = {row["snr_db"]: row["paper_bound"] for row in rows if row["paper_bound"] != ""}
    if bounds:
        channel.plot(list(bounds), list(bounds.values()), ":", color="k", lw=1.5, label="LASER, bound of the paper")
    channel.set_title("channel alone", fontsize=10)
    whole.set_title("channel and compression", fontsize=10)
    channel.set_ylabel("squared error / squared norm of the gradient")
    for axes in (channel, whole):
        axes.axhline(1, color="0.35", lw=1.0, ls="--")  # as wrong as no gradient at all
        axes.set_yscale("log")
        axes.set_xlabel("SNR of one device, per gradient entry [dB]")
        axes.grid(alpha=0.25)
    channel.set_ylim(bottom=max(channel.get_ylim()[0], _FLOOR))
    handles, labels = channel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    for kind in ("png", "pdf"):
        figure.savefig(path.with_suffix(f".{kind}"), dpi=150)


def _curves(axes: Axes, rows: Sequence[Row], column: str) -> None:
    for number, scheme in enumerate(dict.fromkeys(row["scheme"] for row in rows)):
        points = [(row["snr_db"], row[column]) for row in rows if row["scheme"] == scheme and row[column] > 0]
        if points:
            x, y = zip(*points, strict=True)
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            dashes = "-" if number < min(len(COLOURS), len(MARKERS)) else "--"
            axes.plot(x, y, label=scheme, color=colour, marker=marker, ls=dashes, ms=4, lw=1.3)
