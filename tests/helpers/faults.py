"""Fault injection: every file that a command leaves, cut short and with flipped bits, before the command is repeated."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

EIGHTHS = 8
FLIPS = 50


class Fault(NamedTuple):
    """A file of a folder and what became of its content."""

    file: str
    what: str
    content: bytes


def faults_of(folder: Path, seed: int = 0, flips: int = FLIPS) -> Iterator[Fault]:
    """Each file beneath a folder truncated at every eighth of its length, and with each of some bits flipped."""
    chance = random.Random(seed)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, whole = str(path.relative_to(folder)), path.read_bytes()
        for eighth in range(EIGHTHS):
            yield Fault(name, f"cut to {eighth}/{EIGHTHS}", whole[: len(whole) * eighth // EIGHTHS])
        for bit in sorted(chance.sample(range(8 * len(whole)), min(flips, 8 * len(whole)))):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            yield Fault(name, f"bit {bit} flipped", bytes(flipped))


def inject(
    folder: Path, repeat: Callable[[Path], tuple[object, str]], scratch: Path, harmless: set[str], faults: Iterator[Fault]
) -> tuple[list[str], dict[str, int]]:
    """Repeat a command after every fault, each in a fresh copy of the folder.

    Args:
        folder: what the command left.
        repeat: runs it again in a folder; returns all that must come out the same, and all that it said.
        scratch: a folder for the copies.
        harmless: names of files that are never read, so that a fault in them need not be named.
        faults: what to inject.

    Returns:
        what went wrong, a line each; and the number of faults by file.
    """
    expected, _ = repeat(_copy(folder, scratch))
    wrong, counts = [], dict[str, int]()
    for fault in faults:
        counts[fault.file] = counts.get(fault.file, 0) + 1
        copy = _copy(folder, scratch)
        (copy / fault.file).write_bytes(fault.content)
        try:
            found, said = repeat(copy)
        except Exception as error:  # a command must not end so, whatever the kind
            wrong.append(f"{fault.file}, {fault.what}: {type(error).__name__}: {error}")
            continue
        if found != expected:
            wrong.append(f"{fault.file}, {fault.what}: another result")
        if Path(fault.file).name not in harmless and fault.file not in said:
            wrong.append(f"{fault.file}, {fault.what}: not named")
    shutil.rmtree(scratch / "copy", ignore_errors=True)
    return wrong, counts


def _copy(folder: Path, scratch: Path) -> Path:
    copy = scratch / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    return copy
