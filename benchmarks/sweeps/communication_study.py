"""Communication study: what one round weighs for each scheme on one model, beside what was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from laser_wireless.benchmarks.assembly import Spec, call
from laser_wireless.benchmarks.calculations.communication import communication_table
from laser_wireless.benchmarks.calculations.model_shapes import model_shapes
from laser_wireless.benchmarks.entries import check_some
from laser_wireless.benchmarks.records import Row, aligned, environment, read_csv, write_csv, write_json
from laser_wireless.benchmarks.sweeps.candidates import read_compressors
from laser_wireless.benchmarks.sweeps.figures import plot_communication
from laser_wireless.channels.parameters import checked
from laser_wireless.compression import Compressor


@dataclass(frozen=True, kw_only=True)
@checked
class Communication:
    """What to count.

    Args:
        model: name of a model, or the import path of a function that makes one.
        schemes: a list of names such as [laser, z-sgd], or names -> compressors.
    """

    model: str
    schemes: dict[str, Compressor]

    def __post_init__(self) -> None:
        check_some("schemes", list(self.schemes))


def communication_from(content: Spec) -> Communication:
    """Check the plain content of a YAML file.

    Raises:
        BadConfiguration: misspelt keys, unknown names, values out of range.
    """
    settings: Communication = call(Communication, {**content, "schemes": read_compressors(content.get("schemes"))}, "")
    model_shapes(settings.model)
    return settings


def report_communication(settings: Communication, folder: Path, name: str, published: Sequence[Row]) -> int:
    """Print and write table and picture; returns 0."""
    theirs = {row["scheme"]: row["value"] for row in published}
    rows = communication_table(model_shapes(settings.model), settings.schemes)
    if theirs:
        rows = [row | {"megabytes_published": theirs.get(row["scheme"], "")} for row in rows]
    write_csv(folder / "table.csv", rows)
    write_json(folder / "environment.json", {"study": name, **environment()})
    draw_communication(settings.model, folder, name)
    print(aligned([{column: value for column, value in row.items() if column != "compressor"} for row in rows]))
    print("\nmegabytes: if the message were sent digitally, 4 bytes for a real number, 1/8 for a sign or a bit of an index")
    print(f"written to {folder}: table.csv, communication.png, communication.pdf")
    return 0


def draw_communication(model: str, folder: Path, name: str) -> None:
    """Draw the picture from the table in the folder."""
    plot_communication(read_csv(folder / "table.csv"), folder / "communication", f"{name}: {model}, one device and round")
