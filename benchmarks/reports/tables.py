"""Results and savings of a sweep as tables for print: what was measured with its interval, in units, without more digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from laser_wireless.benchmarks.picture import over_seeds, seeds_in
from laser_wireless.benchmarks.printed_numbers import decibels, one_sided, with_ends, with_half_width
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.reports.sweep_folder import SweepFolder
from laser_wireless.benchmarks.sweeps.candidates import NOISELESS
from laser_wireless.benchmarks.sweeps.plots import Dot, dots_of, reference_of


class Table(NamedTuple):
    """A table in words: each cell is text, and a row has as many cells as the head.

    Attributes:
        label: short name for references.
        caption: what is shown, with the meaning of intervals.
        head: names of the columns, with units.
        rows: cells.
    """

    label: str
    caption: str
    head: list[str]
    rows: list[list[str]]


def results_table(found: SweepFolder) -> Table:
    """The test metric of each scheme at each budget, with its interval over seeds."""
    sweep = found.sweep
    names = schemes_of(found)
    curves = {name: {dot.energy_budget: dot for dot in dots_of(sweep, found.table, name)} for name in names}
    budgets = sorted({budget for dots in curves.values() for budget in dots})
    rows = [[name, *(_result(curves[name].get(budget)) for budget in budgets)] for name in names]
    caption = (
        f"Test {sweep.metric} against the energy budget P per device and round (10 log10 P in dB, {_noise(found)}), "
        f"{sweep.num_devices} devices, {sweep.num_rounds} rounds; {intervals(found)}."
    )
    free = dots_of(sweep, found.table, NOISELESS)
    if free:
        caption += f" Uncompressed without noise: {_result(free[-1])}."
    return Table("results", caption, ["scheme", *(f"{decibels(budget)} dB" for budget in budgets)], rows)


def savings_table(found: SweepFolder) -> Table:
    """Power needed for each target, and power saved against the reference."""
    sweep, reference = found.sweep, reference_of(found.sweep, found.savings)
    rows = [[f"{row['target']:g}", str(row["scheme"]), needed(found, row), _saved(row, reference)] for row in found.savings]
    head = [f"target test {sweep.metric}", "scheme", "power needed [dB]", f"saved against {reference} [dB]"]
    caption = (
        f"Power needed for a target test {sweep.metric} (10 log10 P in dB, {_noise(found)}) and power saved against "
        f"{reference}, paired by seed; {intervals(found)}."
    )
    return Table("savings", caption, head, rows)


def schemes_of(found: SweepFolder) -> list[str]:
    """The schemes in the order of the sweep, and behind them those that only the tables name; without the noiseless line."""
    named = [str(row["scheme"]) for row in (*found.table, *found.savings)]
    return [name for name in dict.fromkeys([*found.sweep.schemes, *named]) if name != NOISELESS]


def needed(found: SweepFolder, row: Row) -> str:
    """The power that a row of savings.csv names, with its interval where it has one, in words where it is none."""
    power = row["power_db"]
    if math.isnan(power):
        return "not known"
    if math.isinf(power):
        budgets = [dot.energy_budget for dot in dots_of(found.sweep, found.table, row["scheme"])]
        ends = budgets or found.sweep.energy_budgets
        return f"above {decibels(max(ends))}" if power > 0 else f"below {decibels(min(ends))}"
    return with_ends(power, *(float(row.get(name, math.nan)) for name in ("power_low", "power_high")))


def intervals(found: SweepFolder) -> str:
    """What stands behind means, for captions."""
    return over_seeds(seeds_in(found.sweep.seeds, found.table)).replace(":", ",")


def noise_variances(found: SweepFolder) -> dict[str, float]:
    """Noise variance per real symbol by scheme; NaN where its uplink does not say it as a number."""
    return {name: _variance(found, name) for name in schemes_of(found)}


def _variance(found: SweepFolder, name: str) -> float:
    scheme = found.sweep.schemes.get(name)
    value = scheme.uplink["init_args"].get("noise_variance", 1.0) if scheme else math.nan
    return float(value) if isinstance(value, int | float) else math.nan


def _noise(found: SweepFolder) -> str:
    values = set(noise_variances(found).values())
    if len(values) == 1 and math.isfinite(value := next(iter(values))):
        return f"noise variance {value:g} per real symbol"
    return "noise as configured for each scheme"


def _result(dot: Dot | None) -> str:
    return "not run" if dot is None else "missing" if dot.failed else with_half_width(dot.mean, dot.half)


def _saved(row: Row, reference: str) -> str:
    if row["scheme"] == reference and not row["note"].startswith("reference:"):
        return "reference"
    if not math.isfinite(row["saving_db"]):
        return "; ".join(filter(None, (one_sided(row["low"], row["high"]), str(row["note"])))) or "not known"
    return with_ends(row["saving_db"], row["low"], row["high"])


def answers(found: SweepFolder) -> list[tuple[str, str]]:
    """For each scheme but the reference: its name and a sentence on the power that it saves, over all targets."""
    reference = reference_of(found.sweep, found.savings)
    others = [name for name in schemes_of(found) if name != reference]
    return [(name, _answer(found, [row for row in found.savings if row["scheme"] == name], reference)) for name in others]


def _answer(found: SweepFolder, rows: Sequence[Row], reference: str) -> str:
    known = [row for row in rows if math.isfinite(row["saving_db"])]
    if not known:
        notes = "; ".join(dict.fromkeys(_saved(row, reference) for row in rows))
        return f"no saving against {reference} is known: {notes or 'there is no target for it'}"
    saved = [float(row["saving_db"]) for row in known]
    where = (
        f"at {len(known)} of {len(rows)} targets" if len(rows) > 1 else f"at test {found.sweep.metric} {rows[0]['target']:g}"
    )
    if len(known) == 1:
        row = known[0]
        where = where if len(rows) == 1 else f"{where} (test {found.sweep.metric} {row['target']:g})"
        return f"saves {with_ends(row['saving_db'], row['low'], row['high'])} dB against {reference} {where}"
    low, high = (with_ends(value, math.nan, math.nan) for value in (min(saved), max(saved)))
    sure = sum(row["low"] > 0 or row["high"] < 0 for row in known)
    text = f"saves {low if low == high else f'{low} to {high}'} dB against {reference} {where}"
    if len(found.sweep.seeds) < 2:
        return f"{text}; one seed, no interval"
    if sure == 0:
        return f"{text}; every 95 % interval contains 0: not shown to be a saving or a loss"
    return f"{text}; the 95 % interval excludes 0 at {sure if sure < len(known) else 'all'} of them"
