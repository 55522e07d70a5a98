"""Learning tasks whose data is on every machine."""

from laser_wireless.benchmarks.tasks.digits import Digits
from laser_wireless.benchmarks.tasks.stdlib_text import StdlibText
from laser_wireless.benchmarks.tasks.task import Split, Task

__all__ = ["Digits", "Split", "StdlibText", "Task"]
