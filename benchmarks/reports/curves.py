"""The points of a sweep's curves for the page: every row of table.csv, with all that it may be drawn against."""

from __future__ import annotations

import math
from collections.abc import Mapping

from laser_wireless.benchmarks.intervals import reach_of
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.reports.sweep_folder import SweepFolder, result_columns
from laser_wireless.benchmarks.reports.tables import noise_variances
from laser_wireless.benchmarks.sweeps.sweep import AT_BEST, METRICS
from laser_wireless.channels import snr_from_energy


def metrics_of(found: SweepFolder) -> list[Row]:
    """The columns of table.csv that a curve may show: key, label, and the columns of interval; the sweep's own first."""
    own, _ = result_columns(found.sweep)
    columns = dict.fromkeys([own, *found.table[0]])
    metrics = []
    for column in columns:
        name, suffix = column.removesuffix(AT_BEST), AT_BEST if column.endswith(AT_BEST) else ""
        if name == "validation_loss" or name in (f"test_{metric}" for metric in METRICS):
            when = " at the round of least validation loss" if suffix else ""
            has_interval = name == f"test_{found.sweep.metric}"
            metrics.append({"key": column, "label": name.replace("_", " ") + when, "suffix": suffix, "spread": has_interval})
    return metrics


def points_of(found: SweepFolder, seconds: Mapping[tuple[str, float], float]) -> list[Row]:
    """A point for each row of table.csv.

    Args:
        found: the sweep.
        seconds: on the air until the end of the run, by scheme and budget, where runs tell it.

    Returns:
        rows with scheme; budget P, spent, snr, uses and seconds, NaN where not known; metrics: column -> [mean, half width];
        state: "", "diverged" or "missing", and what that means.
    """
    noise = noise_variances(found)
    return [_point(found, row, noise.get(row["scheme"], math.nan), seconds) for row in found.table]


def _point(found: SweepFolder, row: Row, noise: float, seconds: Mapping[tuple[str, float], float]) -> Row:
    budget, symbols = row["energy_budget"], row.get("num_symbols_per_round", math.nan)
    state, what = _state(found, row)
    per_round = row.get("seconds_per_round", math.nan)
    known = seconds.get((row["scheme"], budget), math.nan)
    return {
        "scheme": row["scheme"],
        "budget": budget,
        "spent": row.get("energy_spent_per_round", math.nan),
        "snr": snr_from_energy(budget, int(symbols), noise) if noise > 0 and symbols >= 1 else math.nan,
        "uses": row.get("num_channel_uses_per_round", math.nan) * found.sweep.num_rounds,
        "seconds": per_round * found.sweep.num_rounds if math.isfinite(per_round) else known,
        "learning_rate": row.get("learning_rate", math.nan),
        "chosen": str(row.get("chosen", "")),
        "edge": str(row.get("rate_at_edge", "")),
        "metrics": {one["key"]: _mean_and_half(row, one) for one in metrics_of(found)},
        "state": state,
        "what": what,
    }


def _mean_and_half(row: Row, metric: Row) -> list[float]:
    if not metric["spread"]:
        return [row[metric["key"]], math.nan]
    error = row.get(f"standard_error{metric['suffix']}", math.nan)
    return [row[metric["key"]], row.get(f"half_width_95{metric['suffix']}", reach_of(row["seeds"]) * error)]


def _state(found: SweepFolder, row: Row) -> tuple[str, str]:
    """Whether a point has a value, and why not."""
    failed, tried = row.get("failed", 0), row.get("runs", "?")
    if failed:
        return "missing", f"{failed} of {tried} runs failed: a missing budget, nothing is concluded across it"
    if math.isfinite(row[result_columns(found.sweep)[0]]):
        return "", ""
    return "diverged", f"{row.get('diverged', '?')} of {row['seeds']} seeds diverged at the best candidate"
