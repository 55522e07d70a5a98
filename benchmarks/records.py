"""Records on disk: each file is whole or absent, numbers survive the way there and back to the bit."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from laser_wireless.training.checkpoint import DamagedFile, whole_file

Row = dict[str, Any]

_AGAIN = "delete it to compute it again"


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8"))


def writable_or_temporary(folder: Path) -> Path:
    """The folder, or a new one among the system's temporary ones, said on stderr, if nothing can be written into it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="laser-"))
        print(
            f"{folder} cannot be written ({error.strerror}); what is made of its runs goes to {elsewhere}", file=sys.stderr
        )
        return elsewhere


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DamagedFile: a ValueError; the file is truncated or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise DamagedFile(path, f"is not readable ({error})", _AGAIN) from error
    if not isinstance(content, dict):
        raise DamagedFile(path, f"must hold a JSON object, got {type(content).__name__}", _AGAIN)
    return content


def write_sealed_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with the digest of its content as a last entry, "sha256"."""
    write_json(path, {**content, "sha256": _digest_of(content)})


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Read what `write_sealed_json` wrote, without the digest.

    Raises:
        DamagedFile: a ValueError; the file is truncated, without a digest, or its content is not what the digest is of.
    """
    content = read_json(path)
    seal = content.pop("sha256", None)
    if seal is None:
        raise DamagedFile(path, "carries no digest, so it is damaged or of an earlier version", _AGAIN)
    if seal != _digest_of(content):
        raise DamagedFile(path, "is damaged: its content is not what its digest was taken of", _AGAIN)
    return content


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows with the columns of the first; floats in full."""
    write_text(path, csv_text(rows))


def csv_text(rows: Sequence[Row]) -> str:
    """What `write_csv` writes."""
    lines = [",".join(map(_cell, rows[0]))] if rows else []
    for row in rows:
        if list(row) != list(rows[0]):
            raise ValueError(f"all rows must have the columns {list(rows[0])}, got {list(row)}")
        lines.append(",".join(_cell(value) for value in row.values()))
    return "\n".join(lines) + "\n"


def read_csv(path: Path) -> list[Row]:
    """Read what `write_csv` wrote, numbers as numbers.

    Raises:
        ValueError: the file or a row is cut short, or it is no text.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFile(path, f"is not readable ({error})", _AGAIN) from error
    return csv_rows(text, str(path))


def csv_rows(text: str, name: str) -> list[Row]:
    """Rows of a text that `csv_text` made; `name` is for messages.

    Raises:
        ValueError: the text or a row is cut short.
    """
    if not text.endswith("\n"):
        raise ValueError(f"{name} is cut short: its last line has no end; delete the file to compute it again")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ValueError(f"{name}, line {number}: cut short or too long; delete the file to compute it again")
    return [{name: _value(cell) for name, cell in row.items()} for row in rows]


def aligned(rows: Sequence[Row]) -> str:
    """Rows as a text table, numbers to five digits."""
    if not rows:
        return "(nothing)"
    cells = [[f"{v:.5g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    return tabulate([list(rows[0]), *cells], tablefmt="plain", disable_numparse=True, stralign="right")


def environment() -> Row:
    """What a figure depends on beside its configuration: commit, versions, machine."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cpu": _cpu(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }


def _cell(value: Any) -> str:
    text = repr(float(value)) if isinstance(value, float) else str(value)
    if not any(sign in text for sign in ',"\n\r'):
        return text
    quoted = text.replace('"', '""')
    return f'"{quoted}"'


def _value(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


@functools.cache
def _commit() -> str:
    """Of the code that this process has imported, so asked for once."""
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
