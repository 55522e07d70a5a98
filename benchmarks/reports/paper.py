"""The pictures of a sweep as a paper prints them: IEEE's widths of one and of two columns, 8 pt serif, no titles.

One column: a picture for each panel, SWEEP-ieee1 such as curves-ieee1.pdf. Two columns: all panels beside each other in
sweep-ieee2. What a title says elsewhere belongs into the caption, which is given back. Drawn from the CSV files alone.
"""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.picture import readable, style_of
from laser_wireless.benchmarks.reports.sweep_folder import SweepFolder
from laser_wireless.benchmarks.reports.tables import intervals
from laser_wireless.benchmarks.sweeps.plots import BUDGET_SHORT, plot_curves, plot_savings
from laser_wireless.benchmarks.sweeps.power_panel import has_power_intervals, plot_needed_power

FORMATS = ("pdf", "png", "pgf")
_TEX = ("pdflatex", "xelatex", "lualatex")
_DPI = 600
_PANEL, _LEGEND_LINE, _LETTER = 2.3, 0.16, 0.05  # inches: height of a panel, of a line of the legend, width of its letters
_TALLEST = 36  # letters of a vertical name in one line
_SMALLER = 0.6  # markers and caps, against those of the screen
_LOOK: dict[str, Any] = {
    "font.family": "serif",
    "font.serif": ["STIXGeneral"],  # letters of Times' kind, which come with matplotlib
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "lines.linewidth": 1.0,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,  # letters as TrueType: IEEE refuses those of type 3
    "pgf.rcfonts": False,  # the document's own letters
}


class Paper(NamedTuple):
    """A style: width in inches, and whether all panels share a picture."""

    width: float
    together: bool


PAPERS = {"ieee1": Paper(3.5, together=False), "ieee2": Paper(7.16, together=True)}


def check_formats(text: str) -> tuple[str, ...]:
    """The formats that a list such as "pdf,pgf" names.

    Raises:
        BadConfiguration: an unknown one, or PGF without a TeX system.
    """
    formats = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if not set(formats) <= set(FORMATS):
        raise BadConfiguration(f"--formats must be of {', '.join(FORMATS)}, with commas between them, got {text!r}")
    if "pgf" in formats and not _tex():
        raise BadConfiguration(
            f"--formats pgf needs a TeX system, which measures its texts, and found none of {', '.join(_TEX)}: "
            "apt-get install texlive-latex-recommended texlive-pictures, or leave pgf out"
        )
    return formats


def draw_paper(found: SweepFolder, style: str, formats: Sequence[str]) -> tuple[list[str], str]:
    """Draw a sweep in one of the `PAPERS`.

    Args:
        found: the sweep.
        style: name of the paper.
        formats: of `FORMATS`.

    Returns:
        names of the files written into the sweep's folder, and words for the caption.

    Raises:
        BadConfiguration: TeX could not set the texts of a PGF.
    """
    paper = PAPERS[style]
    panels = {"curves": _curves, "power": _power, "savings": _savings}
    groups = {"sweep": list(panels.values())} if paper.together else {name: [panel] for name, panel in panels.items()}
    names = []
    with context(_LOOK | ({"pgf.texsystem": _tex()} if "pgf" in formats else {})):
        for name, drawn in groups.items():
            figure = _figure(found, paper.width, drawn)
            for kind in formats:
                names.append(f"{name}-{style}.{kind}")
                _save(figure, found.path / names[-1])
    return names, _caption(found)


def _caption(found: SweepFolder) -> str:
    """What titles say on the screen."""
    bars = "bars and bands" if has_power_intervals(found.savings) else "bars"
    said = [f"{bars}: {intervals(found)}", "points at one budget are set apart sideways"]
    if any(math.isinf(row["power_db"]) for row in found.savings):
        said.append("triangles: more than the highest, or less than the lowest budget is needed")
    unknown = sum(math.isnan(row["saving_db"]) for row in found.savings)
    if unknown:
        said.append(f"{unknown} of {len(found.savings)} savings are not known, see savings.csv")
    return "; ".join(said)


def _figure(found: SweepFolder, width: float, drawn: Sequence[Callable[[Axes, SweepFolder], None]]) -> Figure:
    figure = Figure(figsize=(width, _PANEL), layout="constrained")
    panels = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axes, draw in zip(panels, drawn, strict=True):
        draw(axes, found)
        axes.set_title("")
        axes.set_ylabel(textwrap.fill(axes.get_ylabel(), _TALLEST))
        axes.grid(alpha=0.25)
        for line in axes.lines:
            line.set_markersize(_SMALLER * line.get_markersize())
        readable(axes)
    handles, labels = _entries(panels)
    columns = _columns(labels, width)
    figure.set_figheight(_PANEL + _LEGEND_LINE * math.ceil(len(labels) / columns))
    place: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "columnspacing": 1.0, "handlelength": 1.8}
    figure.legend(handles, labels, frameon=False, **place)
    return figure


def _curves(axes: Axes, found: SweepFolder) -> None:
    plot_curves(axes, found.sweep, found.table, ())
    axes.set_xlabel(BUDGET_SHORT)


def _power(axes: Axes, found: SweepFolder) -> None:
    plot_needed_power(axes, found.sweep, found.savings)


def _savings(axes: Axes, found: SweepFolder) -> None:
    plot_savings(axes, found.sweep, found.savings)
    for number, scheme in enumerate(found.sweep.schemes):
        axes.plot([], [], ms=5, label=scheme, **style_of(number))


def _entries(panels: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    """The legend of the first panel that has one, or of its sweep's schemes, in the first words of each."""
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        if labels:
            return handles, [label.partition(":")[0].partition("\n")[0] for label in labels]
    return [], []


def _columns(labels: Sequence[str], width: float) -> int:
    """How many entries of a legend have room beside each other."""
    longest = max(map(len, labels), default=1)
    return max(1, min(len(labels), int(width / (_LETTER * longest + 0.45))))


def _save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of its name, without a date."""
    options: dict[str, Any] = {"metadata": {"CreationDate": None}} if path.suffix == ".pdf" else {}
    try:
        figure.savefig(path, dpi=_DPI, **options)
    except RuntimeError as error:
        if path.suffix != ".pgf":
            raise
        raise BadConfiguration(
            f"{path}: {rcParams['pgf.texsystem']} could not set the texts: {error}; "
            "apt-get install texlive-latex-recommended texlive-pictures, or leave pgf out of --formats"
        ) from error


def _tex() -> str | None:
    return next(filter(shutil.which, _TEX), None)
