"""`laser table`: results and savings of a finished sweep as tables for a paper.

    laser table FOLDER [--format FORM] [--part PART] > FILE

Results are the test metric at each energy budget, savings the power needed for each target and saved against the reference;
both with 95 % intervals over seeds, in as many digits as these allow. Needed are sweep.yaml, table.csv and savings.csv.

  --format FORM      markdown, latex (needs the package booktabs) or csv [default markdown]
  --part PART        results, savings or all; several tables stand one after the other [default all]

Numbers in full are in table.csv and savings.csv.

Examples:
  laser table runs/digits
  laser table runs/digits --format latex --part savings > savings.tex
"""

from __future__ import annotations

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.reports.sweep_folder import read_sweep_folder
from laser_wireless.benchmarks.reports.table_forms import FORMS
from laser_wireless.benchmarks.reports.tables import results_table, savings_table
from laser_wireless.benchmarks.reports.words import folders_and_options

_PARTS = {"results": (results_table,), "savings": (savings_table,), "all": (results_table, savings_table)}


def table(words: list[str]) -> int:
    """Run `laser table`; returns the exit status.

    Raises:
        BadConfiguration: a word that is no option, a value out of an option's choice, not one folder of a sweep.
    """
    if not words or "--help" in words or "-h" in words:
        print(__doc__)
        return 0
    folders, given = folders_and_options("table", words, {"format": tuple(FORMS), "part": tuple(_PARTS)})
    if len(folders) != 1:
        raise BadConfiguration(f"laser table takes one folder, got {len(folders)}; such as runs/digits")
    found = read_sweep_folder(folders[0])
    form = FORMS[given.get("format", "markdown")]
    print("\n".join(form(make(found)) for make in _PARTS[given.get("part", "all")]), end="")
    return 0
