"""Files that are whole or absent, and checkpoints that know whether they are whole.

A file is written beside its target, flushed, and renamed over it. A checkpoint ends with a line that holds the SHA-256 of
all bytes before it, so that one changed bit is noticed before anything is read from it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

_SEAL = b"\nsha256 of all before this line: "  # then 64 hexadecimal digits and a newline
_SEAL_SIZE = len(_SEAL) + 64 + 1
_PART = re.compile(r".+\.(csv|json|npy|pt|txt|yaml)\.[0-9a-f]+\.part")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class DamagedFile(ValueError):
    """A file is not what was written: `path` names it, `reason` says how that is known."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{path} {reason}; {remedy}")
        self.path, self.reason = path, reason


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside the target that takes its place at the end; a crash leaves the old file or the new one.

    The file beside is new and no link, its name ends in ".part", and it is locked while it is written: what a process that
    was killed left in the folder is not locked, and removed. A link in the target's place is replaced, not followed.
    """
    remove_leftovers(path.parent)
    beside, descriptor = _create_beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def _create_beside(path: Path) -> tuple[Path, int]:
    """A new file beside the target and its descriptor, locked where the file system has locks."""
    while True:
        beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
        descriptor = os.open(beside, _CREATE, 0o666)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # else another process took it for a leftover before it was locked
            return beside, descriptor
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the files that `whole_file` left in a folder when its process was killed; those of living processes stay.

    Where the folder cannot be read or written, or the file system has no locks, they stay as well.
    """
    with suppress(OSError):
        for path in [entry for entry in folder.iterdir() if _PART.fullmatch(entry.name)]:
            with suppress(OSError):
                _remove_unless_locked(path)


def _remove_unless_locked(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link is nobody's unfinished file
            raise
        path.unlink()
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder, so that a renamed file is found under its new name after a loss of power."""
    with suppress(OSError):  # some file systems cannot
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _Hashed:
    """A file that is only written to, with the SHA-256 of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


@contextmanager
def sealed_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file as `whole_file` does, whose last line will be the digest of what is written; it takes no seeking."""
    with whole_file(path) as file:
        hashed = _Hashed(file)
        yield cast(IO[bytes], hashed)
        file.write(_SEAL + hashed.sha256.hexdigest().encode() + b"\n")


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of them; a crash at any moment leaves the old file or the new one.

    Of a tensor that is a view of a larger one only what it shows is written.
    """
    with sealed_file(path) as file:
        torch.save(_without_the_rest(content), file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote.

    Raises:
        DamagedFile: a ValueError; the file is cut short, has changed since it was written, or is no checkpoint.
        FileNotFoundError: there is none.
    """
    with open(path, "rb") as file:
        if reason := broken_seal(file):
            raise _unreadable(path, reason)
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # anything may fail in the unpickler; its own words advise to switch the check off
            raise _unreadable(path, "it holds more than tensors, numbers, strings and containers of them") from error
    if not isinstance(content, dict):
        raise _unreadable(path, f"it holds a {type(content).__name__} in place of a dictionary")
    return content


def _unreadable(path: Path, reason: str) -> DamagedFile:
    return DamagedFile(path, f"is not a readable checkpoint: {reason}", "delete it to start this run again")


def broken_seal(file: IO[bytes]) -> str:
    """Why the last line of an open file is not the digest of the rest; empty if it is. The file is at its start again."""
    left = os.fstat(file.fileno()).st_size - _SEAL_SIZE
    sha256 = hashlib.sha256()
    while left > 0:
        chunk = file.read(min(left, 1 << 20))
        if not chunk:
            return "it became shorter while it was read"
        sha256.update(chunk)
        left -= len(chunk)
    seal = file.read()
    file.seek(0)
    if left < 0 or not seal.startswith(_SEAL):
        return "its last line is not a digest, so it was cut short or written by something else"
    if seal != _SEAL + sha256.hexdigest().encode() + b"\n":
        return "it is not what its digest was taken of, so it has changed since it was written"
    return ""


def to_plain(value: Any) -> Any:
    """Turn named tuples into dictionaries, so that torch.load(weights_only=True) accepts them."""
    if hasattr(value, "_asdict"):
        return {name: to_plain(entry) for name, entry in value._asdict().items()}
    return value


def _without_the_rest(value: Any) -> Any:
    """Copies of tensors that are views of larger ones, in nested lists, tuples and dictionaries; all else as it is."""
    if isinstance(value, Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, dict):
        return type(value)((name, _without_the_rest(entry)) for name, entry in value.items())
    if isinstance(value, list | tuple):
        return type(value)(_without_the_rest(entry) for entry in value)
    return value


def form_of(value: Any) -> Any:
    """Everything about nested values but the numbers in tensors: two states of one form can stand for each other."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, dict):
        return {name: form_of(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [form_of(entry) for entry in value]
    return value


def to_device(value: Any, device: torch.device) -> Any:
    """Move all tensors in nested lists, tuples and dictionaries, copying those that are already there."""
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    if isinstance(value, dict):
        return {name: to_device(entry, device) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_device(entry, device) for entry in value)
    return value
