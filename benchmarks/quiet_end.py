"""A command whose reader goes away, as in `laser run --help | head`, ends quietly."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def ends_quietly(command: Callable[[], int]) -> int:
    """Run a command and flush what it printed; returns its exit status, or 0 where nobody reads it any more."""
    try:
        status = command()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the interpreter's own flush succeeds
        return 0
    return status
