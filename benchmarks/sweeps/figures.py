"""Pictures laid out as published, beside the usual one of a sweep: over an argument, or as a difference.

figure: {kind: argument, argument: rank}                           one curve per budget, over an argument of the scheme
figure: {kind: difference, panels: {title: {scheme: reference}}}   metric minus that of another scheme, over the budget
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from laser_wireless.benchmarks.assembly import BadConfiguration, call
from laser_wireless.benchmarks.plots import BUDGET_SHORT, save, style_of
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.analysis import Point, half_width
from laser_wireless.benchmarks.sweeps.sweep import Sweep
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Curves = dict[str, list[Point]]
Draw = Callable[[Curves, Sequence[Row], bool, Path, str], None]
"""Draws curves with published rows, apart or not, into a file, under a title."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the picture is laid out.

    Args:
        kind: "argument" or "difference".
        argument: of the schemes' compressors, for the x axis.
        panels: title -> scheme -> the scheme that is subtracted.
    """

    kind: Literal["argument", "difference"]
    argument: str = ""
    panels: dict[str, dict[str, str]] | None = None


def read_figure(value: Any, sweep: Sweep) -> Draw | None:
    """Read the `figure` of a YAML file; None if there is none.

    Raises:
        BadConfiguration: another form, a scheme or an argument that is not there.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadConfiguration(f"figure must be a mapping with kind, got {value!r}")
    layout: Layout = call(Layout, value, "figure")
    if layout.kind == "argument":
        for name, scheme in sweep.schemes.items():
            if not isinstance(scheme.compressor["init_args"].get(layout.argument), int | float):
                raise BadConfiguration(f"figure.argument: the scheme {name!r} sets no number {layout.argument!r}")
        return lambda curves, published, apart, path, title: _over_argument(
            sweep, layout.argument, curves, published, apart, path, title
        )
    panels = layout.panels or {}
    named = {name for pairs in panels.values() for pair in pairs.items() for name in pair}
    if not named or named - set(sweep.schemes):
        unknown = ", ".join(sorted(named - set(sweep.schemes))) or "nothing"
        raise BadConfiguration(f"figure.panels must name schemes of the sweep ({', '.join(sweep.schemes)}), got {unknown}")
    return lambda curves, published, apart, path, title: _differences(sweep, panels, curves, published, apart, path, title)


def _over_argument(
    sweep: Sweep, argument: str, curves: Curves, published: Sequence[Row], apart: bool, path: Path, title: str
) -> None:
    """One curve per budget over an argument of the schemes, published ones dashed or in a panel of their own."""
    own, theirs = _axes_pair(apart and bool(published), title, "mean and 95 % interval over seeds")
    for number, budget in enumerate(sweep.energy_budgets):
        found = [
            (sweep.schemes[name].compressor["init_args"][argument], point)
            for name, points in curves.items()
            if name in sweep.schemes
            for point in points
            if point.energy_budget == budget and math.isfinite(point.mean)
        ]
        found.sort(key=lambda pair: pair[0])
        own.errorbar(
            [x for x, _ in found],
            [point.mean for _, point in found],
            [point.half_width for _, point in found],
            capsize=3,
            ms=5,
            label=f"P = {budget:g}",
            **style_of(number),
        )
    powers = sorted({row["power"] for row in published if argument in row})
    for number, power in enumerate(powers):
        rows = sorted((row for row in published if row["power"] == power), key=lambda row: row[argument])
        place = list(sweep.energy_budgets).index(power) if not apart and power in sweep.energy_budgets else number
        _dashed(theirs, [row[argument] for row in rows], [row["value"] for row in rows], place, f"P = {power:g}, published")
    for axes in {own, theirs}:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(argument)
        axes.set_ylabel(f"test {sweep.metric}")
    _finish(own, theirs, path)


def _differences(
    sweep: Sweep,
    panels: dict[str, dict[str, str]],
    curves: Curves,
    published: Sequence[Row],
    apart: bool,
    path: Path,
    title: str,
) -> None:
    """Metric of schemes minus that of their references, seed by seed; one panel each, published ones below if apart."""
    apart = apart and bool(published)
    figure = Figure(figsize=(5.2 * len(panels), 7.6 if apart else 4.4), layout="constrained")
    grid = figure.subplots(2 if apart else 1, len(panels), squeeze=False, sharex="row", sharey="row")
    values = {(row["scheme"], row["power"]): row["value"] for row in published}
    for column, (name, pairs) in enumerate(panels.items()):
        own, theirs = grid[0, column], grid[-1, column]
        for number, (scheme, reference) in enumerate(pairs.items()):
            rows = _paired(curves.get(scheme, []), curves.get(reference, []))
            aside = 0.25 * (number - (len(pairs) - 1) / 2)  # dB, so that bars do not hide each other
            if rows:
                power, mean, half = zip(*rows, strict=True)
                own.errorbar([x + aside for x in power], mean, half, capsize=2, ms=5, label=scheme, **style_of(number))
            shared = [p for (which, p) in values if which == scheme and (reference, p) in values]
            difference = [values[scheme, power] - values[reference, power] for power in shared]
            _dashed(theirs, [10 * math.log10(power) for power in shared], difference, number, f"{scheme}, published")
        for axes in {own, theirs}:
            axes.axhline(0, color="0.35", lw=1.2)
            axes.set_xlabel(BUDGET_SHORT)
            axes.grid(alpha=0.25)
            _legend(axes)
        own.set_title(name, fontsize=10)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"test {sweep.metric}, minus the reference's")
    figure.suptitle(f"{title}\nmean and 95 % interval over seeds, paired", fontsize=10)
    save(figure, path)


def _paired(points: Sequence[Point], reference: Sequence[Point]) -> list[tuple[float, float, float]]:
    """(power in dB, mean difference, half width of its interval) at each budget where no seed diverged."""
    rows = []
    by_budget = {point.energy_budget: point for point in reference}
    for point in points:
        other = by_budget.get(point.energy_budget)
        if other is None or not (math.isfinite(point.mean) and math.isfinite(other.mean)):
            continue
        difference = [value - other.values[seed] for seed, value in point.values.items()]
        rows.append((10 * math.log10(point.energy_budget), float(np.mean(difference)), half_width(difference)))
    return rows


def _axes_pair(apart: bool, title: str, measured: str) -> tuple[Axes, Axes]:
    """Axes for measured and for published curves: the same ones, or two beside each other."""
    figure = Figure(figsize=(11 if apart else 6.4, 4.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    own, theirs = figure.subplots(1, 2) if apart else [figure.subplots()] * 2
    own.set_title(measured, fontsize=10)
    if not apart:
        return own, own
    theirs.set_title("published, another task", fontsize=10)
    return own, theirs


def _dashed(axes: Axes, x: Sequence[float], y: Sequence[float], number: int, label: str) -> None:
    if len(x):
        axes.plot(x, y, ls="--", lw=1.2, mfc="none", ms=5, alpha=0.75, label=label, **style_of(number))


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def _finish(own: Axes, theirs: Axes, path: Path) -> None:
    for axes in {own, theirs}:
        axes.grid(alpha=0.25)
        _legend(axes)
    figure = own.get_figure()
    assert isinstance(figure, Figure)
    save(figure, path)


def plot_spectrum(rows: Sequence[Row], published: Sequence[Row], apart: bool, path: Path, title: str) -> None:
    """Moving averages (lines, mean over seeds) and shares (dots) by layer, published curves dashed."""
    own, theirs = _axes_pair(apart and bool(published), title, "dots: each epoch; lines: average so far")
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    for number, layer in enumerate(layers):
        mine = [row for row in rows if row["layer"] == layer]
        epochs = sorted({row["epoch"] for row in mine})
        means = [float(np.mean([row["average"] for row in mine if row["epoch"] == epoch])) for epoch in epochs]
        colour = style_of(number)["color"]
        own.plot([row["epoch"] for row in mine], [row["share"] for row in mine], ".", ms=3, alpha=0.35, color=colour)
        own.plot(epochs, means, color=colour, label=layer)
    for number, (series, layer) in enumerate(dict.fromkeys((row["series"], row["scheme"]) for row in published)):
        mine = [row for row in published if row["series"] == series]
        place = layers.index(layer) if not apart and layer in layers else number
        x, y = [row["epoch"] for row in mine], [row["value"] for row in mine]
        theirs.plot(x, y, "--", lw=1.2, color=style_of(place)["color"], label=f"{series}, published")
    for axes in {own, theirs}:
        axes.set_xlabel("epoch")
        axes.set_ylabel("share of the energy")
        axes.set_ylim(0, 1.03)
    _finish(own, theirs, path)


def plot_communication(rows: Sequence[Row], path: Path, title: str) -> None:
    """Megabytes of each scheme as bars on a log scale, published ones as marks."""
    figure = Figure(figsize=(7, 0.9 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    heights = list(range(len(rows)))[::-1]
    axes.barh(heights, [row["megabytes"] for row in rows], color=style_of(0)["color"], height=0.6, label="counted")
    there = [(height, row["megabytes_published"]) for height, row in zip(heights, rows, strict=True) if _is_number(row)]
    if there:
        axes.plot([x for _, x in there], [y for y, _ in there], "D", color=style_of(1)["color"], ms=6, label="published")
        axes.legend(frameon=False)
    axes.set_xscale("log")
    axes.set_yticks(heights, [row["scheme"] for row in rows])
    axes.set_xlabel("megabytes per device and round, if sent digitally")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25, axis="x")
    save(figure, path)


def _is_number(row: Row) -> bool:
    return isinstance(row.get("megabytes_published"), int | float)
