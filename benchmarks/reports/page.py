"""A sweep as one page of HTML that needs nothing beside itself: neither a network nor a library.

The page holds its numbers as JSON, its style and its script, the files in `browser/`. Its policy allows that script alone,
by its digest, and no request; texts of users stand in the JSON and become text nodes.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from pathlib import Path
from string import Template
from typing import Any

from laser_wireless.benchmarks.picture import style_of
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.reports.curves import metrics_of, points_of
from laser_wireless.benchmarks.reports.night_colours import by_night
from laser_wireless.benchmarks.reports.runs import runs_of
from laser_wireless.benchmarks.reports.sweep_folder import SweepFolder
from laser_wireless.benchmarks.reports.tables import Table, answers, intervals, results_table, savings_table, schemes_of
from laser_wireless.benchmarks.sweeps.candidates import NOISELESS
from laser_wireless.benchmarks.sweeps.plots import reference_of
from laser_wireless.benchmarks.sweeps.report import protocol

_FILES = Path(__file__).parent / "browser"
_DRAWING = ("elements.js", "scales.js", "marks.js", "chart.js", "curves.js", "pointer.js", "table.js")
_SCRIPTS = (*_DRAWING, "results.js", "power.js", "convergence.js", "page.js")  # in the order of their needs
_DIGITS = 6  # significant ones of a number in the page; the CSV files have them all


def page_of(found: SweepFolder) -> str:
    """The text of the page.

    Raises:
        ValueError: a file of a run is damaged; it is named.
    """
    style, script = (_FILES / "page.css").read_text(encoding="utf-8"), "\n".join(map(_script, _SCRIPTS))
    content = json.dumps(_plain(_data(found)), separators=(",", ":"), allow_nan=False)
    for sign in "<>&":  # so that no text can end the element that holds it
        content = content.replace(sign, f"\\u{ord(sign):04x}")
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    frame = Template((_FILES / "page.html").read_text(encoding="utf-8"))
    return frame.substitute(title=html.escape(found.name), policy=policy, style=style, script=script, content=content)


def _script(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _data(found: SweepFolder) -> Row:
    """All that the page shows."""
    sweep, runs = found.sweep, runs_of(found)
    names = schemes_of(found)
    return {
        "name": found.name,
        "about": f"{sweep.num_devices} devices, {sweep.num_rounds} rounds; {intervals(found)}.",
        "metric": sweep.metric,
        "higher_is_better": sweep.higher_is_better,
        "reference": reference_of(sweep, found.savings),
        "schemes": [{"name": name, **_look(number)} for number, name in enumerate(names)],
        "noiseless": NOISELESS,
        "answers": [{"scheme": name, "text": text} for name, text in answers(found)],
        "tables": [_as_data(savings_table(found)), _as_data(results_table(found))],
        "metrics": metrics_of(found),
        "points": points_of(found, runs.seconds if runs else {}),
        "savings": found.savings,
        "runs": runs.rows if runs else None,
        "convergence": runs.curves if runs else [],
        "remarks": runs.remarks if runs else [],
        "fairness": f"{protocol(sweep)}\n{_FAIRNESS}",
        "configuration": found.configuration,
        "environment": found.environment,
    }


_FAIRNESS = (
    "Schemes are compared seed by seed: the same data order, gains and noise. A run that diverged is a result. "
    "A budget at which a run failed is missing: no candidate is chosen there, and nothing is concluded across it."
)


def _as_data(table: Table) -> Row:
    return dict(table._asdict())


def _look(number: int) -> Row:
    """Colour and marker of a scheme, as in the pictures; by night mixed with white until it is seen."""
    look = style_of(number)
    return {"colour": look["color"], "dark": by_night(look["color"]), "marker": look["marker"]}


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become the words "nan", "inf" and "-inf"."""
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else str(value)
    return value
