"""The program of a sweep's processes: does what it is sent until nothing more is sent.

    python worker.py LINE

LINE is the number of an open connection: in come first the module search path, then functions; out go their results.
"""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection
from typing import Any


def serve(line: Connection) -> None:
    """Answer until the other end is closed or the process is interrupted."""
    try:
        sys.path[:] = _next(line) or sys.path
        while (work := _next(line)) is not None:
            line.send(work())
    except (KeyboardInterrupt, OSError):  # the other end is gone
        return


def _next(line: Connection) -> Any:
    try:
        return line.recv()
    except EOFError:
        return None


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
