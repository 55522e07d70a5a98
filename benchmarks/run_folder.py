"""The folder of a run: a result that belongs to the code and data that made it, and the states between which it is made.

    result.json             the result, with digests of itself and of the records, and the run's fingerprint; written last
    records (.csv)          tables for the reader; while the run goes on the checkpoint holds them too
    checkpoint.pt           where to go on from, with its own digest and the fingerprint
    checkpoint.previous.pt  the one before it
    recomputed/             the same, while what lies above it is of other code or data, or damaged

Nothing is taken from a damaged file: it is named, and the run goes on from the last sound state, or from its start. An old
result or checkpoint of other code or data stays until the new result is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from laser_wireless.benchmarks.assembly import BadConfiguration, Spec
from laser_wireless.benchmarks.fingerprint import CONFIGURATION, Fingerprint, changes, completed, plain_form
from laser_wireless.benchmarks.records import Row, read_sealed_json, write_sealed_json, write_text
from laser_wireless.benchmarks.strict_yaml import NotYaml, dump_yaml, parse_yaml
from laser_wireless.training import load_checkpoint, save_checkpoint
from laser_wireless.training.checkpoint import DamagedFile, remove_leftovers, sync_folder

RESULT = "result.json"
CHECKPOINTS = ("checkpoint.pt", "checkpoint.previous.pt")  # newest first
CONFIG = "config.yaml"
BESIDE = "recomputed"


class State(NamedTuple):
    """A sound checkpoint: its file, what was saved, and the records' texts by their file names."""

    path: Path
    content: dict[str, Any]
    records: dict[str, str]


def say(text: str) -> None:
    """Tell the user something, on a line of its own even beside a progress bar."""
    tqdm.write(f"laser: {text}", file=sys.stderr)


class RunFolder:
    """Reads and writes a run's folder.

    Args:
        folder: existing, for this run alone.
        fingerprint: of the run.
        check: raises a ValueError if the content of a result is none.
        tell: takes a line about a damaged file or changed code.
        spec: what was asked, kept as config.yaml, which is for the reader alone.

    Raises:
        BadConfiguration: from `finished` and `states`: the folder holds a run of another configuration.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: Fingerprint,
        check: Callable[[Row], None],
        tell: Callable[[str], None] = say,
        spec: Spec | None = None,
    ) -> None:
        self.folder, self.fingerprint, self._check, self._tell = folder, fingerprint, check, tell
        self._spec, self._config = spec, dump_yaml(spec, sort_keys=True)
        self.place, self._beside = folder, folder / BESIDE
        self._refused: set[Path] = set()
        self._keeps_old = self._is_ours = False
        remove_leftovers(folder)

    def finished(self) -> Row | None:
        """The result, if there is a sound one of this configuration, code and data."""
        found = self._result_in(self.folder, self._tell)
        if found is None:
            found = self._result_in(self._beside, lambda line: None)
            if found is not None:
                self._move_up()
        if found is not None:
            with suppress(OSError):  # where nothing can be written it is shown all the same
                if self._spec is not None and (self.folder / CONFIG).read_bytes() != self._config.encode():
                    self.claim()
            self._tidy()
        return found

    def claim(self) -> None:
        """Write down what is asked, once `states` has been read and nothing speaks against it.

        Raises:
            BadConfiguration: something else was asked in this folder before, as far as its files can tell.
        """
        if self._spec is None:
            return
        path = self.folder / CONFIG
        before = _configuration_in(path) if path.exists() else self._spec
        if plain_form(before) != plain_form(self._spec):
            if before is not None and not self._is_ours:
                raise self._taken(path)
            self._tell(f"{path} does not hold what is asked; it is written again")
        write_text(path, self._config)

    def states(self) -> Iterator[State]:
        """Sound checkpoints of this code and data, newest first; afterwards `place` is where to work."""
        yield from self._states_in(self.folder, self._tell)
        if self._keeps_old:
            self._beside.mkdir(exist_ok=True)
            self.place = self._beside
            yield from self._states_in(self._beside, lambda line: None)

    def refuse(self, state: State, reason: object) -> None:
        """Name a checkpoint that cannot be taken up; it is not kept as the one before the next."""
        self._refused.add(state.path)
        self._tell(f"{state.path} does not fit this run ({reason}); going on from the last sound state")

    def compare(self, state: State) -> None:
        """Name a record that is not what a checkpoint says, perhaps with rows of later rounds; it will be written again."""
        for name, text in state.records.items():
            path = state.path.parent / name
            if path.exists() and not path.read_bytes().startswith(text.rstrip("\n").encode()):
                self._tell(f"{path} is damaged: {state.path.name} holds other rows; it will be written again from there")

    def save(self, content: dict[str, Any], records: Mapping[str, str]) -> None:
        """Write records and a checkpoint; the last checkpoint is kept beside it, unless it was refused."""
        for name, text in records.items():
            write_text(self.place / name, text)
        newest, previous = (self.place / name for name in CHECKPOINTS)
        if newest not in self._refused:
            with suppress(FileNotFoundError):
                os.replace(newest, previous)
        save_checkpoint(newest, {"fingerprint": completed(self.fingerprint), "records": dict(records), "content": content})
        self._refused.discard(newest)

    def finish(self, result: Row, records: Mapping[str, str]) -> Row:
        """Write records and result, in the place of old ones; checkpoints go. Returns the content of result.json."""
        for name, text in records.items():
            write_text(self.place / name, text)
        digests = {name: _digest(text.encode()) for name, text in records.items()}
        result = {**result, "files": digests, "fingerprint": completed(self.fingerprint)}
        write_sealed_json(self.place / RESULT, result)
        if self.place != self.folder:
            self._move_up()
        self._tidy()
        return result

    def _result_in(self, place: Path, tell: Callable[[str], None]) -> Row | None:
        path = place / RESULT
        if not path.exists():
            return None
        self._keeps_old = True
        try:
            result = read_sealed_json(path)
            try:
                self._check(result)
                fingerprint, digests = dict(result["fingerprint"]), dict(result["files"])
            except (ValueError, TypeError, LookupError) as error:
                raise DamagedFile(path, f"is no result of a run ({error!r})", "delete it to compute it again") from error
            if not self._is_current(fingerprint, path, tell):
                return None
            for name, digest in digests.items():  # one that was deleted is not missed
                if (place / name).exists() and _digest((place / name).read_bytes()) != digest:
                    raise DamagedFile(place / name, f"is damaged: {RESULT} holds another digest of it", "")
        except DamagedFile as error:
            tell(f"{error.path} {error.reason}; computing it again from the last sound state")
            return None
        return result

    def _states_in(self, place: Path, tell: Callable[[str], None]) -> Iterator[State]:
        for path in (place / name for name in CHECKPOINTS):
            if not path.exists():
                continue
            try:
                found = load_checkpoint(path)
                if not all(isinstance(found.get(part), dict) for part in ("fingerprint", "records", "content")):
                    raise DamagedFile(path, "is no checkpoint of a run", "")
            except DamagedFile as error:
                self._refused.add(path)
                tell(f"{path} {error.reason}; going on from the last sound state")
                continue
            if not self._is_current(found["fingerprint"], path, tell):
                self._keeps_old = True
                return
            yield State(path, found["content"], found["records"])

    def _is_current(self, found: Fingerprint, path: Path, tell: Callable[[str], None]) -> bool:
        if found.get(CONFIGURATION) != self.fingerprint[CONFIGURATION]:
            if path.parent == self.folder:
                raise self._taken(path)
            return False
        self._is_ours = True
        changed = changes(found, self.fingerprint)
        for change in changed:
            tell(f"{change} since the last results were computed")
        if changed:
            tell("computing again; the old results stay until the new ones are whole")
        return not changed

    def _taken(self, path: Path) -> BadConfiguration:
        return BadConfiguration(
            f"{self.folder} holds a run of another configuration ({path}); give another --output, or delete it"
        )

    def _move_up(self) -> None:
        """Put the new files in the place of the old ones, the result last: until then it is found where it was made."""
        made = [path for path in self._beside.iterdir() if path.name not in (RESULT, *CHECKPOINTS)]
        for path in [*made, self._beside / RESULT]:
            os.replace(path, self.folder / path.name)
        sync_folder(self.folder)

    def _tidy(self) -> None:
        """Remove what a finished run does not need; in a folder that cannot be written it stays."""
        for name in CHECKPOINTS:
            with suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self._beside, ignore_errors=True)


def _configuration_in(path: Path) -> Spec | None:
    """What a config.yaml holds; None if that is no configuration."""
    try:
        found = parse_yaml(path.read_text(encoding="utf-8"))
    except (NotYaml, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
