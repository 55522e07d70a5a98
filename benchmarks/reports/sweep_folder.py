"""The folder of a sweep over power, read for readers' forms of it: what was compared, and the tables that it ended with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from laser_wireless.benchmarks.assembly import BadConfiguration, load_yaml
from laser_wireless.benchmarks.records import Row, read_json
from laser_wireless.benchmarks.sweeps.report import read_rows
from laser_wireless.benchmarks.sweeps.sweep import Sweep, read_sweep, sweep_alone
from laser_wireless.training.checkpoint import DamagedFile

_AGAIN = "delete it, and the same laser sweep writes it again"
_SAVINGS = ("target", "scheme", "power_db", "saving_db", "low", "high", "note")
_TEXTS = ("scheme", "reference", "note")


class SweepFolder(NamedTuple):
    """What lies in the folder of a finished sweep.

    Attributes:
        path: of the folder.
        name: of the sweep, for titles.
        sweep: what was compared.
        table: rows of table.csv.
        savings: rows of savings.csv.
        configuration: text of sweep.yaml.
        environment: content of environment.json; empty where that is not there.
    """

    path: Path
    name: str
    sweep: Sweep
    table: list[Row]
    savings: list[Row]
    configuration: str
    environment: Row


def read_sweep_folder(folder: Path) -> SweepFolder:
    """Read the folder of a sweep over power; runs/ is not needed.

    Raises:
        BadConfiguration: the folder is none of a finished sweep over power.
        ValueError: a file is damaged, or lacks a column; the file is named.
    """
    if not folder.is_dir():
        raise BadConfiguration(f"there is no folder {folder}; name one that laser sweep wrote, such as runs/digits")
    file = folder / "sweep.yaml"
    if not file.exists():
        raise BadConfiguration(f"{folder} is no sweep: it has no sweep.yaml; name a folder that laser sweep wrote")
    content = load_yaml(str(file))
    study = content.pop("study", "power")
    if study != "power":
        raise BadConfiguration(f"{folder} must be of a sweep over power, got the study {study!r}: see its CSV files")
    need(folder, "table.csv", "savings.csv")
    sweep = read_sweep(sweep_alone(content))
    table, savings = read_rows(folder / "table.csv"), read_rows(folder / "savings.csv")
    _check_columns(folder / "table.csv", table, ("scheme", "energy_budget", "seeds", *result_columns(sweep)))
    _check_columns(folder / "savings.csv", savings, _SAVINGS)
    if not table:
        raise DamagedFile(folder / "table.csv", "holds no row", _AGAIN)
    environment = folder / "environment.json"
    made_in = read_json(environment) if environment.exists() else {}
    return SweepFolder(folder, study_name(folder), sweep, table, savings, file.read_text(encoding="utf-8"), made_in)


def result_columns(sweep: Sweep) -> tuple[str, str]:
    """The columns of table.csv with the metric that the sweep compares by, and its standard error."""
    return f"test_{sweep.metric}{sweep.result_suffix}", f"standard_error{sweep.result_suffix}"


def need(folder: Path, *names: str) -> None:
    """Refuse a folder without files that a sweep ends with.

    Raises:
        BadConfiguration: one is missing.
    """
    for name in names:
        if not (folder / name).exists():
            raise BadConfiguration(
                f"{folder} has no {name}: the sweep has not ended; the same laser sweep goes on from there"
            )


def study_name(folder: Path) -> str:
    """The study's name in titles: as environment.json says, else the folder's."""
    file = folder / "environment.json"
    return str(read_json(file).get("study", folder.resolve().name)) if file.exists() else folder.resolve().name


def _check_columns(path: Path, rows: Sequence[Row], names: Iterable[str]) -> None:
    for number, row in enumerate(rows, start=2):
        for name in names:
            if name not in row:
                raise DamagedFile(path, f"lacks the column {name}", _AGAIN)
            if name not in _TEXTS and not isinstance(row[name], int | float):
                raise DamagedFile(path, f"line {number}, {name}: must be a number, got {row[name]!r}", _AGAIN)
