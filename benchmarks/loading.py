"""Results as tables of pandas: `laser_wireless.benchmarks.load(folder)`.

    records = load("runs/digits")
    records.runs.groupby(["scheme", "energy_budget"]).test_loss.min()
    records.rounds.query("scheme == 'laser' and seed == 0").plot(x="round", y="training_loss")

Needs pandas: pip install 'laser-wireless[pandas]'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from laser_wireless.benchmarks.assembly import load_yaml
from laser_wireless.benchmarks.records import Row, read_csv, read_sealed_json

if TYPE_CHECKING:
    import pandas


class Records(NamedTuple):
    """What a folder of `laser run` or `laser sweep` holds, one table each; a table without rows where there is nothing.

    Attributes:
        runs: a row for each run: run (its folder's name), scheme, energy_budget, learning_rate, arguments, seed; status
            ("done", "diverged", "not done"), reason, rounds; the metrics of the last round (validation_loss, test_loss, ...)
            and of the one of least validation loss (best_...); means of the ledger over the rounds; commit and machine.
        rounds: a row for each round of each run: run, scheme, energy_budget, learning_rate, arguments, seed; round,
            training_loss, and the ledger's columns.
        evaluations: likewise, of the validation part.
        choices: table.csv of a sweep, the candidate that each scheme took at each budget.
        savings: savings.csv of a sweep.
    """

    runs: pandas.DataFrame
    rounds: pandas.DataFrame
    evaluations: pandas.DataFrame
    choices: pandas.DataFrame
    savings: pandas.DataFrame


class RunEntry(NamedTuple):
    """A run's folder, and by what it is known in its sweep."""

    folder: Path
    known: Row


def load(folder: str | Path) -> Records:
    """Read the folder of a run or a sweep.

    Args:
        folder: what --output named, such as runs/digits; runs that are not done are told by their status.

    Raises:
        ImportError: pandas is not installed.
        ValueError: the folder holds neither, or a file in it is damaged; the file is named.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise ImportError("load needs pandas: pip install 'laser-wireless[pandas]'") from error
    folder = Path(folder)
    entries = run_entries(folder)
    tables = (
        [run_row(entry) for entry in entries],
        _records_of(entries, "rounds.csv"),
        _records_of(entries, "evaluations.csv"),
        _table(folder / "table.csv"),
        _table(folder / "savings.csv"),
    )
    return Records(*(pandas.DataFrame(list(rows)) for rows in tables))


def run_entries(folder: Path) -> list[RunEntry]:
    """The runs of a folder: its own one, or those of a sweep over power in the sweep's order.

    Raises:
        ValueError: it holds neither.
    """
    if (folder / "sweep.yaml").exists():
        from laser_wireless.benchmarks.sweeps.candidates import NOISELESS
        from laser_wireless.benchmarks.sweeps.search import searched_runs
        from laser_wireless.benchmarks.sweeps.sweep import cells, known_of, read_sweep, sweep_alone

        content = load_yaml(str(folder / "sweep.yaml"))
        if content.pop("study", "power") != "power":
            raise ValueError(f"{folder} is of a study without runs; read its CSV files")
        sweep = read_sweep(sweep_alone(content))
        known = searched_runs(folder)
        if known is None:
            known = [known_of(cell, folder) for scheme in (*sweep.schemes, NOISELESS) for cell in cells(sweep, scheme)]
        return [RunEntry(folder / "runs" / one["run"], one) for one in known]
    if (folder / "rounds.csv").exists() or (folder / "result.json").exists():
        return [RunEntry(folder, _known_from(folder))]
    raise ValueError(f"{folder} holds neither a run (result.json) nor a sweep (sweep.yaml); name what --output named")


def _known_from(folder: Path) -> Row:
    """What the configuration of a single run says of it."""
    spec = load_yaml(str(folder / "config.yaml")) if (folder / "config.yaml").exists() else {}
    budget = spec.get("uplink", {}).get("init_args", {}).get("energy_budget", "")
    return {
        "run": folder.resolve().name,
        "scheme": str(spec.get("compressor", {}).get("class_path", "")).rsplit(".", 1)[-1],
        "energy_budget": budget if isinstance(budget, int | float) else str(budget),
        "learning_rate": spec.get("learning_rate", ""),
        "arguments": ", ".join(f"{k}={v}" for k, v in spec.get("compressor", {}).get("init_args", {}).items()),
        "seed": spec.get("seed", 0),
    }


def run_row(entry: RunEntry) -> Row:
    """A run in one row; see `Records.runs`.

    Raises:
        ValueError: its result is damaged.
    """
    path = entry.folder / "result.json"
    if not path.exists():
        return {**entry.known, "status": "not done"}
    result = read_sealed_json(path)
    best = result["best"]
    return {
        **entry.known,
        **{name: result[name] for name in ("status", "reason", "rounds")},
        **dict(_metrics("", result["metrics"])),
        "best_round": best["round"],
        **dict(_metrics("best_", best["metrics"])),
        **result["mean_per_round"],
        "peak_power": result["peak_power"],
        **result["environment"],
    }


def _metrics(prefix: str, parts: Row) -> Iterator[tuple[str, Any]]:
    for part, metrics in parts.items():
        for name, value in metrics.items():
            yield f"{prefix}{part}_{name}", value


def _records_of(entries: Iterable[RunEntry], name: str) -> Iterator[Row]:
    for entry in entries:
        for row in _table(entry.folder / name):
            yield {**entry.known, **row}


def _table(path: Path) -> list[Row]:
    return read_csv(path) if path.exists() else []
