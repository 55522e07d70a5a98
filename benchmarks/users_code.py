"""Where an error arose in a user's own code: the line that a message should name."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path


def users_line(error: BaseException) -> str:
    """The innermost line of an error that is neither this package's nor a library's, as " (FILE:LINE, in FUNCTION)".

    Args:
        error: as caught; only what was called from there is looked at.

    Returns:
        the line, or "" if there is none.
    """
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file, module = Path(frame.f_code.co_filename), str(frame.f_globals.get("__name__", ""))
        own = module == "laser_wireless" or module.startswith("laser_wireless.")
        if not own and file.is_file() and not any(file.is_relative_to(library) for library in libraries):
            found = f" ({file.name}:{line}, in {frame.f_code.co_name})"
    return found
