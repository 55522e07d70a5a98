"""Curves for TensorBoard, in the folder `tensorboard` of each run: `tensorboard --logdir FOLDER` shows all runs below it.

    train/loss                               rounds.csv, training_loss
    ledger/energy_spent, ledger/outage ...   rounds.csv, the other columns
    validation/loss, validation/accuracy     evaluations.csv
    test/loss, test/accuracy ...             result.json, last round
    configuration, and the tab HPARAMS       config.yaml

A step is a number of rounds done, so the row of round t in rounds.csv stands at step t + 1. Numbers are single precision.
"""

from __future__ import annotations

import math
import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from laser_wireless.benchmarks.callbacks.contract import Recorded
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.strict_yaml import dump_yaml

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_FOLDER = "tensorboard"
_PATIENCE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class TensorBoard:
    """Write curves for TensorBoard, also while the run goes on. Needs the extra `tensorboard`."""

    def __post_init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise ImportError("TensorBoard needs tensorboard: pip install 'laser-wireless[tensorboard]'")

    @cached_property
    def _writers(self) -> dict[Path, SummaryWriter]:
        """By folder, of runs on their way."""
        return {}

    def __call__(self, recorded: Recorded, /) -> None:
        """Write new rows; they are on disk when this returns."""
        writer = self._writers.get(recorded.folder)
        if writer is None:
            writer = self._writers[recorded.folder] = _opened(recorded)
            weakref.finalize(self, writer.close)  # where the run is cut off
        for tag, value, step in _scalars(recorded):
            writer.add_scalar(tag, value, step)
        writer.flush()
        if recorded.result is not None:
            writer.close()
            del self._writers[recorded.folder]


def _opened(recorded: Recorded) -> SummaryWriter:
    """A writer of a new file, at which TensorBoard forgets what an earlier one says of the steps to come."""
    with _without_tensorflow():
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams
    folder = recorded.folder / _FOLDER
    _wait_for_a_later_name(folder)
    writer = SummaryWriter(str(folder), purge_step=recorded.since + 1 if recorded.since else 0)
    if not recorded.since:
        configuration = recorded.configuration
        text = f"```\n{recorded.run}\n```" if configuration is None else f"```yaml\n{dump_yaml(configuration)}```"
        writer.add_text("configuration", text, 0)
        shown = dict.fromkeys(("validation/loss", "test/loss"), 0.0)
        for summary in hparams(dict(_flat(configuration or {})), shown):
            writer._get_file_writer().add_summary(summary)
    return writer


@contextmanager
def _without_tensorflow() -> Iterator[None]:
    """Where TensorFlow is installed TensorBoard would load it, in seconds and with words on stderr, to reach the cloud."""
    marker = "tensorboard.compat.notf"  # the module by which TensorBoard knows an installation without it
    if "tensorflow" in sys.modules or marker in sys.modules:
        yield
        return
    sys.modules[marker] = ModuleType(marker)
    try:
        yield
    finally:
        del sys.modules[marker]


def _wait_for_a_later_name(folder: Path) -> None:
    """TensorBoard reads files in the order of their names, which are seconds first."""
    names = [path.name.split(".") for path in folder.glob("events.out.tfevents.*")]
    latest = max((int(parts[3]) for parts in names if parts[3].isdecimal()), default=0)
    deadline = time.monotonic() + _PATIENCE_S
    while int(time.time()) <= latest and time.monotonic() < deadline:
        time.sleep(0.02)


def _scalars(recorded: Recorded) -> Iterator[tuple[str, float, int]]:
    """(tag, value, step) of what is new."""
    for row in recorded.rounds:
        for name, value in _numbers(row):
            yield "train/loss" if name == "training_loss" else f"ledger/{name}", value, row["round"] + 1
    for row in recorded.evaluations:
        for name, value in _numbers(row):
            yield f"validation/{name}", value, row["round"]
    if recorded.result is not None:
        for name, value in _numbers(recorded.result["metrics"]["test"]):
            if math.isfinite(value):  # of a run that diverged there is none
                yield f"test/{name}", value, recorded.result["rounds"]


def _numbers(row: Row) -> Iterator[tuple[str, float]]:
    return ((name, value) for name, value in row.items() if name != "round" and isinstance(value, int | float))


def _flat(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A nested configuration as options: compressor: LowRank, compressor.rank: 4."""
    for name, entry in spec.items():
        if isinstance(entry, dict) and "class_path" in entry:
            yield f"{prefix}{name}", str(entry["class_path"]).rsplit(".", 1)[-1]
            yield from _flat(entry.get("init_args") or {}, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", entry if isinstance(entry, bool | int | float | str) else str(entry)
