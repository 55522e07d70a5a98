"""Pictures of a sweep and of a channel study; matplotlib is imported here and in `figures` alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.analysis import Point
from laser_wireless.benchmarks.sweeps.sweep import NOISELESS, Sweep
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

COLOURS = (  # the first eight are told apart by colour-blind readers too
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
    "#882255",
    "#999933",
)
MARKERS = "osD^vPX*h"
_MANY = 4  # schemes; more of them have their legend beside the picture


BUDGET_SHORT = "10 log10(P / noise variance) [dB]"
BUDGET_AXIS = f"energy budget P per device and round, {BUDGET_SHORT}"


def plot_sweep(
    sweep: Sweep,
    curves: dict[str, list[Point]],
    rows: Sequence[Row],
    path: Path,
    title: str,
    published: Sequence[Row] = (),
    apart: bool = False,
) -> None:
    """Draw metric against budget, and the saving against the target; as PNG and PDF beside each other.

    Args:
        sweep: what was compared.
        curves: of its schemes.
        rows: savings.
        path: of the picture, without its kind.
        title: above the curves.
        published: rows with scheme, power and value, drawn dashed.
        apart: draw them in a panel of their own.
    """
    many = len(sweep.schemes) > _MANY
    alone = apart and bool(published)
    width = (13 if many else 10.5) + 5 * alone
    figure = Figure(figsize=(width, 4.8 if many else 4.2), layout="constrained")
    left, *middle, right = figure.subplots(1, 2 + alone, width_ratios=(1.45, 1.2, 1) if alone else (1.45, 1))
    _plot_curves(left, sweep, curves)
    theirs = middle[0] if alone else left
    _plot_published(theirs, sweep, published)
    _plot_savings(right, sweep, rows)
    for axes in {left, theirs}:
        if sweep.higher_is_better:
            axes.grid(alpha=0.25)
        else:
            _log_metric(axes)
        axes.set_xlabel(BUDGET_AXIS if axes is left else BUDGET_SHORT)
        axes.set_ylabel(f"test {sweep.metric}" if axes is left else sweep.metric)
    left.set_title(title, fontsize=10)
    if alone:
        theirs.set_title("published, another task", fontsize=10)
    if many:
        figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    else:
        left.legend(frameon=False)
    save(figure, path)


def _plot_curves(axes: Axes, sweep: Sweep, curves: dict[str, list[Point]]) -> None:
    """Each scheme's mean with its standard error over seeds, crosses at the rim where it diverged."""
    any_lost = False
    for number, scheme in enumerate(sweep.schemes):
        points = curves.get(scheme, [])
        if not points:
            continue
        style = style_of(number) | {"label": scheme}
        powers = [10 * math.log10(point.energy_budget) for point in points]
        axes.errorbar(powers, [p.mean for p in points], [p.standard_error for p in points], capsize=3, ms=5, **style)
        lost = [power for power, point in zip(powers, points, strict=True) if not math.isfinite(point.mean)]
        height = 0.03 if sweep.higher_is_better else 0.97
        axes.plot(lost, [height] * len(lost), "x", color=style["color"], ms=8, transform=axes.get_xaxis_transform())
        any_lost = any_lost or bool(lost)
    if NOISELESS in curves:
        axes.axhline(curves[NOISELESS][-1].mean, color="0.35", ls="--", lw=1.2, label="no noise, uncompressed")
    if any_lost:
        axes.plot([], [], "x", color="0.35", ms=8, label="a seed diverged at every learning rate")


def _plot_published(axes: Axes, sweep: Sweep, published: Sequence[Row]) -> None:
    """Published curves, dashed and hollow, in the colours of the schemes that they belong to."""
    for number, scheme in enumerate(sweep.schemes):
        mine = [row for row in published if row["scheme"] == scheme]
        powers = [10 * math.log10(row["power"]) for row in mine]
        axes.plot(powers, [row["value"] for row in mine], ls="--", lw=1.2, mfc="none", ms=5, alpha=0.75, **style_of(number))
    for row in published:
        if row["scheme"] == NOISELESS:
            axes.axhline(row["value"], color="0.35", ls=":", lw=1.2)
    if published:
        axes.plot([], [], ls="--", marker="o", mfc="none", color="0.35", lw=1.2, ms=5, label="published")


def _plot_savings(axes: Axes, sweep: Sweep, rows: Sequence[Row]) -> None:
    """Power saved against the reference for each target: lines over the targets, or side by side for many schemes."""
    many = len(sweep.schemes) > _MANY
    targets = list(dict.fromkeys(row["target"] for row in rows))
    shown = [row for row in rows if math.isfinite(row["saving_db"]) and row["note"] != "reference"]
    for number, scheme in enumerate(sweep.schemes):
        mine = [row for row in shown if row["scheme"] == scheme]
        if not mine:
            continue
        saving = np.array([row["saving_db"] for row in mine])
        around = np.abs(np.array([[row["low"], row["high"]] for row in mine]).T - saving)
        aside = (number - (len(sweep.schemes) - 1) / 2) / (len(sweep.schemes) + 1)
        x = [targets.index(row["target"]) + aside if many else row["target"] for row in mine]
        axes.errorbar(x, saving, around, capsize=3, ms=5, ls="" if many else "-", **style_of(number))
    if many:
        axes.set_xticks(range(len(targets)), [f"{target:g}" for target in targets])
    elif sweep.higher_is_better:
        axes.invert_xaxis()  # hard targets at the left, as for losses
    axes.axhline(0, color="0.35", lw=1.2)
    axes.set_xlabel(f"target test {sweep.metric}")
    axes.set_ylabel(f"power saved against {sweep.baseline} [dB]")
    many_seeds = len(sweep.seeds) > 1
    axes.set_title(
        f"mean and 95 % interval over {len(sweep.seeds)} seeds" if many_seeds else "one seed: no interval", fontsize=10
    )
    if not shown:
        axes.text(0.5, 0.6, "no target reached\nby both within the budgets", ha="center", transform=axes.transAxes)


def style_of(number: int) -> dict[str, Any]:
    """Colour and marker of the scheme of that number."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def _log_metric(axes: Axes) -> None:
    """A log scale with plain numbers: losses span an order of magnitude at most."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(LogLocator(subs=(1.2, 1.5, 2, 2.5, 3, 4, 5, 7)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.25, which="both")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and PDF beside each other."""
    for kind in ("png", "pdf"):
        figure.savefig(path.with_suffix(f".{kind}"), dpi=150)
