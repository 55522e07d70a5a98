"""Who computes which run, where several sweeps share a folder: a run's folder is claimed by the process that is at it.

A claim is a file `claim.N` in the run's folder, made so that one of several can make it, also on a file system that machines
share. It names its process, and its content changes every few seconds as long as that process lives. A claim is given up

- by its owner, who removes it at the end of the run,
- by its owner's death: another process of the same machine sees that at once; one of another machine when the content
  has not changed for a minute of its own clock, so that no two clocks are compared.

Whoever wants a run makes its claim first, with the next free number, and then looks for others' claims: of two who do this
at once, the later one sees the earlier one's. Claims of the dead stay until the run's next owner removes them, before its
own, so that nobody ever removes the claim of a living process.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

BEAT_S = 5.0
"""Between two changes of a claim's content."""

PATIENCE_S = 60.0
"""After which a claim whose content has not changed is taken for that of a dead process."""

_NAME = "claim."


class Taken(NamedTuple):
    """A run that another process is at; owner: in words; content: of the claim, which tells it from every other."""

    owner: str
    content: str


@contextmanager
def claimed(folders: Sequence[Path], abandoned: Collection[str] = ()) -> Iterator[list[Taken | None]]:
    """Claim runs for this process while the block lasts; for each, None or who has it.

    Where nothing can be written nothing is claimed, and nothing can be computed either.

    Args:
        folders: of the runs; made if need be.
        abandoned: contents of claims whose owners are dead, as `Watch` found.
    """
    own: list[_Claim] = []
    over = Event()
    found: list[Taken | None] = []
    thread = Thread(target=_beat, args=(own, over), daemon=True)
    try:
        for folder in folders:
            claim = _claim(folder, abandoned)
            if isinstance(claim, _Claim):
                own.append(claim)
            found.append(claim if isinstance(claim, Taken) else None)
        thread.start()
        yield found
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
        for claim in own:
            claim.release()


def seems_computed(folder: Path) -> bool:
    """Whether a run's claim was changed a short while ago, by this machine's clock; good enough to be shown."""
    try:
        return time.time() - (folder / f"{_NAME}0").stat().st_mtime < 3 * BEAT_S
    except OSError:
        return False


class Watch:
    """Looks at runs that others have claimed, again and again, and sees which of them are free."""

    def __init__(self) -> None:
        self.abandoned: set[str] = set()
        self._since: dict[Path, tuple[str, float]] = {}

    def owner(self, folder: Path) -> Taken | None:
        """Who is at a run; None if nobody is, or nobody who lives."""
        taken = _owner(_claims_in(folder), self.abandoned)
        if taken is None:
            self._since.pop(folder, None)
            return None
        content, since = self._since.get(folder, ("", 0.0))
        if content != taken.content:
            self._since[folder] = (taken.content, time.monotonic())
        elif time.monotonic() - since > PATIENCE_S:
            self.abandoned.add(content)
            return self.owner(folder)
        return taken


class _Claim:
    """A claim of this process: the file, and those of the dead before it with their contents."""

    def __init__(self, path: Path, before: dict[Path, str]) -> None:
        self.path, self._before, self._beats = path, before, 0
        self._words = {**_this_process(), "claim": secrets.token_hex(8)}

    def make(self) -> None:
        """Write the file.

        Raises:
            FileExistsError: another process was quicker.
        """
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "w") as file:
            file.write(self._content())

    def beat(self) -> None:
        """Change the content; opened and closed each time, which is what makes it seen by other machines."""
        self._beats += 1
        with suppress(OSError):
            if self._is_ours():
                with open(self.path, "r+") as file:
                    file.write(self._content())

    def release(self) -> None:
        """Remove the files, this process' own at last: until then nobody else can have made one of the dead's names anew."""
        with suppress(OSError):
            if self._is_ours():
                for path, _ in self._before.items() & _claims_in(self.path.parent).items():
                    path.unlink()
                self.path.unlink()

    def _is_ours(self) -> bool:
        """Whether this process was not taken for dead, and its run given to another meanwhile."""
        return str(self._words["claim"]) in self.path.read_text(encoding="utf-8", errors="replace")

    def _content(self) -> str:
        return json.dumps({**self._words, "beats": f"{self._beats:012d}"}) + "\n"


def _beat(own: list[_Claim], over: Event) -> None:
    while not over.wait(BEAT_S):
        for claim in own:
            claim.beat()


def _claim(folder: Path, abandoned: Collection[str]) -> _Claim | Taken | None:
    """A new claim of this process, or who has the run; None where nothing can be written."""
    try:
        folder.mkdir(exist_ok=True)
        before = _claims_in(folder)
        taken = _owner(before, abandoned)
        if taken is not None:
            return taken
        number = max((_number(path) for path in before), default=-1) + 1
        claim = _Claim(folder / f"{_NAME}{number}", before)
        try:
            claim.make()
        except FileExistsError:
            return Taken("another process", "")
        others = {path: content for path, content in _claims_in(folder).items() if path != claim.path}
        taken = _owner(others, abandoned)
        if taken is not None:  # made meanwhile, under another number or under one of the dead's
            claim.path.unlink()
            return taken
        return claim
    except OSError:
        return None


def _claims_in(folder: Path) -> dict[Path, str]:
    """Claims of a run's folder, each with its content and its file's number and time; one removed meanwhile is none."""
    found = {}
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(_NAME) and name.removeprefix(_NAME).isdecimal():
                with suppress(OSError), open(folder / name, encoding="utf-8", errors="replace") as file:
                    status = os.fstat(file.fileno())  # tells those apart of which nothing was written yet
                    found[folder / name] = f"{file.read().strip()}\n{status.st_ino} {status.st_mtime_ns}"
    return found


def _number(path: Path) -> int:
    return int(path.name.removeprefix(_NAME))


def _owner(claims: dict[Path, str], abandoned: Collection[str]) -> Taken | None:
    for content in claims.values():
        if content not in abandoned:
            try:
                words = json.loads(content.partition("\n")[0])
                owner, is_dead = f"process {words['process']} on {words['host']}", _is_dead(words)
            except (ValueError, TypeError, KeyError):  # not written to its end, now or for ever
                owner, is_dead = "another process", False
            if not is_dead:
                return Taken(owner, content)
    return None


def _is_dead(words: dict[str, Any]) -> bool:
    """Whether a process is known to have ended: only those of this machine and container are."""
    if not _machine() or words["machine"] != _machine():
        return False
    try:
        os.kill(words["process"], 0)
    except PermissionError:  # of another user, and perhaps hidden: its claim tells
        return False
    except ProcessLookupError:
        return True
    return _start_of(words["process"]) != words["started"]


@cache
def _machine() -> str:
    """What processes have in common that see each other by number; empty where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _this_process() -> dict[str, Any]:
    process = os.getpid()
    return {"host": socket.gethostname(), "machine": _machine(), "process": process, "started": _start_of(process)}


def _start_of(process: int) -> str:
    """When a living process started, in the kernel's ticks, which tells it from a later one of its number; else empty."""
    try:
        state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in ("Z", "X") else rest[18]
