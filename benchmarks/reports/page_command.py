"""`laser report`: a finished sweep as one page for the browser, which opens without a network.

    laser report FOLDER [FOLDER ...]

Writes FOLDER/report.html: the power saved against the reference, curves (hover or arrow keys show values, the legend hides
schemes, axes can be chosen), convergence over rounds, tables of choices and runs to filter and sort, how the comparison was
made, configuration, versions and hardware. Needed are sweep.yaml, table.csv and savings.csv; without runs/ the page lacks
runs and convergence, and says so.

Examples:
  laser report runs/digits
  laser report runs/*
"""

from __future__ import annotations

from laser_wireless.benchmarks.records import writable_or_temporary, write_text
from laser_wireless.benchmarks.reports.page import page_of
from laser_wireless.benchmarks.reports.sweep_folder import read_sweep_folder
from laser_wireless.benchmarks.reports.words import folders_and_options


def report(words: list[str]) -> int:
    """Run `laser report`; returns the exit status.

    Raises:
        BadConfiguration: an option, or a folder that is none of a finished sweep.
        ValueError: a damaged file.
    """
    if not words or "--help" in words or "-h" in words:
        print(__doc__)
        return 0
    folders, _ = folders_and_options("report", words, {})
    for folder in folders:
        text = page_of(read_sweep_folder(folder))
        file = writable_or_temporary(folder) / "report.html"
        write_text(file, text)
        runs = "" if (folder / "runs").is_dir() else "; there is no runs/, so that it lacks runs and convergence"
        print(f"written to {file}{runs}")
    return 0
