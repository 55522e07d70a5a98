"""The picture of what each scheme needs for a target, in energy and in channel uses: which of them none beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from laser_wireless.benchmarks.picture import GREY, headline, over_seeds, readable, save, seeds_in, style_of
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.sweep import Sweep

_MOST = 4  # targets, beside each other


def has_front(rows: Sequence[Row]) -> bool:
    """Whether rows of savings.csv tell channel uses, and schemes differ in them: else there is nothing to trade."""
    return len({row["channel_uses"] for row in rows if _is_known(row)}) > 1


def plot_pareto(sweep: Sweep, rows: Sequence[Row], path: Path, title: str) -> Figure:
    """Energy actually spent at the needed power over channel uses, a panel for each target; as PNG and PDF.

    Args:
        sweep: what was compared.
        rows: of savings.csv.
        path: of the picture, without its kind.
        title: above the picture.
    """
    known = list(dict.fromkeys(row["target"] for row in rows if _is_known(row)))
    targets = [known[round(i)] for i in np.linspace(0, len(known) - 1, min(len(known), _MOST))]
    figure = Figure(figsize=(max(7.6, 2.2 + 3.2 * len(targets)), 4.6), layout="constrained")
    panels = figure.subplots(1, len(targets), squeeze=False, sharey=True)[0]
    for axes, target in zip(panels, targets, strict=True):
        _plot_target(axes, sweep, [row for row in rows if row["target"] == target])
        axes.set_title(f"test {sweep.metric} {target:g}", fontsize="medium")
        readable(axes)
    panels[0].set_ylabel("energy spent per device and round, 10 log10 [dB]")
    headline(
        figure, f"{title}\nat the needed power; bars: its {over_seeds(seeds_in(sweep.seeds, rows)).partition(' and ')[2]}"
    )
    handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), frameon=False, fontsize="small", loc="outside lower center", ncols=4)
    return save(figure, path)


def _plot_target(axes: Axes, sweep: Sweep, rows: Sequence[Row]) -> None:
    """Schemes as marks, with the interval of their needed power, and the front as steps."""
    known = [row for row in rows if _is_known(row)]
    for number, scheme in enumerate(sweep.schemes):
        for row in (row for row in known if row["scheme"] == scheme):
            sides = (row["power_db"] - row["power_low"], row["power_high"] - row["power_db"])
            bars = [[side if math.isfinite(side) else 0.0] for side in sides]  # an open side has no end to show
            look: dict[str, Any] = {"ls": "", "capsize": 3, "ms": 6, "label": scheme} | style_of(number)
            axes.errorbar(row["channel_uses"], row["spent_db"], bars, **look)
    uses, energy = zip(*sorted((row["channel_uses"], row["spent_db"]) for row in known if row["on_front"]), strict=True)
    axes.step(uses, energy, where="post", color=GREY, lw=1, ls="--", label="front: no scheme needs less of both", zorder=0)
    axes.set_xscale("log")
    axes.set_xlabel("channel uses per round")
    axes.grid(alpha=0.25)


def _is_known(row: Row) -> bool:
    return math.isfinite(row.get("channel_uses", math.nan)) and math.isfinite(row.get("spent_db", math.nan))
