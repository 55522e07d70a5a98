"""`laser ls`, `laser show`, `laser compare`: what is on disk, one folder in full, two folders beside each other.

    laser ls [FOLDER]       runs and sweeps in a folder and its subfolders [default: runs]
    laser show FOLDER       configuration and results of a run or a sweep
    laser compare A B       in which settings two runs or sweeps differ, and in which results

Nothing is computed or written. In Python: laser_wireless.benchmarks.load(FOLDER) gives tables of pandas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from laser_wireless.benchmarks.assembly import BadConfiguration, load_yaml
from laser_wireless.benchmarks.loading import run_entries, run_row
from laser_wireless.benchmarks.records import Row, aligned, read_csv, read_sealed_json
from laser_wireless.benchmarks.strict_yaml import dump_yaml

_FILES = ("sweep.yaml", "config.yaml")


def look_back(command: str, words: list[str]) -> int:
    """Run one of the commands; returns the exit status.

    Raises:
        BadConfiguration: not the folders that it needs.
    """
    if "--help" in words or "-h" in words:
        print(__doc__)
        return 0
    if options := [word for word in words if word.startswith("-")]:
        raise BadConfiguration(f"{options[0]!r} is not an option; laser {command} takes folders alone")
    count = {"ls": (0, 1), "show": (1, 1), "compare": (2, 2)}[command]
    if not count[0] <= len(words) <= count[1]:
        wanted = {"ls": "at most one folder", "show": "one folder", "compare": "two folders"}[command]
        raise BadConfiguration(f"laser {command} takes {wanted}, got {len(words)}; such as runs/digits")
    folders = [Path(word) for word in words or ["runs"]]
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise BadConfiguration(f"there is no folder {', '.join(missing)}")
    if command == "compare":
        _compare(*folders)
    else:
        {"ls": _list, "show": _show}[command](folders[0])
    return 0


def _list(folder: Path) -> None:
    rows = sorted((_summary(found) for found in _found(folder)), key=lambda row: str(row["folder"]))
    print(aligned(rows) if rows else f"{folder} holds no run, sweep or channel study")


def _found(folder: Path) -> Iterator[Path]:
    """Folders of runs and studies, those of a sweep's runs left out."""
    if any((folder / name).exists() for name in _FILES):
        yield folder
        return
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        yield from _found(inner)


def _summary(folder: Path) -> Row:
    path = next(folder / name for name in _FILES if (folder / name).exists())
    row: Row = {"folder": str(folder), "kind": _kind(folder), "done": "", "of": "", "diverged": "", "commit": ""}
    row["changed"] = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    if row["kind"] in ("run", "sweep"):
        runs = [run_row(entry) for entry in run_entries(folder)]
        ended = [run for run in runs if run["status"] != "not done"]
        row |= {"done": len(ended), "of": len(runs), "diverged": sum(run["status"] == "diverged" for run in ended)}
        row["commit"] = ", ".join(sorted({run["commit"] for run in ended}))
    return row


def _kind(folder: Path) -> str:
    if (folder / "sweep.yaml").exists():
        return "sweep" if load_yaml(str(folder / "sweep.yaml")).get("study", "power") == "power" else "study"
    return "run" if (folder / "rounds.csv").exists() or (folder / "result.json").exists() else "channel"


def _show(folder: Path) -> None:
    print(dump_yaml(_settings(folder)))
    kind = _kind(folder)
    if kind == "run":
        [row] = [run_row(entry) for entry in run_entries(folder)]
        print(aligned([{"": name, "value": value} for name, value in row.items()]))
    for name in ("table.csv", "savings.csv", "channel.csv"):
        if (folder / name).exists():
            print(f"{name}\n{aligned(read_csv(folder / name))}\n")
    if kind == "sweep":
        runs = [run_row(entry) for entry in run_entries(folder)]
        left = sum(run["status"] == "not done" for run in runs)
        print(f"{len(runs)} runs, {left} not done" + ("; the same laser sweep goes on" if left else ""))


def _compare(one: Path, other: Path) -> None:
    first, second = (dict(_flat(_settings(folder))) for folder in (one, other))
    settings = [
        {"setting": name, str(one): first.get(name, "-"), str(other): second.get(name, "-")}
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]
    print(aligned(settings) if settings else "no setting differs")
    kinds = _kind(one), _kind(other)
    if kinds == ("run", "run"):
        print(f"\n{aligned(_results_of_runs(one, other))}")
    elif kinds == ("sweep", "sweep"):
        print(f"\n{aligned(_results_of_sweeps(one, other))}")
    else:
        raise BadConfiguration(f"{one} is a {kinds[0]} and {other} a {kinds[1]}; two runs or two sweeps can be compared")


def _results_of_runs(one: Path, other: Path) -> list[Row]:
    results = [read_sealed_json(folder / "result.json") for folder in (one, other) if (folder / "result.json").exists()]
    if len(results) < 2:
        raise BadConfiguration("a run is not done; the same laser run goes on")
    values = [dict(_flat({name: result[name] for name in ("status", "metrics", "mean_per_round")})) for result in results]
    return [_difference({"result": name}, one, other, *(v.get(name, math.nan) for v in values)) for name in values[0]]


def _results_of_sweeps(one: Path, other: Path) -> list[Row]:
    """Test metrics at the budgets that both have."""
    tables = []
    for folder in (one, other):
        if not (folder / "table.csv").exists():
            raise BadConfiguration(f"{folder} has no table.csv: the sweep has not ended; the same laser sweep goes on")
        tables.append({(row["scheme"], row["energy_budget"]): row for row in read_csv(folder / "table.csv")})
    common = [key for key in tables[0] if key in tables[1]]
    if not common:
        raise BadConfiguration("the sweeps have no scheme and budget in common")
    metric = next(name for name in tables[0][common[0]] if name.startswith("test_"))
    return [
        _difference({"scheme": s, "energy_budget": p, "result": metric}, one, other, *(t[s, p][metric] for t in tables))
        for s, p in common
    ]


def _difference(head: Row, one: Path, other: Path, a: Any, b: Any) -> Row:
    numbers = all(isinstance(value, int | float) for value in (a, b))
    return {**head, str(one): a, str(other): b, "difference": b - a if numbers else ("" if a == b else "differs")}


def _settings(folder: Path) -> Row:
    return load_yaml(str(next(folder / name for name in _FILES if (folder / name).exists())))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Entries of nested mappings by their dotted names."""
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from _flat(entry, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
