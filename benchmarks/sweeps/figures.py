"""Pictures laid out as published, beside the usual one of a sweep: over an argument, or as a difference.

figure: {kind: argument, argument: rank}                           one curve per budget, over an argument of the scheme
figure: {kind: difference, panels: {title: {scheme: reference}}}   metric minus that of another scheme, over the budget

Their numbers are written as figure.csv, and drawn from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from laser_wireless.benchmarks.assembly import BadConfiguration, call
from laser_wireless.benchmarks.intervals import half_width
from laser_wireless.benchmarks.picture import (
    GREY,
    Series,
    draw_series,
    headline,
    legend_below,
    over_seeds,
    readable,
    save,
    sentence,
    style_of,
    ticks_at,
)
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.choices import Point
from laser_wireless.benchmarks.sweeps.plots import BUDGET_SHORT, dots_of
from laser_wireless.benchmarks.sweeps.sweep import Sweep

_ASIDE = ", set apart sideways"
Curves = dict[str, list[Point]]


class SecondPicture(NamedTuple):
    """A picture beside the usual one.

    rows_of: its numbers, from the curves and the rows of table.csv; those of the curves are None where only files are left.
    draw: into a file, under a title, with published rows, apart or not.
    """

    rows_of: Callable[[Curves | None, Sequence[Row]], list[Row]]
    draw: Callable[[Sequence[Row], Sequence[Row], bool, Path, str], Figure]


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


def read_figure(value: Any, sweep: Sweep) -> SecondPicture | None:
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
        return SecondPicture(
            lambda curves, table: _rows_over_argument(sweep, layout.argument, table),
            lambda *rest: _over_argument(sweep, layout.argument, *rest),
        )
    panels = layout.panels or {}
    named = {name for pairs in panels.values() for pair in pairs.items() for name in pair}
    if not named or named - set(sweep.schemes):
        unknown = ", ".join(sorted(named - set(sweep.schemes))) or "nothing"
        raise BadConfiguration(f"figure.panels must name schemes of the sweep ({', '.join(sweep.schemes)}), got {unknown}")
    return SecondPicture(
        lambda curves, table: _rows_of_differences(panels, curves),
        lambda *rest: _differences(sweep, panels, *rest),
    )


def _rows_over_argument(sweep: Sweep, argument: str, table: Sequence[Row]) -> list[Row]:
    """Rows with the argument, energy_budget, mean and half_width_95, by budget and argument."""
    rows: list[Row] = [
        {
            argument: scheme.compressor["init_args"][argument],
            "energy_budget": dot.energy_budget,
            "mean": dot.mean,
            "half_width_95": dot.half,
        }
        for name, scheme in sweep.schemes.items()
        for dot in dots_of(sweep, table, name)
    ]
    return sorted(rows, key=lambda row: (row["energy_budget"], row[argument]))


def _over_argument(
    sweep: Sweep, argument: str, rows: Sequence[Row], published: Sequence[Row], apart: bool, path: Path, title: str
) -> Figure:
    """One curve per budget over an argument of the schemes, published ones dashed or in a panel of their own."""
    own, theirs = _axes_pair(apart and bool(published), title, over_seeds(len(sweep.seeds), _ASIDE))
    values = sorted({float(row[argument]) for row in (*rows, *published) if argument in row})
    series = []
    for number, budget in enumerate(sweep.energy_budgets):
        aside = 0.06 * (number - (len(sweep.energy_budgets) - 1) / 2)
        mine = [
            row | {argument: row[argument] * 2**aside if values[0] > 0 else row[argument]}
            for row in rows
            if row["energy_budget"] == budget
        ]
        series.append(_series(mine, argument, "mean", {"label": f"P = {budget:g}"} | style_of(number)))
    draw_series(own, series)
    powers = sorted({row["power"] for row in published if argument in row})
    for number, power in enumerate(powers):
        mine = sorted((row for row in published if row["power"] == power), key=lambda row: row[argument])
        place = list(sweep.energy_budgets).index(power) if not apart and power in sweep.energy_budgets else number
        _dashed(theirs, [row[argument] for row in mine], [row["value"] for row in mine], place, f"P = {power:g}, published")
    for axes in dict.fromkeys((own, theirs)):
        if values[0] > 0:
            axes.set_xscale("log", base=2)
        ticks_at(axes.xaxis, values)
        axes.set_xlabel(argument)
        axes.set_ylabel(f"test {sweep.metric}")
    _note_gaps(own, [row["mean"] for row in rows])
    return _finish(own, theirs, path)


def _series(rows: Sequence[Row], x: str, mean: str, look: dict[str, Any]) -> Series:
    means, halves = np.array([row[mean] for row in rows], float), np.array([row["half_width_95"] for row in rows], float)
    return Series([row[x] for row in rows], means.tolist(), (means - halves).tolist(), (means + halves).tolist(), look)


def _note_gaps(axes: Axes, means: Sequence[float]) -> None:
    """Say how many points are not there, and why."""
    gaps = sum(not math.isfinite(mean) for mean in means)
    if gaps == len(means):
        sentence(axes, "nothing to show: every run\ndiverged or failed")
    elif gaps:
        axes.plot([], [], " ", label=f"{gaps} of {len(means)} points not there: diverged or failed")


def _rows_of_differences(panels: dict[str, dict[str, str]], curves: Curves | None) -> list[Row]:
    """Rows with panel, scheme, reference, energy_budget, mean (of the difference, seed by seed) and half_width_95.

    Raises:
        ValueError: only files are left.
    """
    if curves is None:
        raise ValueError(
            "figure.csv is not there, and table.csv does not hold the differences seed by seed; run the sweep again"
        )
    return [
        {
            "panel": panel,
            "scheme": scheme,
            "reference": reference,
            "energy_budget": budget,
            "mean": mean,
            "half_width_95": half,
        }
        for panel, pairs in panels.items()
        for scheme, reference in pairs.items()
        for budget, mean, half in _paired(curves.get(scheme, []), curves.get(reference, []))
    ]


def _paired(points: Sequence[Point], reference: Sequence[Point]) -> list[tuple[float, float, float]]:
    """(budget, mean difference, half width of its interval); NaN at a budget where a seed diverged or a run failed."""
    rows = []
    by_budget = {point.energy_budget: point for point in reference}
    for point in points:
        other = by_budget.get(point.energy_budget)
        if other is None or not (math.isfinite(point.mean) and math.isfinite(other.mean)):
            rows.append((point.energy_budget, math.nan, math.nan))
            continue
        difference = [value - other.values[seed] for seed, value in point.values.items()]
        rows.append((point.energy_budget, float(np.mean(difference)), half_width(difference)))
    return rows


def _differences(
    sweep: Sweep,
    panels: dict[str, dict[str, str]],
    rows: Sequence[Row],
    published: Sequence[Row],
    apart: bool,
    path: Path,
    title: str,
) -> Figure:
    """Metric of schemes minus that of their references, seed by seed; one panel each, published ones below if apart."""
    apart = apart and bool(published)
    figure = Figure(figsize=(5.6 * len(panels), 8.8 if apart else 5.2), layout="constrained")
    grid = figure.subplots(2 if apart else 1, len(panels), squeeze=False, sharex="row", sharey="row")
    values = {(row["scheme"], row["power"]): row["value"] for row in published}
    for column, (name, pairs) in enumerate(panels.items()):
        own, theirs = grid[0, column], grid[-1, column]
        series = []
        for number, (scheme, reference) in enumerate(pairs.items()):
            aside = 0.25 * (number - (len(pairs) - 1) / 2)  # dB, so that bars do not hide each other
            mine = [
                row | {"power_db": 10 * math.log10(row["energy_budget"]) + aside}
                for row in rows
                if (row["panel"], row["scheme"], row["reference"]) == (name, scheme, reference)
            ]
            series.append(_series(mine, "power_db", "mean", {"capsize": 2, "label": scheme} | style_of(number)))
            shared = [p for (which, p) in values if which == scheme and (reference, p) in values]
            difference = [values[scheme, power] - values[reference, power] for power in shared]
            _dashed(theirs, [10 * math.log10(power) for power in shared], difference, number, f"{scheme}, published")
        draw_series(own, series)
        _note_gaps(own, [mean for one in series for mean in one.mean])
        for axes in dict.fromkeys((own, theirs)):
            _around_zero(axes)
        own.set_title(f"{name}: {over_seeds(len(sweep.seeds), ', paired')}", fontsize="medium")
        if apart:
            theirs.set_title(f"{name}: published, another task, no interval given", fontsize="medium")
    for axes in grid[:, 0]:
        axes.set_ylabel(f"test {sweep.metric}, minus the reference's")
    headline(figure, f"{title}\npoints set apart sideways")
    return save(figure, path)


def _around_zero(axes: Axes) -> None:
    """Dress a panel of differences."""
    axes.axhline(0, color=GREY, lw=1.2)
    axes.set_xlabel(BUDGET_SHORT)
    axes.grid(alpha=0.25)
    legend_below(axes)
    readable(axes)


def _axes_pair(apart: bool, title: str, measured: str) -> tuple[Axes, Axes]:
    """Axes for measured and for published curves: the same ones, or two beside each other."""
    figure = Figure(figsize=(11 if apart else 6.4, 5.0), layout="constrained")
    headline(figure, title)
    own, theirs = figure.subplots(1, 2) if apart else [figure.subplots()] * 2
    own.set_title(measured, fontsize="medium")
    if not apart:
        return own, own
    theirs.set_title("published, another task: no interval given", fontsize="medium")
    return own, theirs


def _dashed(axes: Axes, x: Sequence[float], y: Sequence[float], number: int, label: str) -> None:
    if len(x):
        axes.plot(x, y, ls="--", lw=1.2, mfc="none", ms=5, alpha=0.75, label=label, **style_of(number))


def _finish(own: Axes, theirs: Axes, path: Path, columns: int = 2) -> Figure:
    for axes in dict.fromkeys((own, theirs)):
        axes.grid(alpha=0.25)
        legend_below(axes, columns)
        readable(axes)
    figure = own.get_figure()
    assert isinstance(figure, Figure)
    return save(figure, path)


def plot_spectrum(rows: Sequence[Row], published: Sequence[Row], apart: bool, path: Path, title: str) -> Figure:
    """Moving averages (mean over seeds with its band) and shares (dots) by layer, published curves dashed."""
    seeds = {row["seed"] for row in rows}
    measured = f"dots: each epoch; lines: average so far,\n{over_seeds(len(seeds))}"
    own, theirs = _axes_pair(apart and bool(published), title, measured)
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    for number, layer in enumerate(layers):
        mine = [row for row in rows if row["layer"] == layer]
        epochs = sorted({row["epoch"] for row in mine})
        averages = [[row["average"] for row in mine if row["epoch"] == epoch] for epoch in epochs]
        mean, half = np.array([np.mean(a) for a in averages]), np.array([half_width(a) for a in averages])
        colour = style_of(number)["color"]
        own.plot([row["epoch"] for row in mine], [row["share"] for row in mine], ".", ms=3, alpha=0.35, color=colour)
        own.plot(epochs, mean, color=colour, label=layer)
        own.fill_between(epochs, mean - half, mean + half, color=colour, alpha=0.2, lw=0)
    for number, (series, layer) in enumerate(dict.fromkeys((row["series"], row["scheme"]) for row in published)):
        mine = [row for row in published if row["series"] == series]
        place = layers.index(layer) if not apart and layer in layers else number
        x, y = [row["epoch"] for row in mine], [row["value"] for row in mine]
        theirs.plot(x, y, "--", lw=1.2, color=style_of(place)["color"], label=f"{series}, published")
    for axes in dict.fromkeys((own, theirs)):
        axes.set_xlabel("epoch")
        axes.set_ylabel("share of the energy")
        axes.set_ylim(0, 1.03)
    return _finish(own, theirs, path, columns=1)


def plot_communication(rows: Sequence[Row], path: Path, title: str) -> Figure:
    """Megabytes of each scheme as bars on a log scale, published ones as marks; counted, so that nothing is uncertain."""
    figure = Figure(figsize=(7, 1.2 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    heights = list(range(len(rows)))[::-1]
    sizes = [row["megabytes"] for row in rows]
    there = [(height, row["megabytes_published"]) for height, row in zip(heights, rows, strict=True) if _is_number(row)]
    axes.barh(heights, sizes, color=style_of(0)["color"], height=0.6, label="counted")
    if there:
        axes.plot([x for _, x in there], [y for y, _ in there], "D", color=style_of(1)["color"], ms=6, label="published")
    axes.set_xscale("log")
    axes.set_xlim(left=min([*sizes, *(x for _, x in there)]) / 2)
    ticks_at(axes.yaxis, heights, [str(row["scheme"]) for row in rows])
    axes.set_xlabel("megabytes per device and round, if sent digitally")
    headline(figure, title)
    axes.grid(alpha=0.25, axis="x")
    if there:
        legend_below(axes)
    readable(axes)
    return save(figure, path)


def _is_number(row: Row) -> bool:
    return isinstance(row.get("megabytes_published"), int | float)
