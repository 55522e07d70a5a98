"""Published curves: read from CSV files, and matched to the schemes of a sweep.

A file has the columns figure, series, power, value, and others of its own (rank, epoch, note). Those that come with the
package lie in `reference/`, with their source.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laser_wireless.benchmarks.assembly import BadConfiguration, call
from laser_wireless.benchmarks.records import Row, read_csv
from laser_wireless.benchmarks.value_words import shown

REFERENCE = Path(__file__).parent.parent / "reference"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One file of published curves.

    Args:
        file: in the working directory, or one that comes with the package.
        series: the file's series -> scheme of the sweep; the scheme may name columns, such as "rank {rank}".
        apart: draw it in a panel of its own, because the measured curves are those of another task.
    """

    file: str
    series: dict[str, str]
    apart: bool = False


def read_published(value: Any, known: Container[str] | None = None) -> tuple[list[Row], bool]:
    """Read the `published` of a YAML file.

    Args:
        value: a mapping of the arguments of `Published`, a list of them, or None.
        known: names that series may map to; None allows all.

    Returns:
        the files' rows that have a value, with the column "scheme"; and whether they are drawn apart.

    Raises:
        BadConfiguration: a file that is not there or not of this form, an unknown series or scheme.
    """
    entries = value if isinstance(value, list) else [] if value is None else [value]
    rows: list[Row] = []
    apart = False
    for entry in entries:
        if not isinstance(entry, dict):
            raise BadConfiguration(f"published must be a mapping with file and series, got {shown(entry)}")
        published: Published = call(Published, entry, "published")
        rows += _rows(published, known)
        apart = apart or published.apart
    return rows, apart


def _rows(published: Published, known: Container[str] | None) -> list[Row]:
    path = Path(published.file)
    if not path.exists():
        path = REFERENCE / published.file
    if not path.exists():
        there = ", ".join(sorted(file.name for file in REFERENCE.glob("*.csv")))
        raise BadConfiguration(
            f"published: there is no file {published.file!r}; those that come with the package are {there}"
        )
    try:
        content = read_csv(path)
    except (ValueError, OSError) as error:
        raise BadConfiguration(f"published: {error}") from error
    missing = {"series", "value"} - set(content[0] if content else ())
    if missing:
        raise BadConfiguration(f"published: {path} lacks the columns {', '.join(sorted(missing))}")
    names = list(dict.fromkeys(str(row["series"]) for row in content))
    for series in published.series:
        if series not in names:
            raise BadConfiguration(f"published: {path} has no series {series!r}; it has {'; '.join(names)}")
    rows = []
    for number, row in enumerate(content, start=2):
        if row["series"] not in published.series or row["value"] == "":
            continue
        if isinstance(row["value"], str):
            raise BadConfiguration(f"published: {path}, line {number}: the value must be a number, got {row['value']!r}")
        scheme = _name(published.series[row["series"]], row, path)
        if known is not None and scheme not in known:
            raise BadConfiguration(f"published: series {row['series']!r} maps to {scheme!r}, which is not a scheme here")
        rows.append({**row, "scheme": scheme})
    return rows


def _name(template: str, row: Row, path: Path) -> str:
    try:
        return template.format(**row)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadConfiguration(
            f"published: {template!r} names a column that {path} does not have; it has {', '.join(row)}"
        ) from error
