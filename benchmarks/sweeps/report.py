"""What a sweep says at its end: tables on the terminal, CSV, and pictures that are drawn from the CSV alone."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from laser_wireless.benchmarks.picture import over_seeds, seeds_in
from laser_wireless.benchmarks.records import Row, aligned, environment, read_csv, write_csv, write_json
from laser_wireless.benchmarks.sweeps.candidates import NOISELESS, grid_of
from laser_wireless.benchmarks.sweeps.choices import Point, choose, table_of
from laser_wireless.benchmarks.sweeps.figures import SecondPicture
from laser_wireless.benchmarks.sweeps.pareto import has_front, plot_pareto
from laser_wireless.benchmarks.sweeps.plots import plot_sweep
from laser_wireless.benchmarks.sweeps.required_power import missing_budgets
from laser_wireless.benchmarks.sweeps.savings import crossovers_db, savings
from laser_wireless.benchmarks.sweeps.short_tables import short_savings, short_table
from laser_wireless.benchmarks.sweeps.sweep import Sweep
from laser_wireless.benchmarks.value_words import shown

_NAMES = (
    "scheme",
    "reference",
    "panel",
    "chosen",
    "rate_at_edge",
    "on_front",
    "note",
)  # columns that are text, even if it is "1"


def report(
    sweep: Sweep,
    rows: list[Row],
    folder: Path,
    name: str,
    published: Sequence[Row] = (),
    apart: bool = False,
    second: SecondPicture | None = None,
) -> int:
    """Print and write the tables and the pictures of a finished sweep.

    Args:
        sweep: what was compared.
        rows: of its runs.
        folder: to write into.
        name: of the sweep, for titles.
        published: rows of published curves.
        apart: draw them in a panel of their own.
        second: another picture, `figure`.

    Returns:
        1 if a run failed, else 0: a run that diverged is a result.
    """
    failed = [row["reason"] for row in rows if row["status"] == "failed"]
    for line in _failures(failed):
        print(line, file=sys.stderr)
    curves = choose(sweep, rows)
    table, saved = table_of(sweep, curves), savings(sweep, curves)
    write_csv(folder / "table.csv", table)
    write_csv(folder / "savings.csv", saved)
    if second is not None:
        write_csv(folder / "figure.csv", second.rows_of(curves, table))
    write_json(folder / "environment.json", {"study": name, **_made_in(rows)})
    pictures = draw(sweep, folder, name, published, apart, second)
    print(aligned(short_table(sweep, table)))
    print(f"\n{protocol(sweep)}")
    edges = [row for row in table if row["rate_at_edge"] and row["scheme"] in sweep.schemes]
    if edges:
        print(f"{len(edges)} of {len(table)} chosen rates lie at an edge of the grid (rate_at_edge): widen it to be sure.")
    print(_missing(curves), end="")
    print(f"\npower needed for a test {sweep.metric}, 10 log10(P) in dB, and saving against {sweep.baseline} ", end="")
    print(f"({over_seeds(seeds_in(sweep.seeds, saved), ', paired')}):")
    print(
        aligned(short_savings(saved))
        if saved
        else "no target is passed by all curves, or by the reference's, within these budgets"
    )
    print(_crossings(sweep, curves), end="")
    written = ["table.csv", "savings.csv", *(["figure.csv"] if second else [])]
    written += [f"{picture}.{kind}" for picture in pictures for kind in ("png", "pdf")]
    print(f"\nwritten to {folder}: {', '.join(written)}, runs/")
    return 1 if failed else 0


def _crossings(sweep: Sweep, curves: dict[str, list[Point]]) -> str:
    """Where the curve of each scheme crosses that of the reference."""
    lines = []
    for scheme in sweep.schemes:
        if scheme != sweep.baseline and scheme in curves and sweep.baseline in curves:
            found = crossovers_db(curves[scheme], curves[sweep.baseline])
            where = ", ".join(f"{power:.1f} dB" for power in found) if found else "none within these budgets"
            gaps = any(point.missing for name in (scheme, sweep.baseline) for point in curves[name])
            where = where.replace("none within", "none seen within") + "; not known beside missing ones" if gaps else where
            lines.append(f"curves of {scheme} and {sweep.baseline} cross at: {where}\n")
    return "".join(lines)


def _made_in(rows: Sequence[Row]) -> Row:
    """The environment, with the commits that computed the runs: the tree may have moved on meanwhile."""
    commits = sorted({row["environment"]["commit"] for row in rows if "environment" in row})
    return {**environment(), **({"commit": ", ".join(commits)} if commits else {})}


def draw(
    sweep: Sweep,
    folder: Path,
    name: str,
    published: Sequence[Row] = (),
    apart: bool = False,
    second: SecondPicture | None = None,
) -> list[str]:
    """Draw the pictures of a sweep from the CSV files in its folder.

    Returns:
        their names, without ending.

    Raises:
        ValueError: figure.csv is not there, and the other files do not hold its numbers.
    """
    table, saved = read_rows(folder / "table.csv"), read_rows(folder / "savings.csv")
    what = "candidates" if sweep.tune else "learning rate"
    title = f"{name}: K = {sweep.num_devices}, {sweep.num_rounds} rounds, {what} chosen on validation"
    plot_sweep(sweep, table, saved, folder / "sweep", title, published, apart)
    names = ["sweep"]
    if has_front(saved):
        plot_pareto(sweep, saved, folder / "pareto", title)
        names.append("pareto")
    if second is None:
        return names
    file = folder / "figure.csv"
    second.draw(
        read_rows(file) if file.exists() else second.rows_of(None, table), published, apart, folder / "figure", title
    )
    return [*names, "figure"]


def read_rows(path: Path) -> list[Row]:
    """Read a CSV file of a sweep; names stay text, whatever they look like."""
    with path.open(encoding="utf-8", newline="") as file:
        texts = list(csv.DictReader(file))
    return [
        row | {name: text[name] for name in _NAMES if name in text} for row, text in zip(read_csv(path), texts, strict=True)
    ]


def _missing(curves: dict[str, list[Point]]) -> str:
    """Which budgets are missing because runs failed, and what follows."""
    lines = []
    for scheme, points in curves.items():
        gaps = [point for point in points if point.missing]
        if gaps:
            failed, tried = sum(point.failed for point in gaps), sum(point.num_runs for point in gaps)
            where = "no line" if scheme == NOISELESS else missing_budgets(points)
            lines.append(f"  {scheme}: {where} ({failed} of {tried} runs failed)")
    if not lines:
        return ""
    head = "missing, because runs failed; nothing is concluded across these budgets, and no candidate is chosen there:"
    remedy = "run again once the error is mended, or leave these budgets out of energy_budgets"
    return "\n".join([f"\n{head}", *lines, f"{remedy}\n"])


def _failures(reasons: Sequence[str]) -> list[str]:
    """A line for each kind of failure, with the first run's traceback and how many more runs failed like it."""
    alike: dict[str, list[str]] = {}
    for reason in reasons:
        alike.setdefault(reason.partition("; traceback in ")[0], []).append(reason)
    return [f"failed: {first}" + (f", and {len(more)} more like it" if more else "") for first, *more in alike.values()]


def protocol(sweep: Sweep) -> str:
    """How candidates were chosen and results taken, in words that hold for this sweep."""
    grids = {scheme: grid_of(sweep.learning_rates, scheme) for scheme in sweep.schemes}
    count = len(next(iter(grids.values())))
    same = "one grid" if len(set(map(tuple, grids.values()))) == 1 else "grids of their own"
    parts = [f"learning rates: {count} for every scheme, on {same}, least mean validation loss over the seeds"]
    if sweep.tune:
        tuned = ", ".join(f"{scheme} ({', '.join(arguments)})" for scheme, arguments in sweep.tune.items())
        parts.append(f"arguments chosen with them in the same way: {tuned}")
    if own := [f"{scheme} ({changes})" for scheme in sweep.schemes if (changes := _task_changes(sweep, scheme))]:
        parts.append(f"arguments of the task that differ: {', '.join(own)}")
    taken = "last round" if sweep.result == "last" else "round of least validation loss"
    return "; ".join(parts) + f".\nChoice and curves are those of the {taken}; test data only measures."


def _task_changes(sweep: Sweep, scheme: str) -> str:
    """In which arguments a scheme's task differs from the sweep's; empty where it does not."""
    own, usual = sweep.schemes[scheme].task["init_args"], sweep.task["init_args"]
    changed = {name: shown(value) for name, value in own.items() if name not in usual or usual[name] != value}
    changed |= {name: "default" for name in usual if name not in own}
    return ", ".join(f"{name}={value}" for name, value in changed.items())
