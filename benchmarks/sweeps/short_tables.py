"""The tables of a sweep as they fit a terminal; table.csv and savings.csv hold every column in full."""

from __future__ import annotations

import math
from collections.abc import Sequence

from laser_wireless.benchmarks.printed_numbers import fixed, one_sided, with_ends, with_half_width
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.sweeps.plots import dots_of
from laser_wireless.benchmarks.sweeps.sweep import Sweep


def short_table(sweep: Sweep, table: Sequence[Row]) -> list[Row]:
    """A row for each scheme and budget: result with its interval, what was chosen, and what is to be known of it.

    Args:
        sweep: what was compared.
        table: rows of table.csv.
    """
    schemes = dict.fromkeys(row["scheme"] for row in table)
    dots = {(scheme, dot.energy_budget): dot for scheme in schemes for dot in dots_of(sweep, table, scheme)}
    rows = []
    for row in table:
        dot = dots[row["scheme"], row["energy_budget"]]
        rate = row["learning_rate"]
        rows.append(
            {
                "scheme": row["scheme"],
                "P": f"{row['energy_budget']:g}",
                "P [dB]": fixed(dot.power_db, 1),
                f"test {sweep.metric}": with_half_width(dot.mean, dot.half),
                "rate": f"{rate:g}" if math.isfinite(rate) else "",
                **({"chosen": row["chosen"]} if sweep.tune else {}),
                "seeds": row["seeds"],
                "runs": row["runs"],
                "note": _note(row),
            }
        )
    return rows


def _note(row: Row) -> str:
    parts = [f"failed {row['failed']} of {row['runs']}"] if row["failed"] else []
    parts += [f"{row['diverged']} diverged"] if row["diverged"] else []
    parts += [f"rate at {row['rate_at_edge']} edge"] if row["rate_at_edge"] else []
    return ", ".join(parts)


def short_savings(saved: Sequence[Row]) -> list[Row]:
    """A row for each target and scheme: power needed and saved with their intervals, and what that is in energy spent.

    Args:
        saved: rows of savings.csv.
    """
    return [
        {
            "target": f"{row['target']:g}",
            "scheme": row["scheme"],
            "power needed [dB]": _needed(row),
            f"saved against {row['reference']} [dB]": _saved(row),
            "in energy spent": fixed(row["spent_saving_db"], 1) if math.isfinite(row["spent_saving_db"]) else "",
            "channel uses": f"{row['channel_uses']:.5g}" if math.isfinite(row["channel_uses"]) else "",
            "front": row["on_front"],
            "note": row["note"],
        }
        for row in saved
    ]


def _needed(row: Row) -> str:
    power, low, high = row["power_db"], row["power_low"], row["power_high"]
    if math.isnan(power):
        return ""
    if math.isinf(power):
        end = low if power > 0 else high
        return f"{'above' if power > 0 else 'below'} {fixed(end, 1)}" if math.isfinite(end) else ""
    return with_ends(power, low, high)


def _saved(row: Row) -> str:
    """A saving, or what is known of it from one side."""
    saving, low, high = row["saving_db"], row["low"], row["high"]
    if row["scheme"] == row["reference"]:
        return ""
    return with_ends(saving, low, high) if math.isfinite(saving) else one_sided(low, high)
