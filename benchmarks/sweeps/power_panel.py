"""A panel of a sweep's picture: the power needed for each target, with its interval as a band."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from laser_wireless.benchmarks.picture import over_seeds, seeds_in, sentence, style_of
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.sweep import Sweep

_SHADE, _SHADES = 0.18, 0.8  # opacity of a band, and most of all bands together
_MARGIN = 0.06


def has_power_intervals(rows: Sequence[Row]) -> bool:
    """Whether rows of savings.csv hold finite intervals of the power needed."""
    return any(math.isfinite(row[name]) for row in rows for name in ("power_low", "power_high") if name in row)


def plot_needed_power(axes: Axes, sweep: Sweep, rows: Sequence[Row]) -> None:
    """Draw the power needed against the target; triangles at the rim where it lies beyond the budgets.

    Args:
        axes: to draw into.
        sweep: what was compared.
        rows: of savings.csv; without power_low and power_high there are no bands; infinite ones run to the rim.
    """
    known = [row for row in rows if not math.isnan(row["power_db"])]
    floor, top = _range_of(known)
    shade = min(_SHADE, _SHADES / len(sweep.schemes))
    for number, scheme in enumerate(sweep.schemes):
        mine = sorted((row for row in known if row["scheme"] == scheme), key=lambda row: row["target"])
        targets = [row["target"] for row in mine]
        ends = ([float(row.get(name, math.nan)) for row in mine] for name in ("power_low", "power_high"))
        low, high = (np.clip(end, floor, top) for end in ends)
        look = style_of(number)
        powers = [row["power_db"] if math.isfinite(row["power_db"]) else math.nan for row in mine]
        axes.plot(targets, powers, ms=5, label=scheme, **look)
        axes.fill_between(targets, low, high, color=look["color"], alpha=shade, lw=0)
    if any(math.isfinite(row["power_db"]) for row in known):
        axes.set_ylim(floor, top)
    _mark_beyond(axes, sweep, known)
    axes.set_xlabel(f"target test {sweep.metric}")
    lost = "\ntriangles: beyond the budgets" if any(math.isinf(row["power_db"]) for row in known) else ""
    shaded = over_seeds(seeds_in(sweep.seeds, rows)) if has_power_intervals(rows) else "of the mean curves, no interval"
    axes.set_title(f"{shaded}{lost}", fontsize="medium")
    if not any(math.isfinite(row["power_db"]) for row in known):
        sentence(axes, "no target is seen to be reached\nwithin these budgets")
        return
    axes.set_ylabel("power needed, 10 log10 P [dB]")
    if sweep.higher_is_better:
        axes.invert_xaxis()  # hard targets at the left, as for losses


def _range_of(rows: Sequence[Row]) -> tuple[float, float]:
    """Of the panel: all finite powers and ends of intervals, with a margin; a band that has no end there runs to the rim."""
    names = ("power_db", "power_low", "power_high")
    values = [row[name] for row in rows for name in names if name in row and math.isfinite(row[name])]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = _MARGIN * (high - low) or 1.0
    return low - margin, high + margin


def _mark_beyond(axes: Axes, sweep: Sweep, rows: Sequence[Row]) -> None:
    """Triangles at the upper rim where the highest budget does not do, at the lower one where the lowest is too much."""
    taken: Counter[tuple[float, float]] = Counter()
    schemes = list(sweep.schemes)
    for row in rows:
        target, power = row["target"], row["power_db"]
        if not math.isinf(power) or row["scheme"] not in schemes:
            continue
        step = 0.04 + 0.055 * taken[target, power]
        taken[target, power] += 1
        mark, height = ("^", 1 - step) if power > 0 else ("v", step)
        look = {"color": style_of(schemes.index(row["scheme"]))["color"], "mfc": "none", "ms": 6, "ls": ""}
        axes.plot([target], [height], mark, transform=axes.get_xaxis_transform(), **look)
