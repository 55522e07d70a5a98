"""`laser sweep` in processes of its own, whose workers a test can find and kill."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4


def files_of(folder):
    """What is left of a sweep: names of all files, contents of the tables."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() if path.suffix == ".csv" else b"" for path in paths}


@dataclass
class Driver:
    """A command all of whose processes carry a mark in their environment."""

    folder: Path
    words: list[str]
    log: str = "log.txt"
    mark: str = field(default_factory=lambda: f"LASER_MARK={uuid4().hex}")

    def start(self, environment=os.environ):
        """Start it; returns the main process."""
        name, value = self.mark.split("=")
        command = [sys.executable, "-m", "laser_wireless.benchmarks.cli", "sweep", *self.words, "--device", "cpu"]
        with open(self.folder / self.log, "ab") as log:
            return subprocess.Popen(command, cwd=self.folder, env={**environment, name: value}, stdout=log, stderr=log)

    def processes(self):
        """Process id -> command line."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (path / "cmdline").read_bytes().decode()
            except OSError:  # it ended meanwhile
                continue
        return found
