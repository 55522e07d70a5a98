"""The `laser` command: runs, sweeps, channel studies; tasks with built-in data; speed. `load` reads what they wrote."""

from laser_wireless.benchmarks.loading import Records, load

__all__ = ["Records", "load"]
