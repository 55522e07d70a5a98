"""Folders of finished sweeps, made by hand: as `laser sweep` leaves them, without computing."""

import io
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

import yaml

from helpers.sweep_rows import SEEDS, make_sweep, rows_of
from laser_wireless.benchmarks.intervals import half_width
from laser_wireless.benchmarks.records import write_csv, write_json
from laser_wireless.benchmarks.sweeps import report
from laser_wireless.benchmarks.sweeps.report import read_rows

BUDGETS = [1, 10, 100]
NASTY = "a <b>&\"'| $x_1$ </script><script>alert(1)</script>"


def write_folder(folder, curves, *, change=lambda rows: rows, powers=False, **settings):
    """Write the files of a sweep over the budgets 1, 10 and 100 without its runs.

    curves: scheme -> test loss by budget; change: of the rows of its runs; powers: whether savings.csv has the columns
    power_low and power_high; settings: of the sweep.
    """
    content = {
        "task": "digits",
        "uplink": "AnalogUplink",
        "schemes": {name: "z-sgd" if name == "z-sgd" else "laser" for name in curves if name != "noiseless"},
        "energy_budgets": BUDGETS,
        "learning_rates": [0.1, 0.2],
        "seeds": SEEDS,
        **settings,
    }
    folder.mkdir(parents=True, exist_ok=True)
    rows = change(rows_of(curves, shift=0.1))
    with mock.patch.object(report, "draw"), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        report.report(make_sweep(**content), rows, folder, folder.name)
    if powers:
        half = half_width([0.0, 1.0, 2.0])
        saved = read_rows(folder / "savings.csv")
        ends = [{"power_low": row["power_db"] - half, "power_high": row["power_db"] + half} for row in saved]
        write_csv(folder / "savings.csv", [row | end for row, end in zip(saved, ends, strict=True)])
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    made_in = {"study": folder.name, "commit": "abc", "torch": "2", "cpu": "a <b> cpu", "gpu": ""}
    write_json(folder / "environment.json", made_in)
    return folder


def many(count):
    """That many schemes, the reference among them."""
    curves = {f"scheme {number}": [3.0 + number / 5, 2.0, 1.0 + number / 9] for number in range(count - 1)}
    return curves | {"z-sgd": [4.0, 3.0, 1.5], "noiseless": [1.0, 1.0, 0.5]}
