"""What all pictures share: styles, ticks that can be read, bars that say what they are, files that are the same to the byte.

Every bar and band is a 95 % interval of a mean. On a log axis a bar whose lower end lies at or near zero runs to the rim
of the panel, without a cap, and does not stretch the axis. Matplotlib is imported by the modules that draw alone.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis, YAxis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import Formatter, Locator, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]
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
    "#7f3fbf",
    "#8c564b",
    "#117733",
)
MARKERS = "osD^vPX*h<p>"
GREY = "0.35"
_MOST_TICKS, _ENOUGH_TICKS = 10, {"linear": 5, "log": 4}
_FAR_BELOW = 3.0  # on a log axis, a bar goes down to this fraction of the lowest mean before the rim cuts it


def style_of(number: int) -> dict[str, Any]:
    """Colour and marker of the curve of that number; when colours come again, they do with other markers."""
    turn = number // len(COLOURS)
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[(number + turn) % len(MARKERS)]}


def over_seeds(num_seeds: int | tuple[int, int], more: str = "") -> str:
    """What points and bars are, in the words of every picture of runs over seeds: so many, or from so many to so many."""
    least, most = (num_seeds, num_seeds) if isinstance(num_seeds, int) else num_seeds
    if most < 2:
        return "one seed: no interval"
    return f"mean and 95 % interval over {least if least == most else f'{least} to {most}'} seeds{more}"


def seeds_in(seeds: Sequence[int], rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Fewest and most seeds behind rows of table.csv or savings.csv; those of the sweep where the rows do not say."""
    counts = [int(row["seeds"]) for row in rows if row.get("seeds", 0) > 0] or [len(seeds)]
    return min(counts), max(counts)


@dataclass(frozen=True)
class Series:
    """A curve with its intervals; NaN where there is none, which breaks the line. look: arguments of `Axes.errorbar`."""

    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    look: dict[str, Any] = field(default_factory=dict)


def draw_series(axes: Axes, series: Sequence[Series], *, logarithmic: bool = False, levels: Sequence[Series] = ()) -> None:
    """Draw curves with bars into one panel; on a log axis what is not positive has no place.

    Args:
        axes: to draw into; its vertical scale is set.
        series: the curves; values that are not finite are left out.
        logarithmic: whether the vertical axis is.
        levels: single means that hold all along the horizontal axis, each drawn as a line with a band.
    """
    means = [mean for one in (*series, *levels) for mean in one.mean if _fits(mean, logarithmic)]
    rim = min(means, default=1.0) / _FAR_BELOW if logarithmic else -math.inf
    beyond = rim / 2 if logarithmic else rim  # so that no cap is drawn on the rim
    for one in series:
        mean = np.array([value if _fits(value, logarithmic) else math.nan for value in one.mean])
        around = np.stack([mean - np.maximum(one.low, beyond), np.array(one.high, dtype=float) - mean])
        around = np.where(np.isfinite(around), np.maximum(around, 0), math.nan)
        around[:, np.isfinite(around).any(0)] = np.nan_to_num(around[:, np.isfinite(around).any(0)])  # a bar to one side
        axes.errorbar(one.x, mean, around, **({"capsize": 3, "ms": 5} | one.look))
    for level in levels:
        axes.axhline(level.mean[0], **level.look)
        if math.isfinite(level.low[0]):
            axes.axhspan(max(level.low[0], beyond), level.high[0], color=level.look["color"], alpha=0.12, lw=0)
    if logarithmic:
        axes.set_yscale("log")
    if any(low < rim for one in (*series, *levels) for low in one.low):
        axes.set_ylim(bottom=rim)


def can_be_logarithmic(values: Sequence[float]) -> bool:
    """Whether there are finite values and all of them are positive."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0


def _fits(value: float, logarithmic: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not logarithmic)


def sentence(axes: Axes, text: str) -> None:
    """Say in an empty panel why it is empty, in place of ticks."""
    for axis in (axes.xaxis, axes.yaxis):
        if not _has_data(axis):
            axis.set_major_locator(NullLocator())
            axis.set_minor_locator(NullLocator())
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axes.transAxes)


def _has_data(axis: Axis) -> bool:
    return bool(np.isfinite(axis.get_data_interval()).all())


def readable(axes: Axes) -> None:
    """Give both axes round ticks with labels that do not overlap, at least two over the range of the data."""
    for axis in (axes.xaxis, axes.yaxis):
        if isinstance(axis.get_major_locator(), NullLocator | _At):
            continue
        axis.set_major_locator(_Round())
        axis.set_major_formatter(_Labels())
        if axis.get_scale() == "linear":
            axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())


def ticks_at(axis: Axis, positions: Sequence[float], labels: Sequence[str] | None = None) -> None:
    """Put ticks at these places, with these labels or their numbers; so many of them as have room."""
    named = labels or plain(positions)
    axis.set_major_locator(_At(positions, named))
    axis.set_major_formatter(_Named(dict(zip(positions, named, strict=True))))
    axis.set_minor_locator(NullLocator())


def plain(values: Sequence[float]) -> list[str]:
    """Numbers with as many digits as tell them apart; far from 1, as powers of ten."""
    given = [float(value) + 0.0 for value in values]
    sizes = [abs(value) for value in given if value]
    if not sizes:
        return ["0"] * len(given)
    step = min([*np.diff(sorted(set(given))), *sizes[:1]], default=sizes[0])
    digits = next((d for d in range(15) if all(abs(float(f"{v:.{d}e}") - v) < 1e-3 * abs(step) for v in given)), 15)
    if max(sizes) < 1e5 and (min(sizes) >= 1e-3 or step >= 1e-3):
        return [_minus(np.format_float_positional(float(f"{value:.{digits}e}"), trim="-")) for value in given]
    parts = [f"{value:.{digits}e}".split("e") for value in given]
    return [_power(*part) for part in parts]


def _minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def _power(mantissa: str, exponent: str) -> str:
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    if float(mantissa) == 0:
        return "0"
    power = f"10^{{{int(exponent)}}}"
    times = {"1": "", "-1": "-"}.get(mantissa, rf"{mantissa}\times ")
    return f"${times}{power}$"


class _Labels(Formatter):
    """Numbers as `plain` writes them."""

    def format_ticks(self, values: Any) -> list[str]:
        return plain(values)

    def __call__(self, x: float, pos: int | None = None) -> str:
        return plain([x])[0]


class _Named(Formatter):
    """Names by place."""

    def __init__(self, names: dict[float, str]) -> None:
        self._names = names

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self._names.get(x, "")


class _Roomy(Locator):
    """Ticks whose labels have room beside each other."""

    axis: Axis
    _latest: tuple[tuple[float, ...], Any] = ((), None)  # a drawing asks many times for the same ticks

    def __call__(self) -> Any:
        view, box = self.axis.get_view_interval(), self.axis.axes.bbox
        asked = (*view, *self.axis.get_data_interval(), box.width, box.height)
        if asked != self._latest[0]:
            self._latest = asked, self.tick_values(*view)
        return self._latest[1]

    def nonsingular(self, v0: float, v1: float) -> tuple[float, float]:
        """Widen a view of a single value, on a log axis by decades."""
        if self.axis.get_scale() != "log":
            return super().nonsingular(v0, v1)
        usual = LogLocator()
        usual.set_axis(self.axis)
        return usual.nonsingular(v0, v1)

    def _have_room(self, ticks: Sequence[float], labels: Sequence[str]) -> bool:
        """Whether labels at these places stay apart, by the length of the axis and the size of its letters."""
        upright = isinstance(self.axis, YAxis)
        axes, box = self.axis.axes, self.axis.axes.bbox
        size = rcParams["ytick.labelsize"] if upright else rcParams["xtick.labelsize"]
        letter = FontProperties(size=size).get_size_in_points()
        ends = self.axis.get_transform().transform(np.array([*self.axis.get_view_interval(), *ticks], dtype=float))
        length = (box.height if upright else box.width) * 72 / axes.figure.dpi
        places = (ends[2:] - ends[0]) / (ends[1] - ends[0]) * length
        if upright:
            return bool((np.abs(np.diff(places)) >= 1.4 * letter).all())
        widths = np.array([0.62 * letter * _letters(label) for label in labels])
        return bool((np.abs(np.diff(places)) >= (widths[1:] + widths[:-1]) / 2 + 0.6 * letter).all())


class _At(_Roomy):
    """Given places, or every second of them, every third and so on, as there is room."""

    def __init__(self, positions: Sequence[float], labels: Sequence[str]) -> None:
        self._places = sorted(zip(positions, labels, strict=True))

    def tick_values(self, vmin: float, vmax: float) -> Any:
        count = len(self._places)
        for every in range(1, count):
            positions, labels = zip(*self._places[::every], strict=True)
            if self._have_room(positions, labels):
                return np.array(positions)
        return np.array([self._places[0][0], self._places[-1][0]][: min(2, count)])


class _Round(_Roomy):
    """Round numbers: on a log axis decades or parts of them, on a linear one multiples of 1, 2, 2.5 and 5."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        low, high = sorted((float(vmin), float(vmax)))
        if not math.isfinite(low) or not math.isfinite(high) or low == high:
            return np.array([])
        choices = [*(_log_steps(low, high) if self.axis.get_scale() == "log" else ()), *_linear_steps(low, high)]
        fitting = [ticks for ticks in choices if 2 <= len(ticks) <= _MOST_TICKS and self._have_room(ticks, plain(ticks))]
        return np.array(max(fitting, key=self._worth, default=[low, high]))

    def _worth(self, ticks: Sequence[float]) -> tuple[int, int]:
        """Two ticks within the data count most, then that there are a few: the first such list, the roundest, is taken."""
        return min(2, self._num_within_data(ticks)), min(_ENOUGH_TICKS.get(self.axis.get_scale(), 5), len(ticks))

    def _num_within_data(self, ticks: Sequence[float]) -> int:
        low, high = self.axis.get_data_interval()
        if not (math.isfinite(low) and math.isfinite(high)):
            return len(ticks)
        slack = 1e-9 * abs(high - low)
        return sum(low - slack <= tick <= high + slack for tick in ticks)


def _linear_steps(low: float, high: float) -> Iterator[list[float]]:
    """Multiples of round steps, from wide to narrow ones; of 2.5 last."""
    largest = math.floor(math.log10(high - low)) + 1
    exponents = range(largest, largest - 4, -1)
    for exponent in exponents:
        for mantissa in (5.0, 2.0, 1.0):
            yield _multiples(low, high, mantissa, exponent)
    for exponent in exponents:
        yield _multiples(low, high, 2.5, exponent)


def _multiples(low: float, high: float, mantissa: float, exponent: int) -> list[float]:
    step = mantissa * 10.0**exponent
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > 2 * _MOST_TICKS:
        return []
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _log_steps(low: float, high: float) -> Iterator[list[float]]:
    """Every n-th decade, then parts of a decade."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for every in range(max(1, last - first), 0, -1):
        yield [10.0**e for e in range(first, last + 1) if e % every == 0 and low <= 10.0**e <= high]
    if last - first > _MOST_TICKS:
        return
    for parts in ((1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)):
        ticks = [float(f"{part * 10.0**e:.12g}") for e in range(first, last + 1) for part in parts]
        yield [tick for tick in ticks if low <= tick <= high]


def _letters(label: str) -> float:
    """Letters of a label's width; an exponent is small."""
    label = re.sub(r"\\times ", "xxx", label.replace("$", ""))
    found = re.fullmatch(r"(.*)\^\{(.*)\}", label)
    return len(label) if found is None else len(found[1]) + 0.7 * len(found[2])


def save(figure: Figure, path: Path, *, image: bool = False) -> Figure:
    """Write a figure as PDF and PNG beside each other, without dates: the same figure gives the same bytes.

    The PNG is small: one without an image has 256 colours, one with an image fewer dots.
    """
    figure.savefig(path.with_suffix(".pdf"), dpi=150, metadata={"CreationDate": None})
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=96 if image else 150)
    picture = Image.open(drawn).convert("RGB")
    if not image:
        picture = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    picture.save(path.with_suffix(".png"), optimize=True)
    return figure


def legend_below(axes: Axes, columns: int = 2, lines: int = 1) -> None:
    """Put the legend of a panel under it, where it hides nothing; `lines` are those of the label of its x axis."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            borderaxespad=3.2 + 1.6 * lines,
            ncols=columns,
            columnspacing=1.2,
            frameon=False,
            fontsize="small",
        )


def headline(figure: Figure, title: str) -> None:
    """Write a title over a figure, in lines as long as it is wide."""
    lines = [textwrap.fill(line, int(12 * figure.get_figwidth())) for line in title.splitlines()]
    figure.suptitle("\n".join(lines), fontsize="medium")
