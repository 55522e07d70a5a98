"""What a command says of an error: one line that names the place; the traceback goes into a file."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from laser_wireless.benchmarks.assembly import BadConfiguration
from laser_wireless.benchmarks.records import write_text
from laser_wireless.benchmarks.users_code import message, said, users_line

TRACEBACK_FILE = "error.txt"

_MEANT = (ValueError, TypeError, OSError, ImportError, FloatingPointError)  # raised here with a message for the user
_FOREIGN = (RuntimeError, MemoryError, Warning, SystemExit)  # of a library or the machine; told with their kind


class Elsewhere(Exception):
    """An error in another process.

    Args:
        line: what `Failed` says of it there.
        ours: whether it is a fault of this package.
        trace: its traceback.
    """

    def __init__(self, line: str, ours: bool, trace: str) -> None:
        super().__init__(f"in another process\n\n{trace}")
        self.line, self.ours = line, ours


class Failed(Exception):
    """An error in one line.

    Args:
        error: what was raised.
        kept: says where the traceback is.
    """

    def __init__(self, error: BaseException, kept: str) -> None:
        if isinstance(error, Elsewhere):
            self.status, self.ours = 1, error.ours
            super().__init__(f"{error.line}{kept}")
            return
        place = users_line(error)
        self.status = 2 if isinstance(error, BadConfiguration) else 1
        self.ours = not place and not isinstance(error, (*_MEANT, *_FOREIGN))
        meant = isinstance(error, BadConfiguration) or (isinstance(error, _MEANT) and not place)
        text = (meant and message(error)) or said(error)
        text = f"a fault of laser-wireless itself, please report it: {text}" if self.ours else text
        super().__init__(f"{text}{'' if place in text else place}{kept}")


@contextmanager
def traceback_in(folder: Path) -> Iterator[None]:
    """Turn any error into `Failed`, its traceback in FOLDER/error.txt; without an error, remove the file of an earlier try.

    An interruption passes as it is, and so does a bad configuration that is no error of a user's code, or a reader of the
    output who went away: for them nothing is written.

    Args:
        folder: made if need be.

    Raises:
        Failed: something in the block raised an error, SystemExit included.
    """
    try:
        yield
    except (KeyboardInterrupt, Failed):
        raise
    except BaseException as error:
        if isinstance(error, BadConfiguration | BrokenPipeError) and not users_line(error):
            raise
        raise Failed(error, _keep(error, folder)) from error
    with suppress(OSError):  # it is not there, or nothing can be changed there
        (folder / TRACEBACK_FILE).unlink()


def print_failure(command: str, failure: Failed) -> None:
    """Print the line, and the traceback of a fault of this package."""
    print(f"{command}: {failure}", file=sys.stderr)
    if failure.ours:
        traceback.print_exception(failure.__cause__)


def _keep(error: BaseException, folder: Path) -> str:
    path = folder / TRACEBACK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(traceback.format_exception(error)))
    except (OSError, MemoryError) as obstacle:
        return f"; its traceback cannot be written: {said(obstacle)}"
    return f"; traceback in {path}"
