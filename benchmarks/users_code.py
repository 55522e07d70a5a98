"""Whose code an error arose in: the line of a user's own module that a message should name.

A user's line is one that is neither this package's nor a library's. A module that the configuration names is the user's
wherever it is installed.
"""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_LIBRARIES = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
_INSTALLED = {"site-packages", "dist-packages"}
_LONGEST = 400  # characters of a message; its file has it in full

named_modules: set[str] = set()
"""Modules that the configuration names, by `assembly.resolve`."""


def users_line(error: BaseException) -> str:
    """The innermost line of a user's own code in an error, or in what it was raised from, as " (FILE:LINE, in FUNCTION)".

    Args:
        error: as caught; only what was called from there is looked at.

    Returns:
        the line, or "" if there is none. FILE is relative to the working directory if it lies there.
    """
    for one in _chain(error):
        if isinstance(one, SyntaxError) and one.filename and _is_users_file(Path(one.filename)):
            return f" ({_short(Path(one.filename))}:{one.lineno})"
        for frame, line in reversed(list(traceback.walk_tb(one.__traceback__))):
            if _is_users(frame):
                return f" ({_short(Path(frame.f_code.co_filename))}:{line}, in {frame.f_code.co_name})"
    return ""


def message(error: BaseException) -> str:
    """The message of an error in one line."""
    try:
        return " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    except Exception:  # a user's class may fail at this too
        return "its message cannot be shown"


def said(error: BaseException) -> str:
    """KIND: MESSAGE in one line, long messages cut."""
    text = message(error)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_users(frame: FrameType) -> bool:
    spec = frame.f_globals.get("__spec__")  # of python -m too, whose name is __main__
    module = str(spec.name if spec else frame.f_globals.get("__name__", ""))
    if module == "laser_wireless" or module.startswith("laser_wireless."):
        return False
    return module in named_modules or _is_users_file(Path(frame.f_code.co_filename))


def _is_users_file(file: Path) -> bool:
    library = _INSTALLED & set(file.parts) or any(file.is_relative_to(library) for library in _LIBRARIES)
    return file.is_file() and not library


def _short(file: Path) -> Path:
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
