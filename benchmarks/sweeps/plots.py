"""The picture of a sweep, from the rows of its tables alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from laser_wireless.benchmarks.intervals import reach_of
from laser_wireless.benchmarks.picture import (
    GREY,
    Series,
    can_be_logarithmic,
    draw_series,
    headline,
    over_seeds,
    readable,
    save,
    seeds_in,
    sentence,
    style_of,
    ticks_at,
)
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.candidates import NOISELESS, grid_of
from laser_wireless.benchmarks.sweeps.power_panel import has_power_intervals, plot_needed_power
from laser_wireless.benchmarks.sweeps.sweep import Z_SGD, Sweep

_MANY = 4  # schemes; more of them have their legend beside the picture
_LEGEND = "small"
_ASIDE = 0.005  # of the range of budgets, by which curves are set apart so that bars do not hide each other

BUDGET_SHORT = "10 log10(P / noise variance) [dB]"
BUDGET_AXIS = f"energy budget P per device and round, {BUDGET_SHORT}"


@dataclass(frozen=True)
class Dot:
    """A scheme at one budget: mean over seeds, half its 95 % interval (NaN without one), and how many runs failed."""

    energy_budget: float
    mean: float
    half: float
    failed: int

    @property
    def power_db(self) -> float:
        """The budget in dB."""
        return 10 * math.log10(self.energy_budget)


def dots_of(sweep: Sweep, table: Sequence[Row], scheme: str) -> list[Dot]:
    """A scheme's curve, by rising budget, from the rows of table.csv, also of one without half widths or failed runs."""
    suffix = sweep.result_suffix
    dots = []
    for row in table:
        if row["scheme"] == scheme:
            name = f"half_width_95{suffix}"
            half = row[name] if name in row else reach_of(row["seeds"]) * row[f"standard_error{suffix}"]
            dots.append(Dot(row["energy_budget"], row[f"test_{sweep.metric}{suffix}"], half, row.get("failed", 0)))
    return sorted(dots, key=lambda dot: dot.energy_budget)


def plot_sweep(
    sweep: Sweep,
    table: Sequence[Row],
    saved: Sequence[Row],
    path: Path,
    title: str,
    published: Sequence[Row] = (),
    apart: bool = False,
) -> Figure:
    """Draw metric against budget, and the saving against the target; as PNG and PDF beside each other.

    Rows of savings.csv that hold intervals of the power needed (power_low, power_high) have it drawn against the target too.

    Args:
        sweep: what was compared.
        table: rows of table.csv.
        saved: rows of savings.csv.
        path: of the picture, without its kind.
        title: above the picture.
        published: rows with scheme, power and value, drawn dashed.
        apart: draw them in a panel of their own.
    """
    many = len(sweep.schemes) > _MANY
    alone, powers = apart and bool(published), has_power_intervals(saved)
    width = (13 if many else 10.5) + 5 * alone + 4 * powers
    figure = Figure(figsize=(width, 4.8 if many else 5.2), layout="constrained")
    ratios = (1.45, *([1.2] * alone), *([1] * powers), 1)
    left, *middle, right = figure.subplots(1, len(ratios), width_ratios=ratios)
    plot_curves(left, sweep, table, () if alone else published)
    if alone:
        _plot_published_alone(middle[0], sweep, published)
    if powers:
        plot_needed_power(middle[-1], sweep, saved)
    plot_savings(right, sweep, saved)
    for axes in (left, *middle, right):
        axes.grid(alpha=0.25)
        readable(axes)
    headline(figure, title)
    place = {"loc": "outside right center"} if many else {"loc": "outside lower center", "ncols": 3 + alone}
    figure.legend(*left.get_legend_handles_labels(), frameon=False, fontsize=_LEGEND, **place)
    return save(figure, path)


def plot_curves(axes: Axes, sweep: Sweep, table: Sequence[Row], published: Sequence[Row]) -> None:
    """Each scheme's mean with its interval over seeds; marks at the rim where it diverged, or where runs failed."""
    curves = {scheme: dots for scheme in sweep.schemes if (dots := dots_of(sweep, table, scheme))}
    free = [dot for dot in dots_of(sweep, table, NOISELESS) if math.isfinite(dot.mean)]
    means = [dot.mean for dots in (*curves.values(), free) for dot in dots] + [row["value"] for row in published]
    budgets = [dot.power_db for dots in curves.values() for dot in dots]
    step = _ASIDE * (max(budgets, default=0) - min(budgets, default=0))
    series = []
    for name, dots in curves.items():
        place = list(sweep.schemes).index(name)
        aside = step * (place - (len(sweep.schemes) - 1) / 2)
        series.append(_series(dots, aside, style_of(place) | {"label": name}))
    levels = [_noiseless(sweep, dot) for dot in free[-1:]]
    draw_series(axes, series, logarithmic=not sweep.higher_is_better and can_be_logarithmic(means), levels=levels)
    _plot_published(axes, sweep, published)
    _mark_rim(axes, sweep, curves)
    if not any(math.isfinite(value) for value in means):
        lost = sum(bool(dot.failed) for dots in curves.values() for dot in dots)
        what = "every run diverged" if not lost else "runs diverged or failed at every budget"
        sentence(axes, f"{what}:\nno finite test {sweep.metric} to show")
    axes.set_xlabel(BUDGET_AXIS)
    axes.set_ylabel(f"test {sweep.metric}")
    apart = ", set apart sideways" if step and len(curves) > 1 else ""
    axes.set_title(over_seeds(seeds_in(sweep.seeds, table)) + apart, fontsize="medium")


def _series(dots: Sequence[Dot], aside: float, look: dict[str, object]) -> Series:
    return Series(
        [dot.power_db + aside for dot in dots],
        [dot.mean for dot in dots],
        [dot.mean - dot.half for dot in dots],
        [dot.mean + dot.half for dot in dots],
        look,
    )


def _noiseless(sweep: Sweep, dot: Dot) -> Series:
    """The line without noise and its interval, under a name that says what it is."""
    own = grid_of(sweep.learning_rates, NOISELESS)
    alike = [scheme for scheme in sweep.schemes if grid_of(sweep.learning_rates, scheme) == own]
    grid = "z-sgd's grid" if Z_SGD in alike else "a grid of its own"
    grid = "the same grid" if len(alike) == len(sweep.schemes) else grid
    name = f"no noise: z-sgd, tuned on {grid}\n(a finite run, no bound)"
    return _series([dot], 0, {"color": GREY, "ls": "--", "lw": 1.2, "label": name})


def _mark_rim(axes: Axes, sweep: Sweep, curves: dict[str, list[Dot]]) -> None:
    """Crosses where a scheme diverged and hollow squares where its runs failed, at the rim of the bad side."""
    taken: Counter[float] = Counter()
    kinds = {
        "x": "a seed diverged at every candidate",
        "s": "runs failed: a missing budget,\nnothing is concluded across it",
    }
    used = set()
    for name, dots in curves.items():
        for dot in dots:
            if math.isfinite(dot.mean):
                continue
            height = 0.035 + 0.055 * taken[dot.power_db]
            taken[dot.power_db] += 1
            mark = "s" if dot.failed else "x"
            used.add(mark)
            axes.plot(
                [dot.power_db],
                [height if sweep.higher_is_better else 1 - height],
                mark,
                color=style_of(list(sweep.schemes).index(name))["color"],
                mfc="none",
                ms=7,
                transform=axes.get_xaxis_transform(),
            )
    for mark in sorted(used, reverse=True):
        axes.plot([], [], mark, color=GREY, mfc="none", ms=7, label=kinds[mark])


def _plot_published(axes: Axes, sweep: Sweep, published: Sequence[Row]) -> None:
    """Published curves, dashed and hollow, in the colours of the schemes that they belong to."""
    for number, scheme in enumerate(sweep.schemes):
        mine = [row for row in published if row["scheme"] == scheme]
        powers = [10 * math.log10(row["power"]) for row in mine]
        axes.plot(powers, [row["value"] for row in mine], ls="--", lw=1.2, mfc="none", ms=5, alpha=0.75, **style_of(number))
    for row in published:
        if row["scheme"] == NOISELESS:
            axes.axhline(row["value"], color=GREY, ls=":", lw=1.2)
    if published:
        axes.plot([], [], ls="--", marker="o", mfc="none", color=GREY, lw=1.2, ms=5, label="published, no interval")


def _plot_published_alone(axes: Axes, sweep: Sweep, published: Sequence[Row]) -> None:
    _plot_published(axes, sweep, published)
    if not sweep.higher_is_better and can_be_logarithmic([row["value"] for row in published]):
        axes.set_yscale("log")
    axes.set_title("published, another task: no interval given", fontsize="medium")
    axes.set_xlabel(BUDGET_SHORT)
    axes.set_ylabel(sweep.metric)


def plot_savings(axes: Axes, sweep: Sweep, rows: Sequence[Row]) -> None:
    """Power saved against the reference for each target: lines over the targets, or side by side for many schemes."""
    many = len(sweep.schemes) > _MANY
    reference = reference_of(sweep, rows)
    targets = list(dict.fromkeys(row["target"] for row in rows))
    others = [row for row in rows if row["scheme"] != reference]
    shown = [row for row in others if math.isfinite(row["saving_db"])]
    unknown = sum("not known" in row["note"] for row in others)
    step = _ASIDE * 2 * (max(targets, default=0) - min(targets, default=0))
    series = []
    for number, scheme in enumerate(sweep.schemes):
        mine = [row for row in shown if row["scheme"] == scheme]
        place = number - (len(sweep.schemes) - 1) / 2
        aside = place / (len(sweep.schemes) + 1)
        x = [targets.index(row["target"]) + aside if many else row["target"] + step * place for row in mine]
        saving, low, high = ([row[name] for row in mine] for name in ("saving_db", "low", "high"))
        series.append(Series(x, saving, low, high, look={"ls": "" if many else "-"} | style_of(number)))
    draw_series(axes, [one for one in series if one.x])
    axes.set_xlabel(f"target test {sweep.metric}")
    title, lost = over_seeds(seeds_in(sweep.seeds, rows), ", paired"), len(others) - len(shown)
    if _draw_open_ends(axes, series):
        title += "\ndotted: open, a power may lie beyond the budgets"
    if lost:
        why = f", {unknown} since runs failed" if unknown else ""
        title += f"\n{lost} of {len(others)} not there{why}"
    axes.set_title(title, fontsize="medium")
    if not shown:
        sentence(axes, _why_empty(rows, reference, unknown))
        return
    axes.axhline(0, color=GREY, lw=1.2)
    axes.set_ylabel(f"power saved against {reference} [dB]")
    if many:
        ticks_at(axes.xaxis, range(len(targets)), [f"{target:g}" for target in targets])
        axes.set_xlim(-0.6, len(targets) - 0.4)
    elif sweep.higher_is_better:
        axes.invert_xaxis()  # hard targets at the left, as for losses


def _draw_open_ends(axes: Axes, series: Sequence[Series]) -> bool:
    """Dotted lines to the rim where an interval has no end there; whether there are any."""
    floor, top = axes.get_ylim()
    ends = [
        (x, mean, rim, one.look["color"])
        for one in series
        for x, mean, low, high in zip(one.x, one.mean, one.low, one.high, strict=True)
        for end, rim in ((low, floor), (high, top))
        if math.isinf(end)
    ]
    for x, mean, rim, color in ends:
        axes.plot([x, x], [mean, rim], ls=":", lw=1.2, color=color)
    axes.set_ylim(floor, top)
    return bool(ends)


def reference_of(sweep: Sweep, rows: Sequence[Row]) -> str:
    """The scheme against which these rows count savings; it stands in them, for a sweep's own may have changed since."""
    named = [row.get("reference", row["scheme"]) for row in rows if "reference" in row or row["note"] == "reference"]
    return str(named[0]) if named else sweep.baseline


def _why_empty(rows: Sequence[Row], reference: str, unknown: int) -> str:
    if not rows:
        return "no target is passed by all curves,\nor by the reference's, within the budgets"
    if unknown:
        return f"no saving against {reference} is known:\nruns failed, see savings.csv"
    return f"no target is reached within the budgets\nboth by a scheme and by {reference}"
