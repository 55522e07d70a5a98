"""What did the run find, as a table to read (Markdown) or to plot (CSV)?"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from statistics import median

from laser_wireless.benchmarks.speed.measure import STAGES, Measurement

_MEGA = 2**20


def columns(name: str, found: Measurement) -> dict[str, str | int | float]:
    """One case as named columns; milliseconds and MiB, median and minimum over the repetitions."""
    case = found.case
    row: dict[str, str | int | float] = {
        "case": name,
        "scheme": case.scheme,
        "num_devices": case.num_devices,
        "num_parameters": case.num_parameters,
        "num_symbols": found.num_symbols,
        "repetitions": len(found.stages[0]),
    }
    for parity, rounds in enumerate(("even", "odd")):
        for label, statistic in (("median", median), ("min", min)):
            for index, stage in enumerate(STAGES):
                row[f"{rounds}_{stage}_{label}_ms"] = 1e3 * found.stage(parity, index, statistic)
            row[f"{rounds}_round_{label}_ms"] = 1e3 * found.round(parity, statistic)
    for label, statistic in (("median", median), ("min", min)):
        row[f"round_{label}_ms"] = 1e3 * found.round(None, statistic)
        row[f"plain_{label}_ms"] = 1e3 * found.plain_round(statistic)
        row[f"round_over_floor_{label}"] = found.round(None, statistic) / found.floor
        row[f"plain_over_round_{label}"] = found.plain_round(statistic) / found.round(None, statistic)
    row["floor_ms"] = 1e3 * found.floor
    row["copy_gb_per_s"] = 8e-9 * case.num_devices * case.num_parameters / found.copy
    row["draw_ms"] = 1e3 * found.draw
    row["peak_memory_mib"] = found.peak_memory / _MEGA
    row["memory_bound_mib"] = found.memory_bound / _MEGA
    return row


def to_csv(facts: Mapping[str, str], measurements: Mapping[str, Measurement]) -> str:
    """One line per case, the facts of the run repeated in each."""
    rows = [{**columns(name, found), **facts} for name, found in measurements.items()]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_markdown(facts: Mapping[str, str], measurements: Mapping[str, Measurement]) -> str:
    """The facts of the run, a table of rounds and a table of stages; cells hold median (minimum)."""
    lines = ["# Time and memory of one round", ""]
    lines += [f"- {name}: {fact}" for name, fact in facts.items()]
    lines += [
        "",
        "Milliseconds are median (minimum) over the repetitions; a round is the mean of even and odd ones. The floor is the",
        "time to move the bytes that must move, at the speed of a copy in the same run, and to draw the noise: for example",
        "LowRank (3 K + 1) d numbers, Uncompressed 2 K d numbers and d normals (benchmarks/speed/floor.py); arithmetic and",
        "drawn hashes are left out. Plain is a straightforward loop over devices and layers, for these two. S is the real",
        "symbols of a message, in odd rounds where they alternate. Memory is the peak above the process's own after its",
        "imports, its bound (K + 6) d numbers.",
        "",
    ]
    header = ["case", "scheme", "K", "d", "S", "round ms", "floor ms", "round / floor", "plain ms", "plain / round"]
    body = []
    for name, found in measurements.items():
        row = columns(name, found)
        body.append(
            [
                *(str(row[key]) for key in ("case", "scheme", "num_devices")),
                f"{found.case.num_parameters:,}",
                f"{found.num_symbols:,}",
                _pair(row, "round_{}_ms"),
                _number(row["floor_ms"]),
                _pair(row, "round_over_floor_{}"),
                _pair(row, "plain_{}_ms"),
                _pair(row, "plain_over_round_{}"),
                _number(row["peak_memory_mib"]),
                _number(row["memory_bound_mib"]),
            ]
        )
    lines += [*_table([*header, "memory MiB", "bound MiB"], body), ""]
    body = []
    for name, found in measurements.items():
        row = columns(name, found)
        for rounds in ("even", "odd"):
            body.append([name, rounds, *(_pair(row, f"{rounds}_{stage}_{{}}_ms") for stage in (*STAGES, "round"))])
    lines += _table(["case", "rounds", *(f"{stage} ms" for stage in (*STAGES, "round"))], body)
    return "\n".join(lines) + "\n"


def _table(header: list[str], body: list[list[str]]) -> list[str]:
    rows = [header, ["---"] * len(header), *body]
    return [f"| {' | '.join(cells)} |" for cells in rows]


def _pair(row: Mapping[str, str | int | float], key: str) -> str:
    return f"{_number(row[key.format('median')])} ({_number(row[key.format('min')])})"


def _number(value: str | int | float) -> str:
    """Three significant digits, without exponent."""
    number = float(value)
    if math.isnan(number):
        return "-"
    return f"{number:,.0f}" if number >= 99.95 else f"{number:.3g}"
