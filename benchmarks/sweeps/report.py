"""What a sweep says at its end: tables on the terminal, CSV, a picture."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from laser_wireless.benchmarks.plots import plot_sweep
from laser_wireless.benchmarks.records import Row, aligned, environment, write_csv, write_json
from laser_wireless.benchmarks.sweeps import analysis
from laser_wireless.benchmarks.sweeps.candidates import grid_of
from laser_wireless.benchmarks.sweeps.figures import Draw
from laser_wireless.benchmarks.sweeps.sweep import Sweep


def report(
    sweep: Sweep,
    rows: list[Row],
    folder: Path,
    name: str,
    published: Sequence[Row] = (),
    apart: bool = False,
    draw: Draw | None = None,
) -> int:
    """Print and write the tables and the pictures of a finished sweep.

    Args:
        sweep: what was compared.
        rows: of its runs.
        folder: to write into.
        name: of the sweep, for titles.
        published: rows of published curves.
        apart: draw them in a panel of their own.
        draw: draws a second picture, `figure`.

    Returns:
        1 if a run failed, else 0.
    """
    failed = [row["reason"] for row in rows if row["status"] == "failed"]
    for reason in dict.fromkeys(failed):
        print(f"failed: {reason}", file=sys.stderr)
    curves = analysis.choose(sweep, rows)
    if not curves:
        return 1
    table, saved = analysis.table(sweep, curves), analysis.savings(sweep, curves)
    write_csv(folder / "table.csv", table)
    write_csv(folder / "savings.csv", saved)
    write_json(folder / "environment.json", environment())
    what = "candidates" if sweep.tune else "learning rate"
    title = f"{name}: K = {sweep.num_devices}, {sweep.num_rounds} rounds, {what} chosen on validation"
    plot_sweep(sweep, curves, saved, folder / "sweep", title, published, apart)
    if draw is not None:
        draw(curves, published, apart, folder / "figure", title)
    print(aligned(table))
    print(f"\n{_protocol(sweep)}")
    edges = [row for row in table if row["rate_at_edge"] and row["scheme"] in sweep.schemes]
    if edges:
        print(f"{len(edges)} of {len(table)} chosen rates lie at an edge of the grid (rate_at_edge): widen it to be sure.")
    print(f"\npower needed for a test {sweep.metric}, 10 log10(P) in dB, and saving against {sweep.baseline} ", end="")
    print(f"(mean and 95 % interval over {len(sweep.seeds)} seeds, paired):")
    print(aligned(saved) if saved else "no target is passed by all curves within these budgets")
    for scheme in sweep.schemes:
        if scheme != sweep.baseline and scheme in curves and sweep.baseline in curves:
            found = analysis.crossovers_db(curves[scheme], curves[sweep.baseline])
            where = ", ".join(f"{power:.1f} dB" for power in found) if found else "none within these budgets"
            print(f"curves of {scheme} and {sweep.baseline} cross at: {where}")
    pictures = "sweep.png, sweep.pdf, " + ("figure.png, figure.pdf, " if draw else "")
    print(f"\nwritten to {folder}: table.csv, savings.csv, {pictures}runs/")
    return 1 if failed else 0


def _protocol(sweep: Sweep) -> str:
    """How candidates were chosen and results taken, in words that hold for this sweep."""
    grids = {scheme: grid_of(sweep.learning_rates, scheme) for scheme in sweep.schemes}
    count = len(next(iter(grids.values())))
    same = "one grid" if len(set(map(tuple, grids.values()))) == 1 else "grids of their own"
    parts = [f"learning rates: {count} for every scheme, on {same}, least mean validation loss over the seeds"]
    if sweep.tune:
        tuned = ", ".join(f"{scheme} ({', '.join(arguments)})" for scheme, arguments in sweep.tune.items())
        parts.append(f"arguments chosen with them in the same way: {tuned}")
    taken = "last round" if sweep.result == "last" else "round of least validation loss"
    return "; ".join(parts) + f".\nChoice and curves are those of the {taken}; test data only measures."
