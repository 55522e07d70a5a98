"""A command all of whose processes are found by a mark in their environment, also those whose parents are gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

SECONDS_TO_END = 5.0


@dataclass
class Marked:
    """`laser` with some words, run in a folder; what it prints goes to log.txt there."""

    folder: Path
    words: list[str]
    program: tuple[str, ...] = ("-m", "laser_wireless.benchmarks.cli")
    environment: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: f"LASER_MARK={uuid4().hex}")

    def start(self, **options) -> subprocess.Popen:
        """Its main process."""
        (self.folder / "temporary").mkdir(exist_ok=True)
        name, value = self.mark.split("=")
        environment = {**os.environ, **self.environment, name: value, "TMPDIR": str(self.folder / "temporary")}
        with open(self.folder / "log.txt", "ab") as log:
            command = [sys.executable, *self.program, *self.words]
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log, **options)

    def alive(self) -> dict[int, bytes]:
        """Process ids and command lines."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (path / "cmdline").read_bytes()
            except OSError:  # it ended meanwhile
                continue
        return found


def assert_nothing_lives_on(marked: Marked, seconds: float = SECONDS_TO_END) -> None:
    """Fail if a process of it still lives after a while."""
    deadline = time.monotonic() + seconds
    while left := marked.alive():
        assert time.monotonic() < deadline, f"processes outlive their command: {left}"
        time.sleep(0.05)
