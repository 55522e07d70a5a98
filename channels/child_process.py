"""A Python program in a process of its own that ends with the one that started it, however that one ended.

It is run by its path and imports nothing but the standard library, so that the program chooses what is loaded:

    python -P child_process.py PARENT FILE ARGUMENT ...
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import time
from threading import Thread

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def command(file: str, *arguments: str) -> list[str]:
    """The command line that runs a Python file in a process that ends with this one."""
    warnings = [f"-W{option}" for option in sys.warnoptions]
    return [sys.executable, "-P", *warnings, __file__, str(os.getpid()), file, *arguments]


def end_with(parent: int) -> None:
    """Let this process end as soon as its parent has, whatever it is doing.

    On Linux the kernel sees to it when the thread that started this process ends; a thread that looks every second does
    elsewhere, and if the parent ended before this call.

    Args:
        parent: process id.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    del sys.argv[:2]
    runpy.run_path(sys.argv[0], run_name="__main__")
